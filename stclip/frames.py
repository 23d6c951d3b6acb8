"""Reads frames and assembles batches; the only module that reads pictures for the methods.

Stored frames are decoded already (`stclip.pictures`); what costs is bringing them to the model's
size. Pictures of that size stay in a bounded cache that the windows of neighbouring key frames
share; only person crops need the stored frame again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stclip.method import Batch, Inputs
from stclip.pictures import read_frame
from stclip.preprocess import crop_person, to_model

CACHE_BYTES = 512 * 2**20  # pictures at model size: all of mini, 3,500 at 224 x 224


@dataclass(frozen=True)
class Sample:
    """A key frame with its boxes (unit "person"), or a clip with all of its boxes (unit "clip")."""

    clip: str
    num_frames: int  # length of the clip
    key_frame: int
    boxes_xyxy: np.ndarray  # (n, 4) float32, pixels
    rows: np.ndarray  # (n,) where the boxes stand in the caller's table


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


def spread(num_frames: int, *, num: int) -> list[int]:
    """Middles of `num` equal segments of a clip.

    >>> spread(10, num=2)
    [2, 7]
    """
    return [int((i + 0.5) * num_frames / num) for i in range(num)]


class FrameReader:
    """Reads prepared frames, keeps model-sized pictures in a bounded cache."""

    def __init__(
        self, folder: Path, size: tuple[int, int], *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        """`size`: height and width of the backbone's pictures."""
        self.folder = folder
        self.size = size
        self.cache_bytes = cache_bytes
        self._capacity = max(1, cache_bytes // (3 * size[0] * size[1]))
        self._pictures: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def part(self, count: int) -> "FrameReader":
        """The reader of one of `count` processes, which together cache as much as this one."""
        return FrameReader(self.folder, self.size, cache_bytes=self.cache_bytes // count)

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
        if (clip, frame) not in self._pictures:  # its window wants it too, and here it is read
            self._keep((clip, frame), image)
        mode, scale = inputs.crop_mode, inputs.crop_scale
        return np.stack(
            [crop_person(image, box, self.size, mode=mode, scale=scale) for box in boxes_xyxy]
        )

    def _keep(self, key: tuple[str, int], image: Image.Image) -> None:
        self._pictures[key] = to_model(image, self.size)
        if len(self._pictures) > self._capacity:
            self._pictures.popitem(last=False)


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
    wanted = [_frames_of(inputs, s) for s in samples]
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
    return Batch(
        images=torch.from_numpy(np.stack([reader.picture(*key) for key in index])),
        frames=torch.from_numpy(rows),
        frame_mask=torch.from_numpy(mask),
        key=torch.tensor(keys),
        crops=crops,
        boxes=torch.from_numpy(np.concatenate([s.boxes_xyxy for s in samples])),
        box_sample=torch.arange(len(samples)).repeat_interleave(
            torch.tensor([len(s.boxes_xyxy) for s in samples])
        ),
    )


def _frames_of(inputs: Inputs, sample: Sample) -> list[int]:
    if inputs.unit == "clip":
        return spread(sample.num_frames, num=inputs.num_frames)
    return window(sample.key_frame, sample.num_frames, before=inputs.before, after=inputs.after)
