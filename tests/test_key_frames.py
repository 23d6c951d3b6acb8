"""Key frames by each rule, on clips whose key frames can be counted by hand."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from stclip.config import AnnotatedFrames, EveryFrames, KeyFrameRule, Seconds
from stclip.errors import DataError
from stclip.records import Boxes, Clips, KeyFrames
from stclip.splits.key_frames import make_key_frames, read_all_excluded, read_excluded

EVERY = EveryFrames(rule="every", frames=3)
ANNOTATED = AnnotatedFrames(rule="annotated")
SECONDS = Seconds(rule="seconds", start=900, first=902, last=905)


def clips_of(rows: list[tuple[str, str, int, float]]) -> Clips:
    """Clips from (clip, official split, number of frames, fps)."""
    table = pd.DataFrame(rows, columns=["clip", "official_split", "num_frames", "fps"])
    return Clips(
        table.assign(height=8, width=8, licence="none", actions=[["run"] for _ in range(len(rows))])
    )


def boxes_of(annotated: dict[str, list[int]]) -> Boxes:
    """Two boxes in each annotated frame."""
    rows = [(c, f, t) for c, frames in annotated.items() for f in frames for t in (0, 1)]
    table = pd.DataFrame(rows, columns=["clip", "frame", "tube"])
    actions = [["run"] for _ in range(len(rows))]
    return Boxes(table.assign(x1=0, y1=0, x2=4, y2=4, actions=actions))


CLIPS = clips_of([("a", "train", 10, 30), ("b", "test", 8, 30), ("c", "val", 8, 30)])
BOXES = boxes_of({"a": [1, 2, 7], "b": [2, 3, 5], "c": [0]})


def made(
    rule: KeyFrameRule, clips: Clips = CLIPS, boxes: Boxes = BOXES, **more: object
) -> KeyFrames:
    settings = {"test_split": "test"} | more
    return make_key_frames(rule, clips=clips, boxes=boxes, **settings)  # type: ignore[arg-type]


def places(found: KeyFrames, clip: str) -> list[tuple[int, int]]:
    """(number, frame) of a clip."""
    own = found.table[found.table["clip"] == clip]
    return list(zip(own["number"], own["frame"], strict=True))


def test_every_third_frame_is_tested_whether_annotated_or_not() -> None:
    found = made(EVERY)
    assert places(found, "b") == [(0, 0), (1, 3), (2, 6)]
    assert places(found, "a") == [(1, 1), (2, 2), (7, 7)]  # of training: what is annotated
    assert places(found, "c") == []  # of neither official split
    assert set(found.tested["clip"]) == {"b"}
    assert found.step_s == pytest.approx(3 / 30)  # of tested clips; training ones have 1 / 30
    assert places(made(EVERY, test_split="val"), "c") == [(0, 0), (1, 3), (2, 6)]


def test_annotated_frames_are_those_with_a_box() -> None:
    found = made(ANNOTATED)
    assert places(found, "b") == [(2, 2), (3, 3), (5, 5)]  # 4 is a gap
    assert places(found, "a") == [(1, 1), (2, 2), (7, 7)]
    assert found.step_s == pytest.approx(1 / 30)


def test_one_key_frame_a_second_of_the_video_s_own_rate() -> None:
    # Prepared frame 0 lies in second 900; second 905 of b would be frame 125, of 120.
    clips = clips_of([("a", "train", 200, 30), ("b", "test", 120, 25)])
    boxes = boxes_of({"a": [60, 90, 91], "b": [50]})
    found = made(SECONDS, clips, boxes)
    assert places(found, "b") == [(902, 50), (903, 75), (904, 100)]
    assert places(found, "a") == [(902, 60), (903, 90)]  # annotated, and a key frame
    assert found.step_s == 1


def test_excluded_seconds_count_on_neither_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = clips_of([("a", "train", 200, 30), ("b", "test", 200, 25)])
    boxes = boxes_of({"a": [60, 90], "b": [50]})
    path = tmp_path / "excluded.csv"
    path.write_text("b,0903\na,0902\nnone,0903\n")
    found = made(SECONDS, clips, boxes, excluded=read_excluded(path))
    assert places(found, "b") == [(902, 50), (904, 100), (905, 125)]
    assert places(found, "a") == [(903, 90)]
    assert "1 of 3 excluded seconds match none of the clips" in caplog.text
    path.write_text("none,0903\n")
    with pytest.raises(DataError, match="excluded"):
        made(SECONDS, clips, boxes, excluded=read_excluded(path))


def test_files_of_excluded_seconds_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(DataError, match=r"out\.csv: no such file"):
        read_excluded(path)
    for content, message in (
        ("v,0902\nv,soon\n", "line 2: second 'soon' is not a finite number"),
        ("v\n", "line 1: video 'v' stands alone; expected are lines `video,second`"),
        ("v,0903,1\n", "line 1: has more than 2 fields"),
        ("v,902.7\n", r"line 1: second '902\.7' is not a whole number"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=rf"out\.csv: {message}"):
            read_excluded(path)


def test_a_video_may_be_called_as_missing_values_are(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("\ufeffNA,0903\nnull,0904\nnan,0905\n", "utf-8")
    assert read_excluded(path).to_numpy().tolist() == [["NA", 903], ["null", 904], ["nan", 905]]


def test_an_empty_file_excludes_nothing(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("")
    excluded = read_excluded(tmp_path / "out.csv")
    rule = Seconds(rule="seconds", first=1, last=9)
    found = made(rule, clips_of([("v", "test", 99, 29.97)]), boxes_of({}), excluded=excluded)
    # 29.97, 59.94 and 89.91 are rounded
    assert places(found, "v") == [(1, 30), (2, 60), (3, 90)]


def test_something_must_be_tested() -> None:
    with pytest.raises(DataError, match="'test'"):
        made(EVERY, clips_of([("a", "train", 10, 30), ("c", "val", 8, 30)]))
    with pytest.raises(DataError):
        made(EVERY, clips_of([("c", "val", 8, 30)]))  # neither trained on nor tested


def test_numbers_and_rows_of_a_table() -> None:
    found = made(EVERY)
    table = pd.DataFrame({"clip": ["b", "b", "a"], "frame": [6, 4, 2]})
    assert found.contain(table).tolist() == [True, False, True]
    assert found.numbers(table[found.contain(table)]).tolist() == [2, 2]


def test_rules_of_the_settings_are_checked() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(KeyFrameRule)
    assert adapter.validate_python({"rule": "every"}) == EveryFrames(rule="every", frames=1)
    for content, message in (
        ({"rule": "every", "frames": 0}, "greater than or equal to 1"),
        ({"rule": "annotated", "frames": 0}, "greater than or equal to 1"),
        ({"rule": "annotated", "first": 5}, "Extra inputs"),
        ({"rule": "seconds", "first": 5, "last": 4}, r"first 5 <= last 4 fails"),
        ({"rule": "seconds", "start": 9, "first": 5, "last": 6}, r"start 9\.0 <= first 5"),
        ({"rule": "each"}, "does not match any of the expected tags"),
    ):
        with pytest.raises(ValidationError, match=message):
            adapter.validate_python(content)


def test_lists_may_lie_in_an_archive(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("b,904\n")
    with ZipFile(tmp_path / "ava.zip", "w") as archive:
        archive.writestr("ava/out.csv", "b,903\n")
    found = read_all_excluded(tmp_path, ["ava.zip/out.csv", "more.csv"])
    assert found.to_numpy().tolist() == [["b", 903], ["b", 904]]
    (tmp_path / "ava.zip").unlink()
    with pytest.raises(DataError, match=r"neither ava\.zip/out\.csv nor out\.csv is there"):
        read_all_excluded(tmp_path, ["ava.zip/out.csv"])
