"""Decodes frames ahead of a model that is at work, so that a GPU is not kept waiting."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from stclip.pictures import read_frame

BATCHES_AHEAD = 3


def decode_ahead(
    frames: Path, batches: Sequence[Sequence[tuple[str, int]]], *, workers: int
) -> Iterator[list[np.ndarray]]:
    """The pictures of each batch of (clip, frame), uint8 RGB (height, width, 3).

    `workers` threads decode up to three batches ahead (decoding releases Python's lock); with 0
    every batch is decoded when it is asked for.

    Raises:
        DataError: a frame is missing or does not decode.
    """

    def decode(key: tuple[str, int]) -> np.ndarray:
        return np.array(read_frame(frames, *key))

    if not workers:
        yield from ([decode(key) for key in keys] for keys in batches)
        return
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[list[Future[np.ndarray]]] = deque()
        try:
            for keys in batches:
                ahead.append([pool.submit(decode, key) for key in keys])
                if len(ahead) > BATCHES_AHEAD:
                    yield [future.result() for future in ahead.popleft()]
            while ahead:
                yield [future.result() for future in ahead.popleft()]
        finally:  # after an error nobody wants the rest
            for future in (f for futures in ahead for f in futures):
                future.cancel()
