"""Reads frames; the only module that reads pictures for the methods.

Stored frames are decoded already (`stclip.storage.frame_store`); what costs is bringing them to the
model's size. Pictures of that size stay in a bounded cache that the windows of neighbouring key
frames share; only person crops need the stored frame again.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from stclip.config import Augmentation, Preprocessing
from stclip.inputs.augment import augment
from stclip.inputs.preprocess import boxes_to_model, crop_box, to_model
from stclip.inputs.stored_features import StoredFeatures
from stclip.storage.frame_store import read_frame

CACHE_BYTES = 512 * 2**20  # pictures at model size: all of mini, 3,500 at 224 x 224


def window(key_frame: int, num_frames: int, *, before: int, after: int) -> list[int]:
    """Frames key-before .. key+after, shifted (not cut) to stay inside 0..num_frames-1.

    A clip shorter than the window gives all of its frames.

    >>> window(5, 40, before=4, after=4)
    [1, 2, 3, 4, 5, 6, 7, 8, 9]
    >>> window(39, 40, before=4, after=4)
    [31, 32, 33, 34, 35, 36, 37, 38, 39]
    """
    length = before + 1 + after
    first = max(0, min(key_frame - before, num_frames - length))
    return list(range(first, min(first + length, num_frames)))


class FrameReader:
    """Reads prepared frames, keeps model-sized pictures in a bounded cache."""

    def __init__(
        self,
        folder: Path,
        size: tuple[int, int],
        *,
        preprocessing: Preprocessing | None = None,
        augmentation: Augmentation | None = None,
        stored: StoredFeatures | None = None,
        cache_bytes: int = CACHE_BYTES,
        read: Callable[[str, int], Image.Image] | None = None,
    ) -> None:
        """Say what is read.

        Args:
            folder: of the prepared frames.
            size: height and width of the backbone's pictures.
            preprocessing: of whole frames; default: CLIP's.
            augmentation: of the clips of training samples; default: none.
            stored: features that are read in place of pictures.
            cache_bytes: how much the kept pictures may take.
            read: gives the picture of a clip's frame; default: from `folder`.
        """
        self.folder = folder
        self.size = size
        self.preprocessing = preprocessing or Preprocessing()
        self.augmentation = augmentation or Augmentation()
        self.stored = stored or StoredFeatures()
        self.cache_bytes = cache_bytes
        self._read = read or partial(read_frame, folder)
        self._capacity = max(1, cache_bytes // (3 * size[0] * size[1]))
        self._pictures: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def part(self, count: int) -> "FrameReader":
        """The reader of one of `count` processes, which together cache as much as this one."""
        return FrameReader(
            self.folder, self.size, preprocessing=self.preprocessing,
            augmentation=self.augmentation, stored=self.stored,
            cache_bytes=self.cache_bytes // count, read=self._read,
        )  # fmt: skip

    def picture(self, clip: str, frame: int) -> np.ndarray:
        """The whole frame for the model, uint8 (3, H, W)."""
        key = (clip, frame)
        if key not in self._pictures:
            self._keep(key, self._read(clip, frame))
        self._pictures.move_to_end(key)
        return self._pictures[key]

    def place(self, boxes_xyxy: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
        """Where boxes (n, 4) of a frame lie in its `picture`; of no known size, they stay."""
        if not all(frame_size):
            return boxes_xyxy
        return boxes_to_model(boxes_xyxy, frame_size, self.size, self.preprocessing)

    def crops(self, clip: str, frame: int, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Boxes cut out of a frame for the model, uint8 (n, 3, H, W)."""
        if not len(boxes_xyxy):
            return np.zeros((0, 3, *self.size), np.uint8)
        image = self._read(clip, frame)
        # Its window wants it too, and here it is read.
        if self.stored.frames is None and (clip, frame) not in self._pictures:
            self._keep((clip, frame), image)
        how = self.preprocessing
        return np.stack([crop_box(image, box, self.size, how) for box in boxes_xyxy])

    def augmented(self, clip: str, frames: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """Some frames of a clip for the model, changed by chance, uint8 (n, 3, H, W)."""
        images = [self._read(clip, frame) for frame in frames]
        return augment(images, self.size, self.augmentation, self.preprocessing, rng)

    def _keep(self, key: tuple[str, int], image: Image.Image) -> None:
        self._pictures[key] = to_model(image, self.size, self.preprocessing)
        if len(self._pictures) > self._capacity:
            self._pictures.popitem(last=False)
