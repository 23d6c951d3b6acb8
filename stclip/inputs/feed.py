"""Feeds a model: batches that other processes read ahead, so that a GPU is not kept waiting.

Whoever reads pictures for a model reads them here: detection, fine-tuning, features, the methods.
What crosses from process to process is torch tensors, which travel in shared memory.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from stclip.errors import StclipError
from stclip.storage.frame_store import read_pixels

B = TypeVar("B")  # what a batch is of
T = TypeVar("T")  # what is read of it: tensors, or something that has `pin_memory`


class Feed(Generic[B, T]):
    """What `read` makes of each batch, in order."""

    def __init__(self, read: Callable[[B], T], batches: Sequence[B], *, workers: int) -> None:
        """Say what is read.

        Args:
            read: a function that can be pickled; called in the workers, which have no GPU.
            batches: what it is called with.
            workers: processes, of which each reads two batches ahead; with 0 this one reads a batch
                when it is asked for.
        """
        self.read = read
        self._loader = torch.utils.data.DataLoader(
            _Batches(read, batches),
            batch_size=None,
            num_workers=min(workers, len(batches)),
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # its own: it draws none of the training's numbers
        )

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._loader)

    def __iter__(self) -> Iterator[T]:
        """Read all batches, from the first."""
        for found in self._loader:
            if isinstance(found, StclipError):
                raise found
            yield found


class _Batches(torch.utils.data.Dataset[Any]):
    """A batch per item."""

    def __init__(self, read: Callable[[B], T], batches: Sequence[B]) -> None:
        self.read, self.batches = read, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        """What is read, or an error that a person can fix: torch would bury it in a traceback."""
        try:
            return self.read(self.batches[index])
        except StclipError as error:
            return error


def feed_frames(
    frames: Path, batches: Sequence[Sequence[tuple[str, int]]], *, workers: int
) -> Iterator[list[np.ndarray]]:
    """The pictures of each batch of (clip, frame), uint8 RGB (height, width, 3).

    Raises:
        DataError: a frame is missing or its clip's file is damaged.
    """
    for pictures in Feed(partial(_read_frames, frames), batches, workers=workers):
        yield [picture.numpy() for picture in pictures]


def _read_frames(frames: Path, keys: Sequence[tuple[str, int]]) -> list[Tensor]:
    # copied: the disk is read here, not where the picture is looked at
    return [torch.from_numpy(read_pixels(frames, *key).copy()) for key in keys]
