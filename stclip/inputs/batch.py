"""What a method asks the loader for, the samples that are to be read, and the batches it gets.

Shape letters: see `stclip.methods`. Lower case letters count the rows of one sample.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, UInt8
from torch import Tensor

from stclip.config import MemoryEvery, MemoryPool
from stclip.errors import ConfigError
from stclip.inputs.sampling import SAMPLERS

EVERY_FRAME = range(2**62)  # of a clip, however long


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the loader decodes for a method.

    `unit` "person" (`PersonBatch`): a sample is a key frame with its persons. There is one row of
    logits per box. Its frames are the window key-before .. key+after, shifted to stay inside the
    clip.

    `unit` "clip" (`ClipBatch`): a sample is a whole clip. There is one row of logits for everyone
    in it, or with `boxes` one for each of its boxes. Its frames are `num_frames`, chosen by the
    rule `sampling`; in scoring, `num_frames` for each of `views`.

    `unit` "tracklet" (`ClipBatch`): a sample is one person's track, from its first to its last
    frame, with frames chosen as for a clip. With `crops` its pictures are the person, cut out of
    each frame (the box is interpolated between annotated or detected boxes). Otherwise they are
    the whole frames.
    """

    unit: Literal["person", "clip", "tracklet"]
    before: int = 0
    after: int = 0
    num_frames: int = 1
    sampling: str = "spread"  # of stclip.inputs.sampling
    views: int = 1
    boxes: bool = False  # unit clip: rows are boxes, not clips
    crops: bool = False  # the persons, cut out of the key frame
    objects: bool = False  # objects cut out of the key frame; unit person
    memory: tuple[int, int] = (0, 0)  # frames before and after the key frame; unit person
    memory_every: MemoryEvery = "frame"  # what `memory` counts: frames, or one frame a second
    memory_pool: MemoryPool = "full"

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.unit == "clip" and self.crops:
            raise ConfigError(
                "inputs: crops need unit person or tracklet; a clip has many boxes per person."
            )
        if self.unit != "person" and (self.objects or any(self.memory)):
            raise ConfigError("inputs: objects and memory are those of a key frame, unit person.")
        if self.unit != "clip" and self.boxes:
            raise ConfigError("inputs: boxes says what the rows of a clip are; it needs unit clip.")
        if min(self.num_frames, self.views) < 1 or min(self.before, self.after, *self.memory) < 0:
            raise ConfigError(
                f"inputs: num_frames is {self.num_frames}, views is {self.views}, before is "
                f"{self.before}, after is {self.after}, memory is {self.memory}; at least 1, 1, 0, "
                "0 and (0, 0) are needed."
            )
        if self.sampling not in SAMPLERS:
            raise ConfigError(
                f"inputs: sampling is {self.sampling!r}; known rules are {sorted(SAMPLERS)}."
            )

    @property
    def row_per_box(self) -> bool:
        """Whether logits have a row per box, not per sample."""
        return self.unit == "person" or self.boxes


@dataclass(frozen=True, slots=True)
class Sample:
    """A whole clip with its boxes (unit "clip"), and what the samples of all units share."""

    clip: str
    num_frames: int  # length of the clip
    boxes_xyxy: np.ndarray  # (b, 4) float32, pixels
    rows: np.ndarray  # (b,) where the boxes stand in the caller's table
    draw: int = 0  # a random number of its own, which decides all chance in training
    size: tuple[int, int] = (0, 0)  # height and width of the clip's frames in pixels; 0: unknown
    source: str = ""  # of the boxes: a key of `StoredFeatures.boxes`
    # (b,) where the boxes stand in that source's own table; empty where no features are stored
    stored: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def sort_key(self) -> tuple[str, int]:
        """Clip and frame: samples that share pictures lie side by side."""
        return self.clip, 0


@dataclass(frozen=True, slots=True)
class SampleObjects:
    """The objects of a key frame, by falling score."""

    boxes_xyxy: np.ndarray  # (o, 4) float32, pixels
    scores: np.ndarray  # (o,) float32
    stored: np.ndarray  # (o,) where they stand in the table of objects


