"""Spoiled, missing and cut-off files of UCF101-24: each is named, and nothing looks whole."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ucf101_files import (
    FOUR,
    ONE,
    TWO,
    Raw,
    clip_of,
    packed_avi,
    run,
    tube,
)

from stclip.errors import DataError


@pytest.fixture
def raw() -> Raw:
    return Raw()


def _rename(raw: Raw, old: str, new: str) -> None:
    raw.videos[new] = raw.videos.pop(old)


SPOILED: dict[str, tuple[Callable[[Raw], object], str]] = {
    "video missing": (
        lambda raw: raw.videos.pop(TWO),
        r"UCF101_videos\.zip: 1 of 4 annotated videos are not there, the first: v_Biking_g08_c01\.",
    ),
    "class missing": (
        lambda raw: [raw.videos.pop(name) for name in (ONE, TWO)],
        r"2 of 4 annotated .*: v_Biking_g01_c01, v_Biking_g08_c01; no video at all of Biking\. Is",
    ),
    "annotation of an unknown video": (
        lambda raw: raw.annotations.update({"Biking/v_Biking_g30_c01": raw.annotations[TWO]}),
        r"UCF101_videos\.zip: 1 of 5 annotated videos are not there, the first: v_Biking_g30_c01",
    ),
    "no video": (
        lambda raw: raw.videos.update({TWO: b"<html>" * 99}),
        r"v_Biking_g08_c01\.avi: does not decode as video after 0 frames \(.*Get it again",
    ),
    "empty file": (
        lambda raw: raw.videos.update({TWO: b""}),
        r"v_Biking_g08_c01\.avi: does not decode as video after 0 frames",
    ),
    "video cut off": (
        lambda raw: raw.videos.update({TWO: raw.videos[TWO][:-350]}),
        r"v_Biking_g08_c01\.avi: ends early: \d of 8 frames decode, and the file is shorter",
    ),
    "video of another name": (
        lambda raw: raw.videos.update({FOUR: packed_avi(4)}),
        r"v_Diving_g19_c01\.avi: has a box in frame 8 \(0-based\), but 4 frames decode; the annot"
        r"ators counted 10",
    ),
    "box beyond the video": (
        lambda raw: raw.annotations[TWO]["annotations"].append(tube(0, 7, [[1, 1, 9, 9]] * 2)),
        r"v_Biking_g08_c01\.avi: has a box in frame 8 .* 8 frames decode; the annotators counted 8",
    ),
    "video of another size": (
        lambda raw: raw.videos.update({FOUR: packed_avi(10, height=20)}),
        r"v_Diving_g19_c01\.avi: is 320x20, but boxes reach x 47, y 21 \(0-based\)",
    ),
    "empty tube": (
        lambda raw: raw.annotations[TWO]["annotations"].append(tube(0, 3, [])),
        r"pyannot\.pkl: Biking/v_Biking_g08_c01: annotations\[1\]: the tube has no boxes",
    ),
    "no tubes": (
        lambda raw: raw.annotations[TWO].update(annotations=[]),
        r"pyannot\.pkl: Biking/v_Biking_g08_c01: has no tubes",
    ),
    "fewer boxes than frames": (
        lambda raw: raw.annotations[TWO]["annotations"][0].update(ef=9),
        r"Biking/v_Biking_g08_c01: annotations\[0\]: 8 boxes, but frames 0 to 9",
    ),
    "tube of another class": (
        lambda raw: raw.annotations[TWO]["annotations"].append(tube(1, 0, [[1, 1, 9, 9]])),
        r"Biking/v_Biking_g08_c01: annotations\[1\] are of Diving, the video of Biking",
    ),
    "unknown label": (
        lambda raw: raw.annotations[TWO]["annotations"].append(tube(9, 0, [[1, 1, 9, 9]])),
        r"Biking/v_Biking_g08_c01: annotations\[1\]: label 9 is not among 0 to 1",
    ),
    "box from 0": (
        lambda raw: raw.annotations[TWO]["annotations"].append(tube(0, 0, [[0, 1, 9, 9]])),
        r"annotations\[1\]: x, y, width, height \[0, 1, 9, 9\] are no box of pixels that count fr",
    ),
    "box without width": (
        lambda raw: raw.annotations[TWO]["annotations"].append(tube(0, 0, [[3, 1, 0, 9]])),
        r"annotations\[1\]: x, y, width, height \[3, 1, 0, 9\] are no box",
    ),
    "not annotations": (
        lambda raw: raw.annotations.update({TWO: {"numf": 3}}),
        r"pyannot\.pkl: not built like the corrected annotations of UCF101-24 \(KeyError: 'label'",
    ),
    "video without class": (
        lambda raw: raw.annotations.update(v_Biking_g08_c09=raw.annotations[TWO]),
        r"pyannot\.pkl: videos are called <Class>/<video>, found 'v_Biking_g08_c09'",
    ),
    "test videos of another data set": (
        lambda raw: setattr(raw, "tested", ["clap/a"]),
        r"testlist01\.txt: none of the 1 test videos matches any of the annotated videos",
    ),
    "no list": (
        lambda raw: setattr(raw, "tested", ["<html>"]),
        r"testlist01\.txt: line 1: expected <Class>/<video>, found '<html>'",
    ),
    "empty list": (lambda raw: raw.tested.clear(), r"testlist01\.txt: lists no videos"),
    "all tested": (
        lambda raw: raw.tested.extend([TWO, FOUR]),
        r"testlist01\.txt: all 4 annotated videos are test videos",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_files_are_named_and_nothing_looks_whole(
    name: str, raw: Raw, tmp_path: Path
) -> None:
    spoil, message = SPOILED[name]
    spoil(raw)
    with pytest.raises(DataError, match=message):
        run(raw.zipped(tmp_path / "raw"), tmp_path / "out")
    left = {path.name for path in (tmp_path / "out").glob("*")}
    assert left <= {".frames.tmp"}


def test_a_video_in_the_folder_of_another_class(raw: Raw, tmp_path: Path) -> None:
    raw.videos[f"Diving/{clip_of(ONE)}"] = raw.videos.pop(ONE)
    with pytest.raises(
        DataError, match=r"video of 'Biking' by its name, in the folder of 'Diving'"
    ):
        run(raw.in_folders(tmp_path / "raw"), tmp_path / "out")


def test_a_video_that_is_there_twice(raw: Raw, tmp_path: Path) -> None:
    folder = raw.in_folders(tmp_path / "raw")
    raw.in_one_folder(folder)
    with pytest.raises(DataError, match=r"video 'v_Biking_g01_c01' is there twice, raw/Biking/v_B"):
        run(folder, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "rar"])
def test_archives_cut_off(kind: str, raw: Raw, tmp_path: Path) -> None:
    write, name = {
        "zip": (Raw.zipped, "UCF101_videos.zip"),
        "rar": (Raw.in_rar, "UCF101.rar"),
    }[kind]
    archive = write(raw, tmp_path / "raw") / name
    archive.write_bytes(archive.read_bytes()[:-3000])
    with pytest.raises(DataError, match=rf"{name}: .*ownload it again"):
        run(tmp_path / "raw", tmp_path / "out", videos=name)


@pytest.mark.parametrize("name", ["UCF101_videos.zip", "pyannot.pkl", "testlist01.txt"])
def test_missing_files_are_named(name: str, raw: Raw, tmp_path: Path) -> None:
    (raw.zipped(tmp_path / "raw") / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: no such file; run the download stage"):
        run(tmp_path / "raw", tmp_path / "out")
