"""Plain tensors, given by hand, as the batch that the loader would make.

Shapes are checked here, at run time: callers from outside have no type checker running.

Shape letters: see `stclip.methods`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stclip.errors import ConfigError
from stclip.inputs.batch import ClipBatch, Objects, PersonBatch, Pixels, no_objects
from stclip.methods.contract import Method


@dataclass(frozen=True, kw_only=True)
class PlainInputs:
    """The arguments of `stclip.methods.build.Built.forward`, which explains them."""

    frames: Tensor  # (S, T, 3, H, W)
    key: Tensor | None  # (S,)
    crops: Tensor | None  # (B, 3, H, W)
    boxes: Tensor | None  # (B, 4)
    box_sample: Tensor | None  # (B,)
    frame_mask: Tensor | None  # (S, T)
    object_crops: Tensor | None  # (O, 3, H, W)
    object_boxes: Tensor | None  # (O, 4)
    object_scores: Tensor | None  # (O,)
    object_sample: Tensor | None  # (O,)
    memory: Tensor | None  # (S, M, 3, H, W)
    memory_mask: Tensor | None  # (S, M)


def batch_of(method: Method, given: PlainInputs) -> PersonBatch | ClipBatch:
    """The batch of a method; what it does not look at is left out.

    Raises:
        ConfigError: something that the method needs is missing, or of another shape or range.
    """
    check = Checks(type(method).__name__, method.backbone.image_size)
    inputs, frames = method.inputs, given.frames
    check.pictures("frames", frames, axes=2)
    num_samples, num_frames = frames.shape[:2]
    rows = torch.arange(num_samples * num_frames, device=frames.device)
    rows = rows.view(num_samples, num_frames)
    boxes, box_sample = _boxes(method, given, check)
    shared = {"boxes": boxes, "picture_boxes": boxes, "box_sample": box_sample, "frames": rows}
    images = frames.flatten(0, 1)
    if inputs.unit != "person":
        return ClipBatch(pictures=Pixels(images), **shared)
    check.window(num_frames, inputs.before + 1 + inputs.after)
    frame_mask = torch.ones_like(rows, dtype=torch.bool)
    if given.frame_mask is not None:
        frame_mask = check.shape("frame_mask", given.frame_mask, tuple(rows.shape)).bool()
    memory, memory_mask = rows[:, :0], frame_mask[:, :0]
    if any(inputs.memory):
        memory, memory_mask = _memory(given, check, steps=sum(inputs.memory))
        memory = memory + rows.numel()
        assert given.memory is not None
        images = torch.cat([images, given.memory.flatten(0, 1)])
    crops = given.crops if inputs.crops and given.crops is not None else images[:0]
    return PersonBatch(
        pictures=Pixels(images), frame_mask=frame_mask, crops=Pixels(crops),
        key=rows.gather(1, _key(given, check)[:, None])[:, 0],
        objects=_objects(given, check) if inputs.objects else no_objects(Pixels(images)),
        memory=memory, memory_mask=memory_mask, **shared,
    )  # fmt: skip


@dataclass(frozen=True)
class Checks:
    """Says what is wrong with an argument, and what is expected in its place."""

    method: str
    size: tuple[int, int]  # of the backbone's pictures: H, W

    def needed(self, name: str, tensor: Tensor | None, *, meaning: str) -> Tensor:
        """The argument, which must be given."""
        if tensor is None:
            raise ConfigError(f"{self.method} needs {name}, which is not given: {meaning}.")
        return tensor

    def shape(self, name: str, tensor: Tensor, expected: tuple[int | None, ...]) -> Tensor:
        """The argument, of this shape; None: any number."""
        fits = tensor.ndim == len(expected) and all(
            wanted in (None, found) for found, wanted in zip(tensor.shape, expected, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in expected)
            raise ConfigError(
                f"{self.method}: {name} has shape {tuple(tensor.shape)}, expected ({wanted})."
            )
        return tensor

    def pictures(self, name: str, tensor: Tensor, *, axes: int = 1) -> Tensor:
        """Pictures that are preprocessed already, behind so many axes."""
        if not tensor.is_floating_point():
            raise ConfigError(
                f"{self.method}: {name} is {tensor.dtype}, expected floats: pictures at the "
                "backbone's size, scaled to 0..1, less the mean, over the standard deviation."
            )
        return self.shape(name, tensor, (*[None] * axes, 3, *self.size))

    def window(self, found: int, most: int) -> None:
        """A window of a key frame is as long as the method's, or shorter where the clip is."""
        if not 1 <= found <= most:
            raise ConfigError(
                f"{self.method}: frames has {found} frames of a sample, expected {most} (fewer "
                "where the clip is shorter); cut the window, or set before and after."
            )

    def index(self, name: str, index: Tensor, *, count: int) -> Tensor:
        """Whole numbers from 0, below `count`."""
        whole = not index.is_floating_point() and index.dtype != torch.bool
        if not whole or bool(((index < 0) | (index >= count)).any()):
            raise ConfigError(
                f"{self.method}: {name} is {index.tolist()}, expected whole numbers 0..{count - 1}."
            )
        return index.long()


