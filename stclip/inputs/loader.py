"""Samples in, batches out: which frames, whose boxes, every picture once."""

import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from stclip.config import Augmentation
from stclip.inputs.batch import Batch, Inputs, Objects, Sample
from stclip.inputs.feed import Feed
from stclip.inputs.frame_reader import FrameReader, window
from stclip.inputs.sampling import SAMPLERS, Draw


def make_loader(
    reader: FrameReader,
    inputs: Inputs,
    batches: Sequence[Sequence[Sample]],
    *,
    workers: int,
) -> Feed[Sequence[Sample], Batch]:
    """The batches in order; `workers` processes read them ahead and share the reader's cache."""
    if workers:
        reader = reader.part(workers)
    return Feed(partial(assemble, reader, inputs), batches, workers=workers)


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
    memory, memory_mask = _memory(inputs, samples, index)
    crops, crop_features = _persons(reader, samples) if inputs.crops else (None, None)
    images, features = _whole_frames(reader, list(index))
    return Batch(
        images=images,
        features=features,
        frames=torch.from_numpy(rows),
        frame_mask=torch.from_numpy(mask),
        key=torch.tensor(keys),
        crops=crops,
        crop_features=crop_features,
        objects=_objects(reader, samples) if inputs.objects else None,
        memory=memory,
        memory_mask=memory_mask,
        **_boxes(reader, samples),
    )


def _memory(
    inputs: Inputs, samples: Sequence[Sample], index: dict[tuple[str, int], int]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Rows (S, M) of the frames around each key frame, which are added to `index`, and their mask.

    None where no memory is asked for.
    """
    before, after = inputs.memory
    steps = [step for step in range(-before, after + 1) if step]
    if not steps:
        return None, None
    rows = np.zeros((len(samples), len(steps)), np.int64)
    mask = np.zeros((len(samples), len(steps)), bool)
    for i, sample in enumerate(samples):
        for j, step in enumerate(steps):
            frame = sample.key_frame + step
            if 0 <= frame < sample.num_frames and (sample.pool is None or frame in sample.pool):
                rows[i, j] = index.setdefault((sample.clip, frame), len(index))
                mask[i, j] = True
    return torch.from_numpy(rows), torch.from_numpy(mask)


def _persons(
    reader: FrameReader, samples: Sequence[Sample]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Pictures (B, 3, H, W) of the boxes, or features (B, e) where the reader has them."""
    if reader.stored.boxes:
        parts = [reader.stored.boxes[s.source].of_rows(_stored(s.stored)) for s in samples]
        return None, torch.from_numpy(np.concatenate(parts))
    parts = [reader.crops(s.clip, s.key_frame, s.boxes_xyxy) for s in samples]
    return torch.from_numpy(np.concatenate(parts)), None


def _objects(reader: FrameReader, samples: Sequence[Sample]) -> Objects:
    found = [s.objects for s in samples if s.objects is not None]
    assert len(found) == len(samples), "make_samples was not given the objects"
    images = features = None
    if reader.stored.objects is not None:
        rows = np.concatenate([o.stored for o in found])
        features = torch.from_numpy(reader.stored.objects.of_rows(rows))
    else:
        parts = [
            reader.crops(s.clip, s.key_frame, o.boxes_xyxy)
            for s, o in zip(samples, found, strict=True)
        ]
        images = torch.from_numpy(np.concatenate(parts))
    counts = torch.tensor([len(o.scores) for o in found])
    return Objects(
        images=images,
        features=features,
        boxes=torch.from_numpy(np.concatenate([o.boxes_xyxy for o in found])),
        scores=torch.from_numpy(np.concatenate([o.scores for o in found])),
        sample=torch.arange(len(samples)).repeat_interleave(counts),
    )


def _stored(rows: np.ndarray | None) -> np.ndarray:
    assert rows is not None, "a sample of a table has its rows"
    return rows


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
        **_boxes(reader, samples),
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
        [reader.crops(sample.clip, f, b[None]) for f, b in zip(frames, boxes, strict=True)]
    )


def _whole_frames(
    reader: FrameReader, wanted: Sequence[tuple[str, int]]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Pictures (U, 3, H, W), or features (U, e) where the reader has them."""
    if reader.stored.frames is not None:
        return None, torch.from_numpy(reader.stored.frames.of(wanted))
    return torch.from_numpy(np.stack([reader.picture(*key) for key in wanted])), None


def _boxes(reader: FrameReader, samples: Sequence[Sample]) -> dict[str, Any]:
    counts = torch.tensor([len(s.boxes_xyxy) for s in samples])
    placed = [reader.place(s.boxes_xyxy, s.size) for s in samples]
    return {
        "boxes": torch.from_numpy(np.concatenate([s.boxes_xyxy for s in samples])),
        "box_sample": torch.arange(len(samples)).repeat_interleave(counts),
        "picture_boxes": torch.from_numpy(np.concatenate(placed)),
    }
