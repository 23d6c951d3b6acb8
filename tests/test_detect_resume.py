"""A killed detection goes on, but only with the same settings and content."""

import json
import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import World
from safetensors.torch import save_file
from stub_detectors import PIXEL, Pixel, Stub, config, detect

from stclip.config.hashes import detection_settings
from stclip.detect import detect as stage
from stclip.detect.backends.backend import Found
from stclip.storage.frame_store import clip_file, read_clip, write_clip
from stclip.storage.resume_log import open_journal


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Pixel.batches, Pixel.dies_at, Stub.calls = [], -1, 0


def test_a_killed_job_on_training_clips_goes_on(world: World) -> None:
    # 59 + 15 frames in batches of 3: the sixth ends in clip 1, clip 0 (11 frames) is finished.
    whole, again = world.folder / "whole.parquet", world.folder / "again.parquet"
    detect(world, PIXEL, out=whole, train_clips=True)
    every = list(Pixel.batches)
    assert len(every) == 25
    Pixel.batches, Pixel.dies_at = [], 6
    with pytest.raises(KeyboardInterrupt):
        detect(world, PIXEL, out=again, train_clips=True)
    Pixel.batches, Pixel.dies_at = [], -1
    detect(world, PIXEL, out=again, train_clips=True)
    assert Pixel.batches == every[3:]  # the fourth holds the last two frames of clip 0 and one more
    assert again.read_bytes() == whole.read_bytes()


def test_a_journal_of_test_clips_alone_is_begun_anew(world: World) -> None:
    Pixel.dies_at = 3
    with pytest.raises(KeyboardInterrupt):
        detect(world, PIXEL)
    Pixel.batches, Pixel.dies_at = [], -1
    detect(world, PIXEL, train_clips=True)
    assert len(Pixel.batches) == 25


def test_a_killed_job_goes_on_by_clip_and_ends_with_the_same_bytes(world: World) -> None:
    # 15 key frames in batches of 4 cross the clips (3 frames each); the third call dies.
    settings = PIXEL.model_copy(update={"batch_frames": 4})
    whole, again = world.folder / "whole.parquet", world.folder / "again.parquet"
    detect(world, settings, out=whole)
    every = list(Pixel.batches)
    assert [len(b) for b in every] == [4, 4, 4, 3]
    Pixel.batches, Pixel.dies_at = [], 2
    with pytest.raises(KeyboardInterrupt):
        detect(world, settings, out=again)
    assert not again.exists()
    journal = world.folder / ".again.parquet.journal"
    with journal.open("ab") as file:  # 8 frames: clips 5 and 6 are finished; then a torn line
        file.write(b'["clip_7", [[[1.0, 2')
    assert len(journal.read_bytes().split(b"\n")) == 4
    Pixel.batches, Pixel.dies_at = [], -1
    detect(world, settings, out=again)
    # Clip 7 begins in the second batch, which runs again as it was.
    assert Pixel.batches == every[1:]
    assert again.read_bytes() == whole.read_bytes()
    assert not journal.exists()


def test_finished_clips_are_not_detected_again(world: World) -> None:
    Pixel.dies_at = 3  # batches of 3 are clips here: three are finished
    with pytest.raises(KeyboardInterrupt):
        detect(world, PIXEL)
    Pixel.batches, Pixel.dies_at = [], -1
    detect(world, PIXEL)
    assert [clip for batch in Pixel.batches for clip, _ in batch] == ["clip_8"] * 3 + ["clip_9"] * 3


@pytest.mark.parametrize("what", ["threshold", "weights", "frames", "version", "code"])
def test_a_journal_of_other_settings_or_content_is_begun_anew(
    world: World, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    Pixel.dies_at = 3
    with pytest.raises(KeyboardInterrupt):
        detect(world, PIXEL)
    Pixel.batches, Pixel.dies_at = [], -1
    settings, changes = PIXEL, {}
    match what:
        case "threshold":
            settings = PIXEL.model_copy(update={"score_threshold": 0.2})
        case "weights":
            changes = {"files": {"weights": world.folder / "other.safetensors"}}
            save_file({"weight": torch.ones(1)}, world.folder / "other.safetensors")
        case "frames":
            path = clip_file(world.frames, "clip_8")
            stat = path.stat()
            write_clip(world.frames, "clip_8", 255 - read_clip(world.frames, "clip_8"))
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        case "version":
            changes = {"version": 1}
        case "code":
            settings = PIXEL.model_copy()
            settings.__dict__["sources"] = {"stub_detectors": "edited"}
    with caplog.at_level(logging.INFO):
        detect(world, settings, **changes)
    assert len(Pixel.batches) == 5
    assert "of other settings or damaged; starting anew" in caplog.text


def test_a_sequence_of_numbers_survives_the_journal(world: World) -> None:
    rng = np.random.default_rng(0)
    box = rng.random((50, 4), np.float32) * 300
    rows = stage._as_rows(Found(box, rng.random(50, np.float32)))
    assert np.array_equal(np.array(json.loads(json.dumps(rows)), np.float32)[:, :4], box)


def test_a_second_process_waits_for_the_journal(tmp_path: Path) -> None:
    path, order = tmp_path / "a.journal", []

    def second() -> None:
        with open_journal(path, key="k") as journal:
            order.append(("second", dict(journal.done)))

    with open_journal(path, key="k") as journal:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        journal.add("clip", [1])
        order.append(("first", dict(journal.done)))
    thread.join(10)
    # What the first finished is written by then, so the second begins a journal of its own.
    assert order == [("first", {"clip": [1]}), ("second", {})]
    assert not path.exists()


def test_a_change_of_words_detects_nothing_anew() -> None:
    changed = config(by_hand="other words", datasets=["jhmdb"])
    assert detection_settings(changed) == detection_settings(config())
    assert detection_settings(config(batch_frames=4)) != detection_settings(config())