def _key(given: PlainInputs, check: Checks) -> Tensor:
    """The place (S,) of each key frame in its window; of a single frame there is but one."""
    num_samples, num_frames = given.frames.shape[:2]
    if given.key is None and num_frames == 1:
        return torch.zeros(num_samples, dtype=torch.long, device=given.frames.device)
    key = check.needed("key", given.key, meaning="which frame of each window is the key frame")
    return check.index("key", check.shape("key", key, (num_samples,)), count=num_frames)


def _boxes(method: Method, given: PlainInputs, check: Checks) -> tuple[Tensor, Tensor]:
    """Boxes (B, 4), zeros where nobody looks at them, and the sample (B,) of each."""
    inputs, num_samples = method.inputs, len(given.frames)
    device = given.frames.device
    if not inputs.row_per_box:
        rows = torch.arange(num_samples, device=device)
        return given.frames.new_zeros(num_samples, 4), rows
    counts = {}
    if inputs.crops:
        crops = check.needed("crops", given.crops, meaning="the persons, cut out of the key frame")
        counts["crops"] = len(check.pictures("crops", crops))
    boxes = given.boxes
    if inputs.objects or not inputs.crops:
        check.needed("boxes", boxes, meaning="the persons' boxes, xyxy in pixels")
    if boxes is not None:
        counts["boxes"] = len(check.shape("boxes", boxes, (None, 4)))
    if given.box_sample is not None:
        counts["box_sample"] = len(check.shape("box_sample", given.box_sample, (None,)))
    if len(set(counts.values())) > 1:
        raise ConfigError(
            f"{check.method}: {counts} are the numbers of persons, expected one number for all."
        )
    num_persons = next(iter(counts.values()))
    sample = _sample("box_sample", given.box_sample, num_persons, num_samples, check).to(device)
    if bool((sample.diff() < 0).any()):
        raise ConfigError(
            f"{check.method}: box_sample is {sample.tolist()}, expected numbers that never "
            "decrease; sort the persons by sample."
        )
    return given.frames.new_zeros(num_persons, 4) if boxes is None else boxes, sample


def _sample(
    name: str, sample: Tensor | None, count: int, num_samples: int, check: Checks
) -> Tensor:
    """The sample of each of `count` things: as given, else the only one, else one thing each."""
    if sample is not None:
        return check.index(name, sample, count=num_samples)
    if num_samples == 1:
        return torch.zeros(count, dtype=torch.long)
    if count != num_samples:
        raise ConfigError(
            f"{check.method}: {count} persons or objects in {num_samples} samples, expected "
            f"{name}: the sample of each, whole numbers 0..{num_samples - 1}."
        )
    return torch.arange(count)


def _objects(given: PlainInputs, check: Checks) -> Objects:
    """The objects by sample, then by falling score; the order in which they are given is free."""
    crops = check.needed("object_crops", given.object_crops, meaning="objects, cut out; 0 may be")
    boxes = check.needed("object_boxes", given.object_boxes, meaning="xyxy in pixels of the frame")
    scores = check.needed("object_scores", given.object_scores, meaning="of the object detector")
    count = len(check.pictures("object_crops", crops))
    check.shape("object_boxes", boxes, (count, 4))
    check.shape("object_scores", scores, (count,))
    if given.object_sample is not None:
        check.shape("object_sample", given.object_sample, (count,))
    num_samples = len(given.frames)
    sample = _sample("object_sample", given.object_sample, count, num_samples, check)
    sample = sample.to(crops.device)
    order = scores.argsort(descending=True, stable=True)
    order = order[sample[order].argsort(stable=True)]
    return Objects(
        pictures=Pixels(crops[order]), boxes=boxes[order], scores=scores[order],
        sample=sample[order],
    )  # fmt: skip


def _memory(given: PlainInputs, check: Checks, *, steps: int) -> tuple[Tensor, Tensor]:
    """Rows (S, M) of the memory's own pictures, and their mask (S, M)."""
    memory = check.needed(
        "memory", given.memory,
        meaning=f"the {steps} frames around each key frame, from before to after, without it",
    )  # fmt: skip
    num_samples = len(given.frames)
    check.pictures("memory", memory, axes=2)
    check.shape("memory", memory, (num_samples, steps, *memory.shape[2:]))
    rows = torch.arange(num_samples * steps, device=memory.device).view(num_samples, steps)
    if given.memory_mask is None:
        return rows, torch.ones_like(rows, dtype=torch.bool)
    return rows, check.shape("memory_mask", given.memory_mask, (num_samples, steps)).bool()
