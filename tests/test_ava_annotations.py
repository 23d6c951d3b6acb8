"""AVA's csv files: rows become persons; what is odd is counted, what cannot be right is refused."""

import gzip
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ava_files import LEFT, RIGHT, TRAIN, A, B, C, Raw, line
from conftest import ROOT
from test_verify import verify

from stclip.config import load_dataset, read_yaml
from stclip.errors import DataError
from stclip.prepare.ava_annotations import Annotations, Truth, read_annotations, read_truth
from stclip.prepare.counts import published_counts
from stclip.prepare.label_map import label_types, parse_label_map

AVA = Path(__file__).parents[2] / "shared" / "data" / "ava"
real = pytest.mark.skipif(not AVA.is_dir(), reason="the real annotation files are not here")
LABELS = {1: "walk", 2: "sit", 3: "read", 4: "talk to"}


def read(*lines: str, seconds: range = range(20, 24)) -> Annotations:
    content = "\n".join(lines).encode()
    return read_annotations(content, "ava.csv", labels=LABELS, poses=[1, 2], seconds=seconds)


def test_rows_of_a_box_are_one_person_with_several_actions() -> None:
    found = read(*(line(row) for row in TRAIN))
    assert found.boxes.to_numpy().tolist() == [
        [B, 21, *LEFT, 5, [1]],
        [A, 20, *RIGHT, 0, [2]],
        [A, 20, *LEFT, 1, [1, 4]],
        [A, 23, *LEFT, 1, [1]],
    ]
    assert found.videos == [B, A]
    assert found.counts == {
        "rows": 5, "rows that are there twice": 0, "boxes without area": 0, "boxes": 4,
        "boxes without pose": 0, "boxes with several poses": 0,
        "persons with two boxes in a second": 0, "videos": 2, "annotated seconds": 3,
        "seconds without a person": 5,
    }  # fmt: skip


def test_without_person_ids_tubes_number_the_boxes_of_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        found = read(*(line(row, persons=False) for row in TRAIN))
    own = found.boxes[found.boxes["video"] == A]
    assert own[["second", "x1", "person"]].to_numpy().tolist() == [
        [20, 0.1, 0], [20, 0.5, 1], [23, 0.1, 0],
    ]  # fmt: skip
    assert "ava.csv: has no person ids; tubes number the boxes of a second" in caplog.text


def test_persons_without_pose_or_with_two_are_kept_and_counted() -> None:
    found = read(
        line((A, 20, LEFT, 3, 0)), line((A, 20, RIGHT, 1, 1)), line((A, 20, RIGHT, 2, 1)),
        line((A, 21, RIGHT, 1, 1)), line((A, 21, LEFT, 2, 1)),
    )  # fmt: skip
    assert found.boxes["actions"].tolist() == [[3], [1, 2], [2], [1]]
    names = ("boxes without pose", "boxes with several poses", "persons with two boxes in a second")
    assert [found.counts[name] for name in names] == [1, 1, 1]


def test_what_is_there_twice_or_without_area_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    one = line((A, 20, LEFT, 1, 0))
    flat = line((A, 20, (0.2, 0.3, 0.2, 0.9), 1, 1))
    found = read(one, one, flat, line((A, 20, (0.4, 0.5, 0.9, 0.4), 1, 2)))
    assert len(found.boxes) == 1
    assert found.counts["rows that are there twice"] == 1
    assert found.counts["boxes without area"] == 2
    assert "1 rows that are there twice, left out" in caplog.text
    assert "2 boxes without area, left out" in caplog.text


def test_a_box_barely_outside_is_put_on_the_border(caplog: pytest.LogCaptureFixture) -> None:
    found = read(line((A, 20, (-0.004, 0.1, 0.5, 1.01), 1, 0)))
    assert found.boxes[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[0, 0.1, 0.5, 1]]
    assert "1 corners outside the picture were put on its border" in caplog.text


