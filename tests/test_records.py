import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stclip.errors import DataError
from stclip.records import Boxes, Clips, Detections, LabelSplit, Scores
from stclip.storage.files import read_json, whole_file, whole_folder, write_json

BOX = {"clip": ["a"], "frame": [0], "x1": [1.0], "y1": [2.0], "x2": [3.0], "y2": [4.0]}


def test_scores_keep_labels_apart_from_columns(tmp_path: Path) -> None:
    table = pd.DataFrame(BOX | {"detector_score": [0.5]})
    scores = Scores.from_parts(table, np.array([[0.25, 0.75]]), ["frame", "turn (e.g., it)"])
    scores.write(tmp_path / "s.parquet")
    again = Scores.read(tmp_path / "s.parquet")
    assert again.labels == ["frame", "turn (e.g., it)"]
    assert again.table["frame"].tolist() == [0]
    assert again.probabilities.tolist() == [[0.25, 0.75]]


def test_actions_survive_the_file(tmp_path: Path) -> None:
    Boxes(pd.DataFrame(BOX | {"tube": [0], "actions": [["a", "b"]]})).write(tmp_path / "b.parquet")
    assert list(Boxes.read(tmp_path / "b.parquet").table["actions"][0]) == ["a", "b"]


def test_a_missing_column_and_a_wrong_type_are_named() -> None:
    with pytest.raises(DataError, match=r"Detections: columns \['score'\] are missing"):
        Detections(pd.DataFrame(BOX))
    with pytest.raises(DataError, match="does not have its type"):
        Detections(pd.DataFrame(BOX | {"score": ["high"]}))


def test_boxes_and_probabilities_must_be_finite() -> None:
    with pytest.raises(DataError, match="box of clip 'a' frame 0 is not finite"):
        Detections(pd.DataFrame(BOX | {"x1": [np.nan], "score": [1.0]}))
    with pytest.raises(DataError, match="probability is not finite"):
        Scores.from_parts(pd.DataFrame(BOX | {"detector_score": [1.0]}), np.array([[np.nan]]), "x")


def test_a_clip_listed_twice_is_refused() -> None:
    row = ("a", "train", 1, 2, 3, 4.0, "none", ["x"])
    with pytest.raises(DataError, match="'a' is listed twice"):
        Clips(pd.DataFrame([row, row], columns=list(Clips.COLUMNS)))


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    Detections(pd.DataFrame(BOX | {"score": [1.0]})).write(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"d\.parquet"):
        Detections.read(path)
    with pytest.raises(DataError, match=r"none\.parquet: no such file; run the stage"):
        Detections.read(tmp_path / "none.parquet")


def test_a_label_on_both_sides_is_refused() -> None:
    with pytest.raises(DataError, match=r"labels \['x'\] are listed twice"):
        LabelSplit(dataset="d", family="f", name="1", base=("x", "y"), unseen=("x",), rule="r")


GOOD_SPLIT = {
    "dataset": "d", "family": "f", "name": "1", "base": ["a", "b"], "unseen": ["c"], "rule": "r",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, r"unknown key 'colour'; known are \['base'"),
        ({"unsen": ["d"]}, r"unknown key 'unsen'; .*nearest is 'unseen'"),
        ({"base": "run"}, r"base is 'run'; a list of texts is needed"),
        ({"unseen": [1]}, r"unseen is \[1\]; a list of texts"),
        ({"unseen": ["a"]}, r"labels \['a'\] are listed twice"),
        ({"name": 1}, r"name is 1; a text is needed"),
        ({"seed": "x"}, r"seed is 'x'; a number or null"),
    ],
)
def test_a_split_file_with_other_content_is_refused_by_name(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "s.json"
    write_json(path, GOOD_SPLIT | change)
    with pytest.raises(DataError, match=rf"s\.json: .*{message}"):
        LabelSplit.read(path)
    write_json(path, GOOD_SPLIT)
    assert LabelSplit.read(path).base == ("a", "b")


def test_a_split_file_needs_all_its_keys_and_must_be_a_mapping(tmp_path: Path) -> None:
    for content in ({"dataset": "d"}, ["d"]):
        write_json(tmp_path / "s.json", content)
        with pytest.raises(DataError, match=r"s\.json: not a label split"):
            LabelSplit.read(tmp_path / "s.json")


def test_a_key_twice_in_a_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"base": ["a"], "deep": [{"x": 1, "x": 1}], "unseen": ["c"]}')
    with pytest.raises(DataError, match=r"s\.json: .*keys \['x'\] are given twice"):
        read_json(path)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, [2, float("inf")])  # half of it can be written before the error
    assert read_json(path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]


