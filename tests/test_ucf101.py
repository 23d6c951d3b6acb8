"""UCF101-24 from videos and annotations drawn here in the published forms, quirks included."""

import io
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import ROOT
from outside_annotations import SHARED
from ucf101_files import (
    FIRST,
    FOUR,
    FRAMES,
    ONE,
    THREE,
    TWO,
    UNANNOTATED,
    Raw,
    number_of,
    packed_avi,
    run,
    tube,
)

from stclip.config import read_yaml
from stclip.errors import DataError
from stclip.prepare import gttubes, videos
from stclip.prepare.videos import VideoFile, store_video
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.frame_store import read_clip, read_pixels, stored_clip

REAL_VIDEO = SHARED / "clips" / "test.avi"
ANNOTATED = (ONE, TWO, THREE, FOUR)  # in the order of the tables


def clip_of(name: str) -> str:
    return name.split("/")[1]


def numbers_in(frames: Path, name: str) -> list[int]:
    return [number_of(pixels) for pixels in read_clip(frames, clip_of(name))]


def shown_in(name: str) -> list[int]:
    return [FIRST[name] + n for n in range(FRAMES[name])]


@pytest.fixture
def raw() -> Raw:
    return Raw()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ucf")
    return run(Raw().zipped(folder / "raw"), folder / "out")


def test_clips(prepared: Path) -> None:
    table = Clips.read(prepared / "clips.parquet").table
    assert table["clip"].tolist() == [clip_of(name) for name in ANNOTATED]
    assert table["official_split"].tolist() == ["test", "train", "test", "train"]
    assert table["num_frames"].tolist() == [9, 8, 12, 10]
    assert [list(actions) for actions in table["actions"]] == [["Biking"]] * 2 + [["Diving"]] * 2
    for column, value in {"height": 32, "width": 320, "fps": 25, "licence": "free"}.items():
        assert set(table[column]) == {value}


def test_boxes_are_corners_from_zero_and_do_not_run_over(prepared: Path) -> None:
    table = Boxes.read(prepared / "boxes.parquet").table
    rows = table[table["clip"] == clip_of(ONE)]
    assert rows[["frame", "tube"]].to_numpy().tolist() == [
        [0, 1], [1, 1], [2, 0], [2, 1], [3, 0], [3, 1], [4, 0],
    ]  # fmt: skip
    # x 200 from 1, 100 wide: columns 199 to 299, of which uint8 would have made 43
    assert rows.loc[rows["tube"] == 0, BOX_COLUMNS].to_numpy().tolist() == [[199, 4, 299, 24]] * 3
    assert rows.loc[rows["tube"] == 1, BOX_COLUMNS].to_numpy().tolist() == [[0, 0, 319, 31]] * 4
    rows = table[table["clip"] == clip_of(THREE)]
    assert rows["frame"].tolist() == [1, 2, 6, 7]  # no box before, between and behind
    assert rows["tube"].tolist() == [0, 0, 1, 1]
    assert table["clip"].drop_duplicates().tolist() == [clip_of(name) for name in ANNOTATED]
    assert [list(a) for a in table["actions"]] == [["Biking"]] * 15 + [["Diving"]] * 13


def test_frames_are_those_of_the_decoder_in_its_order(prepared: Path) -> None:
    frames = prepared / "frames"
    assert sorted(path.name for path in frames.iterdir()) == [
        f"{clip_of(name)}.jpegs" for name in ANNOTATED
    ]
    for name in ANNOTATED:
        assert numbers_in(frames, name) == shown_in(name)


