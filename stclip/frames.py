"""Reads frames and assembles batches; the only module that reads pictures for the methods.

Stored frames are decoded already (`stclip.pictures`); what costs is bringing them to the model's
size. Pictures of that size stay in a bounded cache that the windows of neighbouring key frames
share; only person crops need the stored frame again.
"""

import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stclip.augment import augment
from stclip.config import Augmentation, MethodConfig, Preprocessing
from stclip.errors import ConfigError
from stclip.features import Features
from stclip.method import Batch, Inputs, Method
from stclip.pictures import read_frame
from stclip.preprocess import crop_person, to_model
from stclip.records import Clips
from stclip.sampling import SAMPLERS, Draw

CACHE_BYTES = 512 * 2**20  # pictures at model size: all of mini, 3,500 at 224 x 224


@dataclass(frozen=True)
class Sample:
    """A key frame with its boxes (unit "person"), a clip or a track with all of its boxes."""

    clip: str
    num_frames: int  # length of the clip
    key_frame: int
    boxes_xyxy: np.ndarray  # (n, 4) float32, pixels
    rows: np.ndarray  # (n,) where the boxes stand in the caller's table
    box_frames: np.ndarray | None = None  # (n,) rising, the frames of a track's boxes
    draw: int | None = None  # in training: a random number of its own


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
        features: Features | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Say what is read.

        Args:
            folder: of the prepared frames.
            size: height and width of the backbone's pictures.
            preprocessing: of whole frames; default: CLIP's.
            augmentation: of the clips of training samples; default: none.
            features: read these in place of whole frames.
            cache_bytes: how much the kept pictures may take.
        """
        self.folder = folder
        self.size = size
        self.preprocessing = preprocessing or Preprocessing()
        self.augmentation = augmentation or Augmentation()
        self.features = features
        self.cache_bytes = cache_bytes
        self._capacity = max(1, cache_bytes // (3 * size[0] * size[1]))
        self._pictures: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def part(self, count: int) -> "FrameReader":
        """The reader of one of `count` processes, which together cache as much as this one."""
        return FrameReader(
            self.folder, self.size, preprocessing=self.preprocessing,
            augmentation=self.augmentation, features=self.features,
            cache_bytes=self.cache_bytes // count,
        )  # fmt: skip

    def picture(self, clip: str, frame: int) -> np.ndarray:
        """The whole frame for the model, uint8 (3, H, W)."""
        key = (clip, frame)
        if key not in self._pictures:
            self._keep(key, read_frame(self.folder, clip, frame))
        self._pictures.move_to_end(key)
        return self._pictures[key]

    def crops(self, clip: str, frame: int, boxes_xyxy: np.ndarray, inputs: Inputs) -> np.ndarray:
        """The persons of a frame for the model, uint8 (n, 3, H, W)."""
        image = read_frame(self.folder, clip, frame)
        # Its window wants it too, and here it is read.
        if self.features is None and (clip, frame) not in self._pictures:
            self._keep((clip, frame), image)
        mode, scale = inputs.crop_mode, inputs.crop_scale
        return np.stack(
            [crop_person(image, box, self.size, mode=mode, scale=scale) for box in boxes_xyxy]
        )

    def augmented(self, clip: str, frames: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """Some frames of a clip for the model, changed by chance, uint8 (n, 3, H, W)."""
        images = [read_frame(self.folder, clip, frame) for frame in frames]
        return augment(images, self.size, self.augmentation, self.preprocessing, rng)

    def _keep(self, key: tuple[str, int], image: Image.Image) -> None:
        self._pictures[key] = to_model(
            image,
            self.size,
            enlarge=self.preprocessing.enlarge,
            interpolation=self.preprocessing.interpolation,
        )
        if len(self._pictures) > self._capacity:
            self._pictures.popitem(last=False)


def make_reader(
    method: Method, config: MethodConfig, *, clips: Clips, frames: Path, features: Path | None
) -> FrameReader:
    """What reads frames for a method, as its configuration says.

    Raises:
        ConfigError: stored features are asked for where they cannot stand for pictures, or no file
            is given. DataError: the file is damaged, or of other clips or another backbone.
    """
    method.backbone.normalise_by(config.preprocessing.statistics)
    stored = None
    if config.features:
        if not method.takes_features:
            raise ConfigError(f"method {config.name} works on pictures; set features: false.")
        if method.inputs.unit == "tracklet" and method.inputs.crops:
            raise ConfigError(
                f"method {config.name}: stored features are of whole frames; set features: false "
                "to cut persons out, or params.crops: false."
            )
        if config.train.augmentation != Augmentation():
            raise ConfigError(
                f"method {config.name}: stored features are of frames as they are; set features: "
                "false for train.augmentation, or no augmentation."
            )
        if features is None:
            raise ConfigError(f"method {config.name} reads stored features; give --features.")
        stored = Features.read(features, clips=clips, config=config)
    return FrameReader(
        frames, method.backbone.image_size, preprocessing=config.preprocessing,
        augmentation=config.train.augmentation, features=stored,
    )  # fmt: skip


class BatchLoader(torch.utils.data.Dataset[Batch]):
    """A list of batches of samples, read when asked for."""

    def __init__(
        self, reader: FrameReader, inputs: Inputs, batches: Sequence[Sequence[Sample]]
    ) -> None:
        """`batches`: the samples of each batch, in order."""
        self.reader = reader
        self.inputs = inputs
        self.batches = batches

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        """Read batch `index`."""
        return assemble(self.reader, self.inputs, self.batches[index])


def make_loader(
    reader: FrameReader,
    inputs: Inputs,
    batches: Sequence[Sequence[Sample]],
    *,
    workers: int,
) -> torch.utils.data.DataLoader[Batch]:
    """The batches in order; each of `workers` processes reads two ahead, with 0 this one reads.

    Workers share the reader's cache by size, and torch gives each one thread. The generator keeps
    the loader from drawing on the training's random numbers.
    """
    if workers:
        reader = reader.part(workers)
    return torch.utils.data.DataLoader(
        BatchLoader(reader, inputs, batches),
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def assemble(reader: FrameReader, inputs: Inputs, samples: Sequence[Sample]) -> Batch:
    """Read the pictures of some samples, each distinct frame once.

    Raises:
        DataError: a frame is missing or its clip's file damaged.
    """
    read = _key_frames if inputs.unit == "person" else _clips
    return read(reader, inputs, samples)


def _key_frames(reader: FrameReader, inputs: Inputs, samples: Sequence[Sample]) -> Batch:
    wanted = [
        window(s.key_frame, s.num_frames, before=inputs.before, after=inputs.after) for s in samples
    ]
    length = max(map(len, wanted))
    index: dict[tuple[str, int], int] = {}
    rows = np.zeros((len(samples), length), np.int64)
    mask = np.zeros((len(samples), length), bool)
    keys = []
    for i, (sample, frames) in enumerate(zip(samples, wanted, strict=True)):
        padded = frames + frames[-1:] * (length - len(frames))
        rows[i] = [index.setdefault((sample.clip, f), len(index)) for f in padded]
        mask[i, : len(frames)] = True
        keys.append(index.setdefault((sample.clip, sample.key_frame), len(index)))
    crops = None
    if inputs.crops:
        crops = torch.from_numpy(
            np.concatenate(
                [reader.crops(s.clip, s.key_frame, s.boxes_xyxy, inputs) for s in samples]
            )
        )
    images, features = _whole_frames(reader, list(index))
    return Batch(
        images=images,
        features=features,
        frames=torch.from_numpy(rows),
        frame_mask=torch.from_numpy(mask),
        key=torch.tensor(keys),
        crops=crops,
        **_boxes(samples),
    )


def _clips(reader: FrameReader, inputs: Inputs, samples: Sequence[Sample]) -> Batch:
    """Clips, or persons' tracks: frames drawn by the method's rule."""
    drawn = [_drawn_frames(inputs, s) for s in samples]
    images: torch.Tensor | None
    features = None
    rows: list[list[int]] = []
    if inputs.crops or _changed(reader, samples):  # pictures of a sample's own
        parts: list[np.ndarray] = []
        for sample, frames in zip(samples, drawn, strict=True):
            own = sorted(set(frames))
            first = sum(len(part) for part in parts)
            rows.append([first + own.index(frame) for frame in frames])
            parts.append(_own_pictures(reader, inputs, sample, own))
        images = torch.from_numpy(np.concatenate(parts))
    else:
        index: dict[tuple[str, int], int] = {}
        for sample, frames in zip(samples, drawn, strict=True):
            rows.append([index.setdefault((sample.clip, f), len(index)) for f in frames])
        images, features = _whole_frames(reader, list(index))
    frame_rows = torch.tensor(rows)
    return Batch(
        images=images,
        features=features,
        frames=frame_rows,
        frame_mask=torch.ones_like(frame_rows, dtype=torch.bool),
        key=None,
        crops=None,
        **_boxes(samples),
    )


def _drawn_frames(inputs: Inputs, sample: Sample) -> list[int]:
    """`num_frames` frames for each view, one after the other; a training sample has one view."""
    first, length = 0, sample.num_frames
    if inputs.unit == "tracklet":
        assert sample.box_frames is not None
        first = int(sample.box_frames[0])
        length = int(sample.box_frames[-1]) + 1 - first
    training = sample.draw is not None
    rng = np.random.default_rng(sample.draw if training else zlib.crc32(sample.clip.encode()))
    views = 1 if training else inputs.views
    rule = SAMPLERS[inputs.sampling]
    return [
        first + frame
        for view in range(views)
        for frame in rule(length, inputs.num_frames, Draw(training, rng, view, views))
    ]


def _changed(reader: FrameReader, samples: Sequence[Sample]) -> bool:
    return reader.augmentation != Augmentation() and any(s.draw is not None for s in samples)


def _own_pictures(
    reader: FrameReader, inputs: Inputs, sample: Sample, frames: Sequence[int]
) -> np.ndarray:
    """The frames of one sample, uint8 (n, 3, H, W): its person cut out, or changed by chance."""
    if not inputs.crops:
        rng = np.random.default_rng([sample.draw or 0, 1])  # not the one that draws frames
        return reader.augmented(sample.clip, frames, rng)
    assert sample.box_frames is not None
    columns = [np.interp(frames, sample.box_frames, corner) for corner in sample.boxes_xyxy.T]
    boxes = np.stack(columns, axis=1)  # (n, 4)
    return np.concatenate(
        [reader.crops(sample.clip, f, b[None], inputs) for f, b in zip(frames, boxes, strict=True)]
    )


def _whole_frames(
    reader: FrameReader, wanted: Sequence[tuple[str, int]]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Pictures (U, 3, H, W), or features (U, e) where the reader has them."""
    if reader.features is not None:
        return None, torch.from_numpy(np.stack([reader.features.of(*key) for key in wanted]))
    return torch.from_numpy(np.stack([reader.picture(*key) for key in wanted])), None


def _boxes(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    counts = torch.tensor([len(s.boxes_xyxy) for s in samples])
    return {
        "boxes": torch.from_numpy(np.concatenate([s.boxes_xyxy for s in samples])),
        "box_sample": torch.arange(len(samples)).repeat_interleave(counts),
    }
