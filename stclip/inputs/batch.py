"""What the loader decodes for a method, and what it hands over.

Legend: S samples (key frames, clips or tracklets), U distinct pictures, T frames of a sample, M of
its memory, V views of it, B person boxes, O objects, e width of the joint embedding, H W picture
size of the backbone.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, UInt8
from torch import Tensor

from stclip.errors import ConfigError
from stclip.inputs.sampling import SAMPLERS

MemoryPool = Literal["full", "visited"]  # frames of a memory: all, or those seen as samples before


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the loader decodes for a method.

    `unit` "person": a sample is a key frame with its persons, one row of logits per box; its frames
    are the window key-before .. key+after, shifted to stay inside the clip. `unit` "clip": a sample
    is a whole clip, one row of logits for everyone in it, or with `boxes` one for each of its
    boxes; its frames: `num_frames`, by the rule `sampling`, and when scored so many for each of
    `views`. `unit` "tracklet": the same for a person's track, from its first to its last frame;
    with `crops` its pictures are the person, cut out of each frame (between boxes the box is
    interpolated), else the whole frames.
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
        if self.num_frames < 1 or self.views < 1 or min(self.memory) < 0:
            raise ConfigError(
                f"inputs: num_frames is {self.num_frames}, views is {self.views}, memory is "
                f"{self.memory}; at least 1, 1 and (0, 0) are needed."
            )
        if self.sampling not in SAMPLERS:
            raise ConfigError(
                f"inputs: sampling is {self.sampling!r}; known rules are {sorted(SAMPLERS)}."
            )

    @property
    def row_per_box(self) -> bool:
        """Whether logits have a row per box, not per sample."""
        return self.unit == "person" or self.boxes


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
    size: tuple[int, int] = (0, 0)  # height and width of the clip's frames in pixels
    source: str = ""  # of the boxes: a key of `StoredFeatures.boxes`
    stored: np.ndarray | None = None  # (n,) where the boxes stand in that source's own table
    objects: "SampleObjects | None" = None
    pool: frozenset[int] | None = None  # frames that its memory may hold; None: all of the clip


@dataclass(frozen=True)
class SampleObjects:
    """The objects of a key frame, by falling score."""

    boxes_xyxy: np.ndarray  # (o, 4) float32, pixels
    scores: np.ndarray  # (o,) float32
    stored: np.ndarray  # (o,) where they stand in the table of objects


class Tensors:
    """A dataclass of tensors that travel together."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same in page-locked memory, from where copies to a GPU wait for nobody."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed: dict[str, Any] = {}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if value is not None:
                changed[f.name] = (
                    value._each(change) if isinstance(value, Tensors) else change(value)
                )
        return replace(self, **changed)  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True)
class Objects(Tensors):
    """The O objects of the key frames of a batch: pictures, or stored features of them."""

    images: UInt8[Tensor, "O 3 H W"] | Float[Tensor, "O 3 H W"] | None
    features: Float[Tensor, "O e"] | None
    boxes: Float[Tensor, "O 4"]  # xyxy in pixels of the original frame
    scores: Float[Tensor, " O"]  # of the detector; falling within a sample
    sample: Integer[Tensor, " O"]  # never decreasing


@dataclass(frozen=True, kw_only=True)
class Batch(Tensors):
    """Decoded samples; pictures are at the backbone's size and appear once each.

    Pictures are uint8, or floats that are preprocessed already. A method that takes features may
    get those of the pictures in place of the pictures themselves.
    """

    images: UInt8[Tensor, "U 3 H W"] | Float[Tensor, "U 3 H W"] | None
    frames: Integer[Tensor, "S T"]  # rows of `images`; views one after the other (T: V * frames)
    frame_mask: Bool[Tensor, "S T"]  # False where a frame of a window only fills up
    key: Integer[Tensor, " S"] | None  # row of each sample's key frame; unit person alone
    # one per box, only if the method asks for them
    crops: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"] | None
    boxes: Float[Tensor, "B 4"]  # xyxy in pixels of the original frame
    box_sample: Integer[Tensor, " B"]  # sample of each box, never decreasing
    features: Float[Tensor, "U e"] | None = None  # of the frozen backbone, not normalised
    crop_features: Float[Tensor, "B e"] | None = None  # the same of the crops
    objects: Objects | None = None
    memory: Integer[Tensor, "S M"] | None = None  # rows of `images`, from before to after
    memory_mask: Bool[Tensor, "S M"] | None = None  # False: no such frame, or not in the pool
    # the boxes where the pictures show them, in their pixels, outside where cut off; None: as boxes
    picture_boxes: Float[Tensor, "B 4"] | None = None
