"""An extraction of UCF101-24 that is killed or broken off, and in several threads."""

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ucf101_files import (
    ANNOTATED,
    FOUR,
    ONE,
    THREE,
    TWO,
    Raw,
    clip_of,
    numbers_in,
    packed_avi,
    prepared_in,
    run,
    shown_in,
)

from stclip.prepare import videos
from stclip.prepare.resumable import JOURNAL
from stclip.prepare.videos import VideoFile
from stclip.records import Boxes
from stclip.storage.frame_store import stored_clip


@pytest.fixture
def raw() -> Raw:
    return Raw()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_in(tmp_path_factory.mktemp("ucf"))


# Stops before the third video, as if it were a long one.
KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from stclip.prepare import videos
from ucf101_files import run
real, begun = videos.store_video, []
def store_video(file, *rest, **named):
    begun.append(file)
    if len(begun) == 3:
        time.sleep(600)
    return real(file, *rest, **named)
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
    journal, until = out / ".frames.tmp" / JOURNAL, time.monotonic() + 60
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

    def noted(file: VideoFile, *rest: object, **named: object) -> object:
        decoded.append(file.clip)
        return real(file, *rest, **named)  # type: ignore[arg-type]

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

    def dies(file: VideoFile, *rest: object, **named: object) -> object:
        if file.clip == clip_of(THREE):
            raise KeyboardInterrupt
        return real(file, *rest, **named)  # type: ignore[arg-type]

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