GOOD = line((A, 20, LEFT, 1, 0))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([line((A, 24, LEFT, 1, 0))], r"line 2: second '0024' has no key frame; .* 20 to 23"),
        ([line((A, 20, LEFT, 5, 0))], r"line 2: action '5' is not among the 4 of the label map"),
        ([line((A, 20, LEFT, 1, -1))], r"line 2: person id '-1' is negative"),
        ([line((A, 20, LEFT, 1, 0), persons=False)], r"line 2: person id '' is missing"),
        ([line((A, 20, (0.1, 0.1, 0.5, 1.02), 1, 0))], r"line 2: box \[.*1\.02\] leaves the pict"),
        ([line((A, 20, (10, 20, 300, 200), 1, 0))], "line 2: box .* leaves the picture; .* 0 to 1"),
        ([line(("../a", 20, LEFT, 1, 0))], r"line 2: video '\.\./a' is no name of a video"),
        ([GOOD.replace("0020", "20.5")], r"line 2: second '20\.5' is not a whole number"),
        ([GOOD.replace("0.100", "left")], "line 2: x1 'left' is not a finite number"),
        ([GOOD + ",1"], "line 2: has .*more than 8"),
    ],
)
def test_what_cannot_be_right_is_refused(lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=rf"ava\.csv: .*{message}"):
        read(GOOD, *lines)


def test_a_file_without_lines_is_refused() -> None:
    for lines in ("", f"{A},0020"):
        with pytest.raises(DataError, match=r"ava\.csv: has no lines with a person"):
            read(lines)


def test_a_line_without_a_box_is_a_second_without_a_person() -> None:
    found = read(f"{A},0021", GOOD)
    assert (found.counts["rows"], found.counts["seconds without a person"]) == (1, 3)


# --- all files together -------------------------------------------------------------------------


def truth_of(folder: Path, **changed: object) -> Truth:
    files = {
        "label_map": "labels.pbtxt", "included": "included.txt", "excluded": ["excluded.csv"],
        "sha256": {},
    } | changed  # fmt: skip
    names = {"train": "ava.zip/ava_train.csv", "val": "ava.zip/ava_val.csv"}
    return read_truth(folder, names, **files)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["", "annotations", "annotations/ava_v2.2"])
def test_files_lie_in_the_archive_or_as_somebody_unpacked_it(place: str, tmp_path: Path) -> None:
    raw = Raw()
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for name, text in raw.files().items():
        (tmp_path / place / name).write_text(text)
    found = truth_of(tmp_path)
    packed = truth_of(
        raw.annotated(tmp_path / "packed"), label_map="ava.zip/labels.pbtxt",
        included="ava.zip/included.txt", excluded=["ava.zip/excluded.csv"],
    )  # fmt: skip
    assert found.counts == packed.counts
    assert found.boxes.equals(packed.boxes)
    assert found.official == {A: "train", B: "train", C: "val"}
    assert found.seconds == [20, 21, 22, 23]
    assert found.counts["val: excluded seconds"] == 1
    assert found.counts["val: boxes in excluded seconds"] == 1
    assert found.counts["train: excluded seconds"] == 0
    assert found.counts["labels, PERSON_MOVEMENT"] == 2