def build(folder: Path, depends_on: str, *, fails: bool) -> None:
    """Write one of two files a call, as far as they are not there."""
    with whole_folder(folder, resume=depends_on) as temporary:
        (temporary / ".half.npy.17.tmp").touch()  # of a killed `whole_file`
        wanted = [n for n in ("1", "2") if not (temporary / n).exists()]
        (temporary / wanted[0]).write_text(depends_on)
        if fails:
            raise DataError("stopped")


def test_a_folder_goes_on_where_an_earlier_try_like_it_broke_off(tmp_path: Path) -> None:
    out = tmp_path / "frames"
    with pytest.raises(DataError, match="stopped"):
        build(out, "a", fails=True)
    with pytest.raises(DataError, match="stopped"):
        build(out, "b", fails=True)  # other settings: nothing of the first is kept
    assert not out.exists()
    assert (tmp_path / ".frames.tmp" / "1").read_text() == "b"
    build(out, "b", fails=False)
    assert {p.name: p.read_text() for p in out.glob("[0-9]")} == {"1": "b", "2": "b"}
    assert [p.name for p in tmp_path.iterdir()] == ["frames"]
    assert not (out / ".resume").exists()


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_a_full_disk_names_the_file(tmp_path: Path, whole: Any) -> None:
    path = tmp_path / "new" / "thing"
    with (
        pytest.raises(DataError, match=r"new/thing: No space left on device \(.*Make room and run"),
        whole(path),
    ):
        raise OSError(errno.ENOSPC, "the system does not say where")
    assert list(path.parent.iterdir()) == []


def test_a_killed_folder_is_cleared_by_the_next_try(tmp_path: Path) -> None:
    left = tmp_path / ".frames.tmp"  # what kill -9 leaves behind
    left.mkdir()
    (left / "half").touch()
    with whole_folder(tmp_path / "frames") as temporary:
        (temporary / "whole").touch()
    assert [p.name for p in (tmp_path / "frames").iterdir()] == ["whole"]
    assert not left.exists()


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from stclip.storage.files import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'first').touch(); print('holds', flush=True); time.sleep(1)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "frames")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "holds\n"
        with whole_folder(tmp_path / "frames") as folder:  # waits for the first to end
            assert (tmp_path / "frames" / "first").exists()
            (folder / "second").touch()
    assert [p.name for p in (tmp_path / "frames").iterdir()] == ["second"]


@pytest.mark.parametrize(
    ("probability", "detector"), [(1.5, 1.0), (-0.1, 1.0), (0.5, 1.2), (0.5, -1.0), (0.5, np.nan)]
)
def test_scores_lie_in_0_to_1(probability: float, detector: float) -> None:
    boxes = pd.DataFrame(BOX | {"detector_score": [detector]})
    with pytest.raises(DataError, match="of clip 'a' frame 0 lies outside"):
        Scores.from_parts(boxes, np.array([[probability]]), "x")
    almost = boxes.assign(detector_score=1 + 1e-6)  # rounding of a softmax in float32
    assert len(Scores.from_parts(almost, np.array([[1.0]]), "x")) == 1