FORMS: dict[str, tuple[Callable[[Raw, Path], Path], str]] = {
    "rar": (Raw.in_rar, "UCF101.rar"),
    "folder per class": (Raw.in_folders, "UCF101.rar"),
    "one folder": (Raw.in_one_folder, "UCF101_videos.zip"),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same(form: str, prepared: Path, raw: Raw, tmp_path: Path) -> None:
    write, videos_file = FORMS[form]
    out = run(write(raw, tmp_path / "raw"), tmp_path / "out", videos=videos_file)
    for table in (Clips, Boxes):
        name = f"{table.__name__.lower()}.parquet"
        assert table.read(out / name).content() == table.read(prepared / name).content()
    for name in ANNOTATED:
        clip = clip_of(name)
        pictures = (read_clip(folder / "frames", clip) for folder in (out, prepared))
        assert np.array_equal(*pictures)


def test_the_frames_and_tubes_of_the_moc_detector(
    prepared: Path, raw: Raw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = read_yaml(ROOT / "config" / "datasets" / "ucf101_24.yaml")
    params = settings["params"] | settings["forms"]["moc"]["params"]
    out = tmp_path / "out"
    with caplog.at_level(logging.INFO):
        gttubes.prepare(raw.as_moc(tmp_path / "raw"), out, frame_store="jpeg", **params)
    assert f"UCF101v2-GT.pkl does not list 1 videos, left out: {UNANNOTATED}" in caplog.text
    found, expected = (Clips.read(folder / "clips.parquet").table for folder in (out, prepared))
    assert found.drop(columns="licence").equals(expected.drop(columns="licence"))
    boxes = [Boxes.read(folder / "boxes.parquet").content() for folder in (out, prepared)]
    assert boxes[0] == boxes[1]
    assert sorted(path.name for path in (out / "frames").iterdir()) == [
        f"{clip_of(name)}.jpegs" for name in ANNOTATED
    ]
    assert numbers_in(out / "frames", ONE) == shown_in(ONE)


def test_decoded_frames(raw: Raw, tmp_path: Path) -> None:
    out = run(raw.zipped(tmp_path / "raw"), tmp_path / "out", frame_store="decoded")
    assert (out / "frames" / f"{clip_of(ONE)}.npy").is_file()
    assert numbers_in(out / "frames", ONE) == shown_in(ONE)


def test_what_is_passed_over_and_what_differs_is_told(
    raw: Raw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw.annotations[TWO]["numf"] = 9  # of 8
    raw.annotations[FOUR]["numf"] = 7  # of 10
    raw.annotations[THREE]["numf"] = 11  # of 12
    raw.tested.append(UNANNOTATED)
    with caplog.at_level(logging.INFO):
        run(raw.zipped(tmp_path / "raw"), tmp_path / "out")
    assert f"1 of their classes without annotation passed over ({clip_of(UNANNOTATED)})" in (
        caplog.text
    )
    assert "4 annotated videos; " in caplog.text
    assert "1 videos of other classes" in caplog.text
    assert (
        "3 of 4 videos decode to another number of frames than the annotators counted; the "
        f"extremes: {clip_of(TWO)} 8 of 9, {clip_of(FOUR)} 10 of 7"
    ) in caplog.text
    assert "UCF101-24: 4 videos, 39 frames, 28 boxes in 26 frames" in caplog.text
    assert "testlist01.txt: 1 of 3 test videos match none of the annotated videos" in caplog.text


def test_duplicate_boxes_are_kept(raw: Raw, tmp_path: Path) -> None:
    raw.annotations[TWO]["annotations"] *= 2
    out = run(raw.zipped(tmp_path / "raw"), tmp_path / "out")
    table = Boxes.read(out / "boxes.parquet").table
    rows = table[table["clip"] == clip_of(TWO)]
    assert rows["tube"].tolist() == [0, 1] * 8
    assert rows[BOX_COLUMNS].to_numpy().tolist() == [[9, 1, 39, 21]] * 16


def test_a_packed_video_of_one_key_frame(tmp_path: Path) -> None:
    """What other readers lose frames of: 164 pictures, two in a packet, times that do not rise."""
    content = packed_avi(164)
    with av.open(io.BytesIO(content)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    with av.open(io.BytesIO(content)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert sum(packet.is_keyframe for packet in packets) == 1
    assert times != sorted(times)
    found = store_video(VideoFile("a", content, "a.avi"), tmp_path, "decoded", "sha")
    assert (found.num_frames, found.fps, found.num_damaged, found.is_cut) == (164, 25, 0, False)
    assert [number_of(pixels) for pixels in read_clip(tmp_path, "a")] == list(range(164))


@pytest.mark.skipif(not REAL_VIDEO.is_file(), reason=f"needs {REAL_VIDEO}")
def test_a_real_video(tmp_path: Path) -> None:
    content = REAL_VIDEO.read_bytes()
    found = store_video(VideoFile("a", content, "a.avi"), tmp_path, "jpeg", "sha")
    assert (found.num_frames, found.height, found.width, found.fps) == (164, 240, 320, 25)
    assert (found.num_damaged, found.is_cut) == (0, False)
    with av.open(io.BytesIO(content)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for number in (0, 77, 163):
        stored = read_pixels(tmp_path, "a", number).astype(int)
        assert np.abs(stored - shown[number]).mean() < 1.5  # grey levels that JPEG costs
    cut = store_video(VideoFile("b", content[: len(content) // 2], "b"), tmp_path, "jpeg", "sha")
    assert cut.is_cut
    assert cut.num_frames < 100


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


# Stops before the third video, as if it were a long one.
KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from stclip.prepare import videos
from ucf101_files import run
real, begun = videos.store_video, []
def store_video(file, *rest):
    begun.append(file)
    if len(begun) == 3:
        time.sleep(600)
    return real(file, *rest)
videos.store_video = store_video
run(Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_killed_extraction_is_gone_on_with(
    raw: Raw, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = raw.zipped(tmp_path / "raw"), tmp_path / "out"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # one video after the other
    arguments = [str(Path(__file__).parent), str(source), str(out)]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments])
    journal, until = out / ".frames.tmp" / videos._JOURNAL, time.monotonic() + 60
    try:
        while not journal.exists() or journal.read_bytes().count(b"\n") < 3:  # its key, two videos
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "clips.parquet").exists()
    half = out / ".frames.tmp" / f".{clip_of(THREE)}.jpegs.1.tmp"  # what it was writing
    half.write_bytes(b"half a video")
    # one of the two that are there is another video now
    raw.videos[TWO] = packed_avi(8, first=4000)
    raw.zipped(source)

    decoded = []
    real = videos.store_video

    def noted(file: VideoFile, *rest: object) -> object:
        decoded.append(file.clip)
        return real(file, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(videos, "store_video", noted)
    run(source, out)
    assert decoded == [clip_of(name) for name in (TWO, THREE, FOUR)]
    assert numbers_in(out / "frames", TWO) == list(range(4000, 4008))
    for name in (ONE, THREE, FOUR):
        assert numbers_in(out / "frames", name) == shown_in(name)
    assert sorted(p.name for p in (out / "frames").iterdir()) == [
        f"{clip_of(name)}.jpegs" for name in ANNOTATED
    ]
    boxes = [Boxes.read(folder / "boxes.parquet") for folder in (out, prepared)]
    assert boxes[0].content() == boxes[1].content()


@pytest.fixture
def broken_off(raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Source and output of a try that ended after two videos."""
    source, out = raw.zipped(tmp_path / "raw"), tmp_path / "out"
    real = videos.store_video

    def dies(file: VideoFile, *rest: object) -> object:
        if file.clip == clip_of(THREE):
            raise KeyboardInterrupt
        return real(file, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setenv("OMP_NUM_THREADS", "1")
        patched.setattr(videos, "store_video", dies)
        with pytest.raises(KeyboardInterrupt):
            run(source, out)
    assert (out / ".frames.tmp" / f"{clip_of(ONE)}.jpegs").is_file()
    return source, out


def test_another_setting_is_not_gone_on_with(broken_off: tuple[Path, Path]) -> None:
    source, out = broken_off
    run(source, out, frame_store="decoded")
    assert {path.suffix for path in (out / "frames").iterdir()} == {".npy"}
    assert len(stored_clip(out / "frames", clip_of(ONE)).numbers) == 9


def test_videos_that_are_not_annotated_any_more_are_not_kept(
    raw: Raw, broken_off: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    source, out = broken_off
    del raw.annotations[ONE]
    with caplog.at_level(logging.INFO):
        run(raw.zipped(source), out)
    assert "1 of them were stored by an earlier try" in caplog.text
    assert sorted(path.name for path in (out / "frames").iterdir()) == [
        f"{clip_of(name)}.jpegs" for name in (TWO, THREE, FOUR)
    ]


def test_several_threads_give_the_same(
    raw: Raw, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    out = run(raw.zipped(tmp_path / "raw"), tmp_path / "out")
    for name in ANNOTATED:
        file = f"frames/{clip_of(name)}.jpegs"
        assert (out / file).read_bytes() == (prepared / file).read_bytes()
