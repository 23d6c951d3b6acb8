"""The contract of a method: what it sees, and logits from it.

Legend: S samples (key frames or clips), U distinct pictures, T frames of a sample, B person boxes,
K labels, e width of the joint embedding, H W picture size of the backbone.

A method is one module and one YAML. It owns a frozen `Config`, says by `inputs` what the loader
must decode, and turns a `Batch` and label features into logits. Training, scoring, evaluation and
tables are the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Integer, UInt8
from torch import Tensor, nn

from stclip.config import MethodConfig
from stclip.errors import ConfigError
from stclip.model.backbone import Backbone, load_backbone
from stclip.targets import resolve_target


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the loader decodes for a method.

    `unit` "person": a sample is a key frame with its persons, one row of logits per box; its frames
    are the window key-before .. key+after, shifted to stay inside the clip. `unit` "clip": a sample
    is a whole clip, one row of logits for everyone in it; its frames: `num_frames`, spread evenly.
    """

    unit: Literal["person", "clip"]
    before: int = 0
    after: int = 0
    num_frames: int = 1
    crops: bool = False
    crop_mode: Literal["center", "squash", "pad", "context"] = "center"
    crop_scale: float = 1.0  # box sides are multiplied by this before cutting

    def __post_init__(self) -> None:
        """A whole clip has no one frame to cut persons from."""
        if self.unit == "clip" and self.crops:
            raise ConfigError("inputs: crops need unit person; a clip has many boxes per person.")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Decoded samples; pictures are uint8 at the backbone's size and appear once each."""

    images: UInt8[Tensor, "U 3 H W"]
    frames: Integer[Tensor, "S T"]  # rows of `images`; a short clip repeats its last frame
    frame_mask: Bool[Tensor, "S T"]  # False where a frame is such a repetition
    key: Integer[Tensor, " S"]  # row of `images` of each sample's key frame (clip: its middle one)
    crops: UInt8[Tensor, "B 3 H W"] | None  # one per box, only if the method asks for them
    boxes: Float[Tensor, "B 4"]  # xyxy in pixels of the original frame
    box_sample: Integer[Tensor, " B"]  # sample of each box, never decreasing

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        moved = {
            f.name: value.to(device, non_blocking=True)
            for f in fields(self)
            if (value := getattr(self, f.name)) is not None
        }
        return replace(self, **moved)


class Method(nn.Module, ABC):
    """Base of all methods."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Hyper-parameters of the method; defaults live here alone."""

    inputs: Inputs

    def __init__(self, backbone: Backbone, config: Any) -> None:
        """Keep the frozen backbone and the method's own `Config`."""
        super().__init__()
        self.backbone = backbone
        self.config = config

    def encode_labels(self, labels: Sequence[str]) -> Float[Tensor, "K e"]:
        """Features of the label texts, computed once per label list; frozen by default."""
        return self.backbone.encode_text(labels)

    @abstractmethod
    def forward(self, batch: Batch, text: Float[Tensor, "K e"]) -> Float[Tensor, "rows K"]:
        """Logits, a row per box (unit person) or per sample (unit clip)."""

    def prepare_scoring(self) -> None:
        """Fold what only training needs apart, once the weights are loaded; changes no score."""

    def trained_state(self) -> dict[str, Tensor]:
        """What training changes: the tensors a checkpoint holds."""
        return {
            name: p.detach().cpu().contiguous()
            for name, p in self.named_parameters()
            if p.requires_grad
        }

    def load_trained_state(self, state: dict[str, Tensor], *, where: str) -> None:
        """Load what `trained_state` gave.

        Raises:
            ConfigError: keys or shapes are of another method or configuration.
        """
        ours = {name: p for name, p in self.named_parameters() if p.requires_grad}
        missing, unknown = sorted(ours.keys() - state.keys()), sorted(state.keys() - ours.keys())
        shapes = [k for k in ours.keys() & state.keys() if ours[k].shape != state[k].shape]
        if missing or unknown or shapes:
            raise ConfigError(
                f"{where}: weights do not fit {type(self).__name__}: missing {missing[:5]}, "
                f"unknown {unknown[:5]}, other shapes {sorted(shapes)[:5]}; train anew or name the "
                "configuration that made them."
            )
        with torch.no_grad():
            for name, parameter in ours.items():
                parameter.copy_(state[name])


def make_config(target: type[Any], params: dict[str, Any], *, where: str) -> Any:
    """The own Config of a method or detector from YAML `params`.

    Raises:
        ConfigError: unknown, missing or refused params.
    """
    known = {f.name for f in fields(target.Config)}
    unknown = set(params) - known
    if unknown:
        raise ConfigError(
            f"{where}: unknown params {sorted(unknown)} for {target.__name__}; "
            f"it takes {sorted(known)}."
        )
    try:
        return target.Config(**params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: params of {target.__name__}: {error}") from None


def load_method(config: MethodConfig) -> Method:
    """Build a method from its resolved configuration; seed torch first, new weights are random."""
    target: type[Method] = resolve_target(config.target)
    own = make_config(target, config.params, where=f"method {config.name}")
    return target(load_backbone(config.backbone), own)
