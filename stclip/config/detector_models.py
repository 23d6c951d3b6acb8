"""The settings of detectors, sources of boxes of persons or of everything else, as records."""

from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from stclip.config.fields import LocalPath, OfTarget, Precision
from stclip.config.strict import Strict
from stclip.config.target import resolved_params


class FinetuneConfig(Strict):
    """Fine-tuning of a detector on the persons of a split's training clips."""

    epochs: int = Field(ge=1)
    """passes over the training frames of a split"""
    frame_stride: int = Field(default=1, ge=1)
    """every n-th frame of a training clip"""
    batch_frames: int = Field(default=8, ge=1)
    """frames per step"""
    lr: float = Field(gt=0)
    """learning rate"""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """the optimiser"""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """of `sgd`"""
    weight_decay: float = Field(default=1e-4, ge=0)
    """the same for every trained tensor"""
    warmup_steps: int = Field(default=0, ge=0)
    """linear from 0, then a half cosine to 0"""
    frozen: list[str] = Field(default=[])
    """parts of the model that keep their weights, as `backbone.body.conv1`"""
    flip: bool = True
    """mirror every second picture, by chance"""
    seed: int = Field(default=0, ge=0)
    """of that chance and of the order"""


class DetectorConfig(OfTarget):
    """A source of boxes: of persons, or of everything else."""

    target: str
    """`module:Class`, a `stclip.detect.backends.backend.Backend`"""
    params: dict[str, Any] = Field(default={}, validate_default=True)
    """the class's own `Config`, below"""
    weights: str | None = None
    """path of the weights; fine-tuning begins there"""
    files: dict[str, LocalPath] = Field(default={})
    """whatever else it reads: name -> path, `~` and `$NAME` allowed (file:
    `detections`, `images`)"""
    batch_frames: int = Field(default=8, ge=1)
    """frames per batch"""
    score_threshold: float = Field(default=0.05, ge=0, le=1)
    """boxes below are not stored"""
    precision: Precision = "fp32"
    """full, or half in the heavy parts; `auto` as `score.precision` of a method"""
    finetune: FinetuneConfig | None = None
    """fine-tuning to the persons of a split's training clips, if there is any"""
    datasets: list[str] = Field(default=[])
    """data sets it has boxes for; none named: all"""
    by_hand: str | None = None
    """what a person must do first; such a detector is left out of `detectors: all`"""

    @field_validator("params")
    @classmethod
    def _own_params(cls, params: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return resolved_params(info.data["target"], params) if "target" in info.data else params

    @property
    def finds_objects(self) -> bool:
        """Whether it is asked for everything but persons; every backend calls the param so."""
        return bool(self.params.get("objects", False))

    @property
    def paths(self) -> list[str]:
        """Its weights and whatever else it reads, whoever makes them."""
        return [*([self.weights] if self.weights else []), *self.files.values()]

    @model_validator(mode="after")
    def _finetuned_to_persons(self) -> Self:
        if self.finds_objects and self.finetune:
            raise ValueError("fine-tuning is to persons: drop `finetune` or `params.objects`")
        return self
