"""What the forms of stored clips share: what is known of a clip, how a file of one is written.

T: frames of a clip; H, W: height and width of its pictures.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from stclip.errors import DataError


@dataclass
class StoredClip:
    """What is stored of a clip."""

    height: int
    width: int
    numbers: dict[int, int] = field(default_factory=dict)  # 0-based number -> CRC-32


class OpenClip(Protocol):
    """A clip's file, open: the disk is read where its frames are looked at."""

    stored: StoredClip
    identity: bytes  # tells its frames from any others, without reading a picture

    def read(self, frame: int) -> UInt8[np.ndarray, "H W 3"]:
        """The pixels of a frame that is there, read-only.

        Raises:
            ValueError: it is not what was stored.
        """


class ClipWriter(ABC):
    """Writes one clip's file frame by frame, in whatever order, in the memory of one frame.

    Until `finish` the file is not readable as a clip.
    """

    def __init__(self, path: Path) -> None:
        """`path`: the file to write, in an existing folder."""
        self.path = path
        self._stored: StoredClip | None = None

    @property
    def stored(self) -> StoredClip:
        """What is stored by now; there has to be a frame."""
        assert self._stored is not None
        return self._stored

    def add(
        self, frame: int, picture: UInt8[np.ndarray, "H W 3"], *, encoded: bytes | None = None
    ) -> None:
        """Store one frame.

        Args:
            frame: its 0-based number.
            picture: its RGB pixels.
            encoded: the file that they were decoded from, if it was one picture: the store `jpeg`
                keeps a JPEG as it is, if it decodes to just these pixels.

        Raises:
            DataError: the clip has this frame already, or frames of another size.
        """
        height, width = picture.shape[:2]
        known = self._stored or StoredClip(height, width)
        if (known.height, known.width) != (height, width):
            raise DataError(
                f"is {width}x{height}, the clip's first picture {known.width}x{known.height}; all "
                "pictures of a clip have one size."
            )
        if frame in known.numbers:
            raise DataError("is there twice.")
        known.numbers[frame] = self._put(frame, picture, encoded, first=not known.numbers)
        self._stored = known

    def finish(self) -> None:
        """Make the file readable.

        Raises:
            DataError: the clip has no frames, or not all that it must have.
        """
        if self._stored is None:
            raise DataError("has no frames.")
        self._finish(self._stored)

    @abstractmethod
    def _put(self, frame: int, picture: np.ndarray, encoded: bytes | None, *, first: bool) -> int:
        """Write a frame; the CRC-32 of what was written. The first one begins the file anew."""

    @abstractmethod
    def _finish(self, stored: StoredClip) -> None: ...
