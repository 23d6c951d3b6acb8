"""The own settings of torchvision's detectors. Light: no torch here."""

from typing import Any

from pydantic import Field

from stclip.config import Params


class TorchvisionDetectorConfig(Params):
    """Which model."""

    builder: str = Field(pattern=r"^[\w.]+:\w+$")
    """`module:function` that builds the model, without its weights"""
    arguments: dict[str, Any] = Field(default={})
    """its keyword arguments"""
    person: int = Field(default=1, ge=1)
    """label of persons; 1 is COCO's, and that of a detector of persons alone (0 is nothing)"""
    objects: bool = False
    """boxes of every label but that of persons"""
