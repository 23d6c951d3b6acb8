"""In which precision a stage computes: the one place that decides, for all stages.

Settings ask for `fp32`, `bf16` or `auto`. A GPU computes in bf16 where its hardware has it; a CPU
trains in fp32 always, and scores or detects in bf16 only where a trial says that it pays.
"""

import logging
from collections.abc import Mapping
from typing import Literal

import torch

from stclip.config import Precision
from stclip.runtime.device import best_device, device_name
from stclip.runtime.speed_trial import Work, bf16_gain

logger = logging.getLogger(__name__)

Used = Literal["fp32", "bf16"]
WORTH_IT = 1.3  # times as fast as fp32: below, rounding is not worth it


def training_precision(asked: Precision, device: torch.device) -> Used:
    """What a training computes in; explicit bf16 is obeyed on a CPU too, with a warning."""
    if asked == "auto":
        return "bf16" if device.type == "cuda" and gpu_has_bf16(device) else "fp32"
    if asked == "bf16" and device.type == "cpu":
        logger.warning(
            "train.precision is bf16, and this is a CPU: training in bf16 is slower there than in "
            "fp32, on processors that have it too (docs/speed.md). It is done as asked; set "
            "train.precision to auto or fp32 to train faster."
        )
    return asked


def scoring_precision(
    asked: Precision, *, device: torch.device | None = None, work: Work = "transformer"
) -> Used:
    """What is computed in without gradients; `device` None: the best one."""
    if asked != "auto":
        return asked
    device = device or best_device()
    if device.type == "cuda":
        return "bf16" if gpu_has_bf16(device) else "fp32"
    if device.type != "cpu":
        return "fp32"
    gain = bf16_gain(work, torch.get_num_threads())
    used: Used = "bf16" if gain >= WORTH_IT else "fp32"
    logger.debug("precision auto: bf16 is %.2f times as fast as fp32 here, so %s", gain, used)
    return used


def planned_precision(asked: Precision) -> Used:
    """What a job will compute in on GPUs of the kind that plans assume, which have bf16."""
    return "bf16" if asked == "auto" else asked


def gpu_has_bf16(device: torch.device | int) -> bool:
    """Whether the GPU's own arithmetic has bf16."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def autocast(precision: Used, device: torch.device) -> torch.autocast:
    """Within it the heavy parts are computed so; weights stay as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def computed_in(precision: Used, device: torch.device) -> dict[str, str]:
    """What a result's record says of it."""
    return {"precision": precision, "device": device_name(device)}


def recorded(metadata: Mapping[str, str]) -> dict[str, str]:
    """The same from a file's metadata; empty in files that say nothing."""
    return {key: metadata[key] for key in ("precision", "device") if key in metadata}