def spoil(raw: Raw, folder: Path, change: Callable[[dict[str, str]], None]) -> Path:
    files = raw.files()
    change(files)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("ava_val.csv"), r"neither ava\.zip/ava_val\.csv nor ava_val\.csv is ther"),
        (lambda f: f.update({"ava_val.csv": f["ava_train.csv"]}), r"video '.*' is of train too"),
        (lambda f: f.update({"included.txt": ""}), r"included\.txt: lists no seconds"),
        (lambda f: f.update({"labels.pbtxt": "label {}"}), r"labels\.pbtxt: "),
        (lambda f: f.update({"excluded.csv": f"{C}\n"}), r"excluded\.csv: line 1: .* stands alone"),
    ],
)
def test_damaged_files_are_named(
    change: Callable[[dict[str, str]], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        truth_of(spoil(Raw(), tmp_path, change))


def test_files_are_known_by_their_sha256(tmp_path: Path) -> None:
    raw = Raw()
    folder = spoil(raw, tmp_path, lambda _: None)
    truth_of(folder, sha256=raw.sha256())
    (folder / "ava_val.csv").write_text(raw.files()["ava_val.csv"] + line((C, 23, LEFT, 1, 0)))
    with pytest.raises(DataError, match=r"ava_val\.csv: its sha256 is .*, expected .*; if it is"):
        truth_of(folder, sha256=raw.sha256())


def test_a_name_that_is_twice_in_an_archive_is_refused(tmp_path: Path) -> None:
    Raw().annotated(tmp_path)
    with zipfile.ZipFile(tmp_path / "ava.zip", "a") as archive:
        archive.writestr("old/ava_val.csv", "")
    with pytest.raises(DataError, match=r"ava\.zip: has 2 files called ava_val\.csv, not one"):
        truth_of(
            tmp_path, label_map="ava.zip/labels.pbtxt", included="ava.zip/included.txt",
            excluded=["ava.zip/excluded.csv"],
        )  # fmt: skip


# --- the real files -----------------------------------------------------------------------------

KEY_SECONDS = range(902, 1799)


def read_real(name: str) -> Annotations:
    content = (AVA / name).read_bytes()
    labels = (AVA / "ava_action_list_v2.2.pbtxt").read_bytes()
    return read_annotations(
        gzip.decompress(content) if name.endswith(".gz") else content,
        name,
        labels=parse_label_map(labels, "labels"),
        poses=[n for n, kind in label_types(labels, "labels").items() if kind == "PERSON_MOVEMENT"],
        seconds=KEY_SECONDS,
    )


@real
def test_the_real_test_file_of_version_1() -> None:
    found = read_real("ava_test_v1.0.csv.gz")
    several = {
        n: sum(len({*a} & {*range(1, 15)}) == n for a in found.boxes["actions"]) for n in (2, 3)
    }
    assert several == {2: 423, 3: 2}
    assert found.counts == {
        "rows": 41425, "rows that are there twice": 0, "boxes without area": 0, "boxes": 18824,
        "boxes without pose": 132, "boxes with several poses": 425,
        "persons with two boxes in a second": 0, "videos": 38, "annotated seconds": 10140,
        "seconds without a person": 38 * 897 - 10140,
    }  # fmt: skip


@real
def test_the_real_excerpt_of_version_2_2_has_persons() -> None:
    found = read_real("ava_val_v2.2_excerpt.csv")
    assert (found.counts["rows"], found.counts["boxes"]) == (204, 81)
    first = found.boxes.iloc[1]
    assert (first["second"], first["person"], first["actions"]) == (902, 1, [12, 79])
    # two persons over the seconds, seconds 970 and 971 without anybody
    assert found.boxes.duplicated(["video", "second", "person"]).sum() == 0
    assert not {970, 971} & {*found.boxes["second"]}


@real
def test_the_real_validation_files() -> None:
    found = read_real("ava_val_v2.1_pose_only.csv.gz")
    assert (found.counts["videos"], found.counts["boxes"]) == (64, 93393)
    assert found.counts["boxes with several poses"] == 7
    # version 2.1 in place of 2.2: the same films and excluded seconds
    truth = read_truth(
        AVA,
        {"val": "ava_val_v2.1_pose_only.csv.gz"},
        label_map="ava_action_list_v2.2.pbtxt",
        included="ava_included_timestamps_v2.2.txt",
        excluded=["ava_val_excluded_timestamps_v2.2.csv"],
        sha256=load_dataset(ROOT / "config", "ava", scale="paper").params["sha256"],
    )
    assert truth.seconds == list(KEY_SECONDS)
    path = ROOT / "config" / "published" / "ava_counts.yaml"
    published = published_counts(read_yaml(path), str(path)).counts
    assert published["val: videos"] == truth.counts["val: videos"]
    of_films = {"all: videos", "train: videos", "films left out"}
    expected = {what: number for what, number in published.items() if what not in of_films}
    assert {what: truth.counts[what] for what in expected} == expected
    # what is excluded is not annotated
    assert truth.counts["val: boxes in excluded seconds"] == 0


@real
def test_the_real_files_are_compared_with_what_is_published(tmp_path: Path) -> None:
    """Files of other versions under the names of 2.2: scale mini knows no checksum of its own."""
    copies = {
        "ava_train_v2.2.csv": (AVA / "ava_val_v2.2_excerpt.csv")
        .read_bytes()
        .replace(b"1j2", b"0j2"),
        "ava_val_v2.2.csv": gzip.decompress((AVA / "ava_val_v2.1_pose_only.csv.gz").read_bytes()),
        "ava_train_excluded_timestamps_v2.2.csv": b"",
    }
    for name, content in copies.items():
        (tmp_path / name).write_bytes(content)
    for name in ("ava_action_list_v2.2.pbtxt", "ava_included_timestamps_v2.2.txt",
                 "ava_val_excluded_timestamps_v2.2.csv"):  # fmt: skip
        (tmp_path / name).write_bytes((AVA / name).read_bytes())
    status, printed = verify("--ground-truth", str(tmp_path), "--scale", "mini", dataset="ava")
    assert status == 1
    assert "all: videos 299 65 train: videos 235 1 2 counts differ; 11 are published." in printed
    with pytest.raises(
        DataError, match=r"ava_train_v2\.2\.csv: its sha256 is .* expected 178ea776"
    ):
        verify("--ground-truth", str(tmp_path), dataset="ava")
