"""Batches read ahead: in order, whole errors, shared memory, no random numbers."""

import os
from collections.abc import Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch

from stclip.errors import DataError
from stclip.inputs.feed import Feed, _read_frames, feed_frames
from stclip.storage.frame_store import read_pixels, write_clip

WORKERS = pytest.mark.parametrize("workers", [0, 2])


def numbers(batch: Sequence[int]) -> torch.Tensor:
    if -1 in batch:
        raise DataError("a.npy: damaged.")
    if -2 in batch:
        raise KeyError("a bug")
    return torch.tensor([*batch, os.getpid()])


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_clip(tmp_path, "a", rng.integers(0, 256, (7, 6, 8, 3), np.uint8))
    write_clip(tmp_path, "b", rng.integers(0, 256, (7, 10, 4, 3), np.uint8))
    return tmp_path


@WORKERS
def test_batches_come_in_order_and_from_other_processes(workers: int) -> None:
    batches = [[i, i + 1] for i in range(9)]
    feed = Feed(numbers, batches, workers=workers)
    assert len(feed) == 9
    for _ in range(2):  # it can be read again
        found = [batch.tolist() for batch in feed]
        assert [batch[:2] for batch in found] == batches
        readers = {batch[2] for batch in found}
        assert len(readers) == max(workers, 1)
        assert (os.getpid() in readers) == (workers == 0)


@WORKERS
def test_what_a_person_can_fix_comes_without_a_traceback(workers: int) -> None:
    found = []
    with pytest.raises(DataError) as caught:
        found += [batch.tolist()[0] for batch in Feed(numbers, [[1], [-1], [2]], workers=workers)]
    assert str(caught.value) == "a.npy: damaged."
    with pytest.raises(KeyError, match="a bug"):
        list(Feed(numbers, [[-2]], workers=workers))


@WORKERS
def test_reading_draws_no_random_numbers(workers: int) -> None:
    before = torch.get_rng_state()
    list(Feed(numbers, [[1], [2]], workers=workers))
    assert list(Feed(numbers, [], workers=workers)) == []
    assert torch.equal(torch.get_rng_state(), before)


@WORKERS
def test_frames_are_the_stored_ones(frames: Path, workers: int) -> None:
    """A batch may hold pictures of several sizes."""
    batches = [[("a", 0), ("b", 6)], [("a", 3)], [("b", 2), ("a", 6), ("a", 0)]]
    found = list(feed_frames(frames, batches, workers=workers))
    for keys, pictures in zip(batches, found, strict=True):
        for key, picture in zip(keys, pictures, strict=True):
            assert picture.dtype == np.uint8
            assert np.array_equal(picture, read_pixels(frames, *key))
    with pytest.raises(DataError, match=r"a\.npy: frame 7 of clip 'a' is missing"):
        list(feed_frames(frames, [[("a", 7)]], workers=workers))


def test_pixels_do_not_travel_as_bytes(tmp_path: Path) -> None:
    """The pipe between the processes gets the name of shared memory."""
    write_clip(tmp_path, "large", np.zeros((1, 480, 640, 3), np.uint8))
    pictures = _read_frames(tmp_path, [("large", 0)])
    assert len(ForkingPickler.dumps(pictures)) < 5_000 < pictures[0].nbytes