NO_OBJECTS = SampleObjects(
    np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonSample(Sample):
    """A key frame with its persons (unit "person")."""

    key_frame: int
    objects: SampleObjects = NO_OBJECTS
    pool: Container[int] = EVERY_FRAME  # frames of the clip that its memory may hold
    memory_step: int = 1  # frames of the clip from one step of the memory to the next

    @property
    def sort_key(self) -> tuple[str, int]:
        """Clip and key frame."""
        return self.clip, self.key_frame


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackSample(Sample):
    """A person's track (unit "tracklet")."""

    box_frames: np.ndarray  # (b,) rising, the frame of each box


class Tensors:
    """A dataclass of tensors that travel together."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same in page-locked memory, which a GPU can read asynchronously."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed: dict[str, Any] = {}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            changed[f.name] = value._each(change) if isinstance(value, Tensors) else change(value)
        return replace(self, **changed)  # type: ignore[type-var]


class Rows(Tensors):
    """Tensors with one row per thing."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return getattr(self, fields(self)[0].name).device  # type: ignore[arg-type]

    def take(self, rows: Tensor) -> Self:
        """Some of the rows, by their numbers."""
        return self._each(lambda tensor: tensor[rows])


@dataclass(frozen=True)
class Pixels(Rows):
    """Pictures at the backbone's size: uint8, or floats that are normalised already."""

    images: UInt8[Tensor, "n 3 H W"] | Float[Tensor, "n 3 H W"]


@dataclass(frozen=True)
class Encoded(Rows):
    """Stored features of pictures, which a method with `takes_features` gets in their place."""

    features: Float[Tensor, "n e"]  # of the frozen backbone, not normalised


Pictures = Pixels | Encoded


def pixels_of(pictures: Pictures) -> UInt8[Tensor, "n 3 H W"] | Float[Tensor, "n 3 H W"]:
    """The images, for a method that needs them.

    Raises:
        ConfigError: stored features are given.
    """
    if isinstance(pictures, Encoded):
        raise ConfigError("the method reads pictures, stored features are given; set features: [].")
    return pictures.images


@dataclass(frozen=True, kw_only=True)
class Objects(Rows):
    """The O objects of the key frames of a batch."""

    pictures: Pictures  # cut out of the key frame
    boxes: Float[Tensor, "O 4"]  # xyxy in pixels of the original frame
    scores: Float[Tensor, " O"]  # of the detector; falling within a sample
    sample: Integer[Tensor, " O"]  # never decreasing


@dataclass(frozen=True, kw_only=True)
class Batch(Tensors):
    """What the batches of all units share: decoded samples, each picture once."""

    pictures: Pictures  # U distinct whole frames; for a track with `crops`, the person in them
    frames: Integer[Tensor, "S T"]  # rows of `pictures`; of a clip: V views, one after the other
    boxes: Float[Tensor, "B 4"]  # xyxy in pixels of the original frame
    # The boxes in pixels of the picture that the method sees. Outside it where they are cut off.
    picture_boxes: Float[Tensor, "B 4"]
    box_sample: Integer[Tensor, " B"]  # sample of each box, never decreasing


@dataclass(frozen=True, kw_only=True)
class PersonBatch(Batch):
    """Key frames with their persons (unit "person"). What `Inputs` does not ask for is empty."""

    frame_mask: Bool[Tensor, "S T"]  # False: padding, where a clip is shorter than the window
    key: Integer[Tensor, " S"]  # row of each sample's key frame in `pictures`
    crops: Pictures  # the persons, cut out of the key frame: B, or 0 without `crops`
    objects: Objects  # O, or 0 without `objects`
    memory: Integer[Tensor, "S M"]  # rows of `pictures`, from before to after; M: 0 without memory
    memory_mask: Bool[Tensor, "S M"]  # False: no such frame, or not in the pool


@dataclass(frozen=True, kw_only=True)
class ClipBatch(Batch):
    """Whole clips, or persons' tracks (units "clip" and "tracklet")."""


def no_objects(pictures: Pictures) -> Objects:
    """Zero objects; kind and device of their pictures are those of `pictures`."""
    boxes = torch.zeros(0, 4)
    none = torch.zeros(0, dtype=torch.long)
    found = Objects(pictures=pictures.take(none), boxes=boxes, scores=boxes[:, 0], sample=none)
    return found.to(pictures.device)
