"""bf16 for the two heavy parts of a Faster R-CNN, backbone and box head.

Autocast around the whole model would also round box corners to 8 bits: by up to a pixel at x = 300.
"""

from typing import Any

import torch
from torch import nn

from stclip.errors import ConfigError

HEAVY_PARTS = ("backbone", "roi_heads.box_head")  # torchvision and detectron2 name them alike


def compute_in_bf16(model: nn.Module) -> None:
    """Let the heavy parts compute in bf16 and hand on fp32; weights stay as they are.

    Raises:
        ConfigError: the model has no such parts.
    """
    for name in HEAVY_PARTS:
        try:
            part = model.get_submodule(name)
        except AttributeError:
            raise ConfigError(
                f"precision bf16 needs a model with the parts {HEAVY_PARTS}; "
                f"{type(model).__name__} has no {name!r}. Set precision: fp32."
            ) from None
        part.forward = _in_bf16(part.forward)


def _in_bf16(forward: Any) -> Any:
    def wrapped(inputs: torch.Tensor) -> Any:
        with torch.autocast(inputs.device.type, torch.bfloat16):
            outputs = forward(inputs)
        if isinstance(outputs, dict):  # a feature pyramid
            return type(outputs)((name, value.float()) for name, value in outputs.items())
        return outputs.float()

    return wrapped
