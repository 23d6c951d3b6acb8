"""Reads frames ahead of a model that is at work, so that a GPU is not kept waiting."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from stclip.storage.frame_store import read_pixels

BATCHES_AHEAD = 3


def read_ahead(
    frames: Path, batches: Sequence[Sequence[tuple[str, int]]], *, workers: int
) -> Iterator[list[np.ndarray]]:
    """The pictures of each batch of (clip, frame), uint8 RGB (height, width, 3).

    `workers` threads read up to three batches ahead; with 0 every batch is read when it is asked
    for.

    Raises:
        DataError: a frame is missing or its clip's file is damaged.
    """

    def read(key: tuple[str, int]) -> np.ndarray:
        return read_pixels(frames, *key).copy()  # the disk is read here, not in the model

    if not workers:
        yield from ([read(key) for key in keys] for keys in batches)
        return
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[list[Future[np.ndarray]]] = deque()
        try:
            for keys in batches:
                ahead.append([pool.submit(read, key) for key in keys])
                if len(ahead) > BATCHES_AHEAD:
                    yield [future.result() for future in ahead.popleft()]
            while ahead:
                yield [future.result() for future in ahead.popleft()]
        finally:  # after an error nobody wants the rest
            for future in (f for futures in ahead for f in futures):
                future.cancel()
