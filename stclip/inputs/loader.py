"""Samples in, batches out: which frames, whose boxes, every picture once."""

import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from stclip.config import Augmentation
from stclip.inputs.batch import (
    ClipBatch,
    Encoded,
    Inputs,
    Objects,
    PersonBatch,
    PersonSample,
    Pictures,
    Pixels,
    Sample,
    TrackSample,
    no_objects,
)
from stclip.inputs.feed import Feed
from stclip.inputs.frame_reader import FrameReader, window
from stclip.inputs.sampling import SAMPLERS, Draw

Read = PersonBatch | ClipBatch  # by the unit of the samples
S = TypeVar("S", bound=Sample)


def make_loader(
    reader: FrameReader,
    inputs: Inputs,
    batches: Sequence[Sequence[Sample]],
    *,
    training: bool,
    workers: int,
) -> Feed[Sequence[Sample], Read]:
    """The batches in order, `training` as in `assemble`.

    `workers` processes read them ahead and share the reader's cache.
    """
    if workers:
        reader = reader.part(workers)
    return Feed(partial(assemble, reader, inputs, training=training), batches, workers=workers)


def assemble(
    reader: FrameReader, inputs: Inputs, samples: Sequence[Sample], *, training: bool
) -> Read:
    """Read the pictures of some samples, each distinct frame once.

    Args:
        reader: of the frames.
        inputs: what the method looks at.
        samples: of `inputs.unit`.
        training: whether clips and tracks have one view, whose frames each sample's `draw` chooses,
            and pictures are augmented. In scoring they have `inputs.views`, the same every time.

    Raises:
        DataError: a frame is missing or its clip's file damaged.
    """
    if inputs.unit == "person":
        return _key_frames(reader, inputs, _of_kind(PersonSample, samples))
    if inputs.unit == "tracklet":
        samples = _of_kind(TrackSample, samples)
    return _clips(reader, inputs, samples, training=training)


def _of_kind(kind: type[S], samples: Sequence[Sample]) -> list[S]:
    found = [s for s in samples if isinstance(s, kind)]
    assert len(found) == len(samples), f"samples must be {kind.__name__}s"
    return found


def _key_frames(
    reader: FrameReader, inputs: Inputs, samples: Sequence[PersonSample]
) -> PersonBatch:
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
    # Before the whole frames: a key frame that is read for its crops is kept for the windows.
    crops = _persons(reader, samples) if inputs.crops else _no_pictures(reader)
    return PersonBatch(
        pictures=_whole_frames(reader, list(index)),
        frames=torch.from_numpy(rows),
        frame_mask=torch.from_numpy(mask),
        key=torch.tensor(keys),
        crops=crops,
        objects=_objects(reader, samples) if inputs.objects else no_objects(_no_pictures(reader)),
        memory=memory,
        memory_mask=memory_mask,
        **_boxes(reader, samples),
    )


