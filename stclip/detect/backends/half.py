"""bf16 for the two heavy parts of a Faster R-CNN, backbone and box head.

Autocast around the whole model would also round box corners to 8 bits: by up to a pixel at x = 300.
"""

from typing import Any

import torch
from torch import nn

from stclip.config import DetectorConfig
from stclip.errors import ConfigError
from stclip.runtime.precision import computed_in, scoring_precision

HEAVY_PARTS = ("backbone", "roi_heads.box_head")  # torchvision and detectron2 name them alike


def set_precision(
    model: nn.Module, settings: DetectorConfig, device: torch.device
) -> dict[str, str]:
    """Let the heavy parts compute as the settings ask; what is used, and where, as it is recorded.

    Raises:
        ConfigError: bf16 is asked for, and the model has no such parts.
    """
    precision = scoring_precision(settings.precision, device=device, work="convolution")
    if precision == "bf16":
        try:
            compute_in_bf16(model)
        except ConfigError:
            if settings.precision == "bf16":
                raise
            precision = "fp32"
    return computed_in(precision, device)


def compute_in_bf16(model: nn.Module) -> None:
    """Let the heavy parts compute in bf16 and hand on fp32; weights stay as they are.

    Raises:
        ConfigError: the model has no such parts.
    """
    parts = []
    for name in HEAVY_PARTS:
        try:
            parts.append(model.get_submodule(name))
        except AttributeError:
            raise ConfigError(
                f"precision bf16 needs a model with the parts {HEAVY_PARTS}; "
                f"{type(model).__name__} has no {name!r}. Set precision: fp32."
            ) from None
    for part in parts:
        part.forward = _in_bf16(part.forward)


def _in_bf16(forward: Any) -> Any:
    def wrapped(inputs: torch.Tensor) -> Any:
        with torch.autocast(inputs.device.type, torch.bfloat16):
            outputs = forward(inputs)
        if isinstance(outputs, dict):  # a feature pyramid
            return type(outputs)((name, value.float()) for name, value in outputs.items())
        return outputs.float()

    return wrapped
