"""Reads frames and assembles batches; the only module that reads pictures for the methods.

Stored frames are decoded already (`stclip.pictures`); what costs is bringing them to the model's
size. Pictures of that size stay in a bounded cache that the windows of neighbouring key frames
share; only person crops need the stored frame again.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stclip.augment import augment
from stclip.config import Augmentation, MethodConfig, Preprocessing
from stclip.errors import ConfigError
from stclip.features import BoxFeatures, FrameFeatures, StoredFeatures
from stclip.method import Method
from stclip.pictures import read_frame
from stclip.preprocess import boxes_to_model, crop_box, to_model
from stclip.records import Clips

OBJECTS = "objects"  # among the tables of boxes
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
    ) -> None:
        """Say what is read.

        Args:
            folder: of the prepared frames.
            size: height and width of the backbone's pictures.
            preprocessing: of whole frames; default: CLIP's.
            augmentation: of the clips of training samples; default: none.
            stored: features that are read in place of pictures.
            cache_bytes: how much the kept pictures may take.
        """
        self.folder = folder
        self.size = size
        self.preprocessing = preprocessing or Preprocessing()
        self.augmentation = augmentation or Augmentation()
        self.stored = stored or StoredFeatures()
        self.cache_bytes = cache_bytes
        self._capacity = max(1, cache_bytes // (3 * size[0] * size[1]))
        self._pictures: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def part(self, count: int) -> "FrameReader":
        """The reader of one of `count` processes, which together cache as much as this one."""
        return FrameReader(
            self.folder, self.size, preprocessing=self.preprocessing,
            augmentation=self.augmentation, stored=self.stored,
            cache_bytes=self.cache_bytes // count,
        )  # fmt: skip

    def picture(self, clip: str, frame: int) -> np.ndarray:
        """The whole frame for the model, uint8 (3, H, W)."""
        key = (clip, frame)
        if key not in self._pictures:
            self._keep(key, read_frame(self.folder, clip, frame))
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
        image = read_frame(self.folder, clip, frame)
        # Its window wants it too, and here it is read.
        if self.stored.frames is None and (clip, frame) not in self._pictures:
            self._keep((clip, frame), image)
        mode, scale = self.preprocessing.crop_mode, self.preprocessing.crop_scale
        return np.stack(
            [crop_box(image, box, self.size, mode=mode, scale=scale) for box in boxes_xyxy]
        )

    def augmented(self, clip: str, frames: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """Some frames of a clip for the model, changed by chance, uint8 (n, 3, H, W)."""
        images = [read_frame(self.folder, clip, frame) for frame in frames]
        return augment(images, self.size, self.augmentation, self.preprocessing, rng)

    def _keep(self, key: tuple[str, int], image: Image.Image) -> None:
        self._pictures[key] = to_model(image, self.size, self.preprocessing)
        if len(self._pictures) > self._capacity:
            self._pictures.popitem(last=False)


def make_reader(
    method: Method,
    config: MethodConfig,
    *,
    clips: Clips,
    frames: Path,
    features: Mapping[str, Path],
    tables: Mapping[str, pd.DataFrame],
) -> FrameReader:
    """What reads frames for a method, as its configuration says.

    Args:
        method: whose pictures are read.
        config: says which of them are stored features.
        clips: of the data set.
        frames: folder of the prepared frames.
        features: files of the features stage: of "frames", of the boxes of a source, of "objects".
        tables: the boxes of each source, and the "objects", that features are of.

    Raises:
        ConfigError: stored features are asked for where they cannot stand for pictures, or no file
            is given. DataError: the file is damaged, or of other clips or boxes.
    """
    if config.objects != method.inputs.objects:
        raise ConfigError(
            f"method {config.name}: objects is {config.objects}, the method itself says "
            f"{method.inputs.objects}; set objects alike."
        )
    if config.features:
        _check_stored(method, config)
    if method.inputs.boxes and config.train.augmentation != Augmentation():
        raise ConfigError(
            f"method {config.name}: boxes do not follow what train.augmentation changes; leave it "
            "out, or look at key frames, which it leaves alone."
        )

    def path_of(what: str) -> Path:
        if what not in features:
            raise ConfigError(
                f"method {config.name} reads stored features; give --features {what}=FILE."
            )
        return features[what]

    def of_boxes(what: str) -> BoxFeatures:
        return BoxFeatures(path_of(what), table=tables[what], config=config)

    kinds = config.features
    stored = StoredFeatures(
        frames=FrameFeatures(path_of("frames"), clips=clips, config=config)
        if "frames" in kinds
        else None,
        boxes={what: of_boxes(what) for what in tables if what != OBJECTS}
        if "boxes" in kinds
        else {},
        objects=of_boxes(OBJECTS) if "objects" in kinds else None,
    )
    return FrameReader(
        frames, method.backbone.image_size, preprocessing=config.preprocessing,
        augmentation=config.train.augmentation, stored=stored,
    )  # fmt: skip


def _check_stored(method: Method, config: MethodConfig) -> None:
    """Stored features stand for pictures as they are, and only the method can say whether."""
    if not method.takes_features:
        raise ConfigError(f"method {config.name} works on pictures; set features: [].")
    if method.inputs.unit == "tracklet" and method.inputs.crops:
        raise ConfigError(
            f"method {config.name}: stored features are of whole frames; set features: [] to cut "
            "persons out, or params.crops: false."
        )
    if config.train.augmentation != Augmentation():
        raise ConfigError(
            f"method {config.name}: stored features are of frames as they are; set features: [] "
            "for train.augmentation, or no augmentation."
        )