def _memory(
    inputs: Inputs, samples: Sequence[PersonSample], index: dict[tuple[str, int], int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (S, M) of the frames around each key frame, which are added to `index`, and their mask.

    M is 0 where no memory is asked for.
    """
    before, after = inputs.memory
    steps = [step for step in range(-before, after + 1) if step]
    rows = np.zeros((len(samples), len(steps)), np.int64)
    mask = np.zeros((len(samples), len(steps)), bool)
    for i, sample in enumerate(samples):
        for j, step in enumerate(steps):
            frame = sample.key_frame + step * sample.memory_step
            if 0 <= frame < sample.num_frames and frame in sample.pool:
                rows[i, j] = index.setdefault((sample.clip, frame), len(index))
                mask[i, j] = True
    return torch.from_numpy(rows), torch.from_numpy(mask)


def _persons(reader: FrameReader, samples: Sequence[PersonSample]) -> Pictures:
    """The B boxes, cut out, or their features where the reader has them."""
    if reader.stored.boxes:
        assert all(len(s.stored) == len(s.rows) for s in samples), "samples lack their stored rows"
        parts = [reader.stored.boxes[s.source].of_rows(s.stored) for s in samples]
        return Encoded(torch.from_numpy(np.concatenate(parts)))
    parts = [reader.crops(s.clip, s.key_frame, s.boxes_xyxy) for s in samples]
    return Pixels(torch.from_numpy(np.concatenate(parts)))


def _objects(reader: FrameReader, samples: Sequence[PersonSample]) -> Objects:
    things = [s.objects for s in samples]
    pictures: Pictures
    if reader.stored.objects is not None:
        rows = np.concatenate([o.stored for o in things])
        pictures = Encoded(torch.from_numpy(reader.stored.objects.of_rows(rows)))
    else:
        parts = [reader.crops(s.clip, s.key_frame, s.objects.boxes_xyxy) for s in samples]
        pictures = Pixels(torch.from_numpy(np.concatenate(parts)))
    counts = torch.tensor([len(o.scores) for o in things])
    return Objects(
        pictures=pictures,
        boxes=torch.from_numpy(np.concatenate([o.boxes_xyxy for o in things])),
        scores=torch.from_numpy(np.concatenate([o.scores for o in things])),
        sample=torch.arange(len(samples)).repeat_interleave(counts),
    )


def _no_pictures(reader: FrameReader) -> Pixels:
    return Pixels(torch.zeros((0, 3, *reader.size), dtype=torch.uint8))


def _clips(
    reader: FrameReader, inputs: Inputs, samples: Sequence[Sample], *, training: bool
) -> ClipBatch:
    """Clips, or persons' tracks: frames drawn by the method's rule."""
    drawn = [_drawn_frames(inputs, s, training=training) for s in samples]
    augmented = training and reader.augmentation != Augmentation()
    pictures: Pictures
    rows: list[list[int]] = []
    if inputs.crops or augmented:  # every sample has pictures of its own
        parts: list[np.ndarray] = []
        for sample, frames in zip(samples, drawn, strict=True):
            own = sorted(set(frames))
            first = sum(len(part) for part in parts)
            rows.append([first + own.index(frame) for frame in frames])
            parts.append(_own_pictures(reader, inputs, sample, own))
        pictures = Pixels(torch.from_numpy(np.concatenate(parts)))
    else:
        index: dict[tuple[str, int], int] = {}
        for sample, frames in zip(samples, drawn, strict=True):
            rows.append([index.setdefault((sample.clip, f), len(index)) for f in frames])
        pictures = _whole_frames(reader, list(index))
    return ClipBatch(pictures=pictures, frames=torch.tensor(rows), **_boxes(reader, samples))


def _drawn_frames(inputs: Inputs, sample: Sample, *, training: bool) -> list[int]:
    """`num_frames` frames for each view, one after the other; in training there is one view."""
    first, length = 0, sample.num_frames
    if inputs.unit == "tracklet":
        assert isinstance(sample, TrackSample)
        first = int(sample.box_frames[0])
        length = int(sample.box_frames[-1]) + 1 - first
    rng = np.random.default_rng(sample.draw if training else zlib.crc32(sample.clip.encode()))
    views = 1 if training else inputs.views
    rule = SAMPLERS[inputs.sampling]
    return [
        first + frame
        for view in range(views)
        for frame in rule(length, inputs.num_frames, Draw(training, rng, view, views))
    ]


def _own_pictures(
    reader: FrameReader, inputs: Inputs, sample: Sample, frames: Sequence[int]
) -> np.ndarray:
    """The frames of one sample, uint8 (n, 3, H, W): its person cut out, or augmented."""
    if not inputs.crops:
        rng = np.random.default_rng([sample.draw, 1])  # not the one that draws frames
        return reader.augmented(sample.clip, frames, rng)
    assert isinstance(sample, TrackSample), "crops of clips are refused by Inputs"
    columns = [np.interp(frames, sample.box_frames, corner) for corner in sample.boxes_xyxy.T]
    boxes = np.stack(columns, axis=1)  # (n, 4)
    return np.concatenate(
        [reader.crops(sample.clip, f, b[None]) for f, b in zip(frames, boxes, strict=True)]
    )


def _whole_frames(reader: FrameReader, wanted: Sequence[tuple[str, int]]) -> Pictures:
    """The U frames, or their features where the reader has them."""
    if reader.stored.frames is not None:
        return Encoded(torch.from_numpy(reader.stored.frames.of(wanted)))
    return Pixels(torch.from_numpy(np.stack([reader.picture(*key) for key in wanted])))


def _boxes(reader: FrameReader, samples: Sequence[Sample]) -> dict[str, Any]:
    counts = torch.tensor([len(s.boxes_xyxy) for s in samples])
    placed = [reader.place(s.boxes_xyxy, s.size) for s in samples]
    return {
        "boxes": torch.from_numpy(np.concatenate([s.boxes_xyxy for s in samples])),
        "box_sample": torch.arange(len(samples)).repeat_interleave(counts),
        "picture_boxes": torch.from_numpy(np.concatenate(placed)),
    }
