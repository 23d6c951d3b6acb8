"""What trainings share: the optimiser, and checkpoints that only the same training resumes from."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stclip.config import FinetuneConfig, TrainConfig
from stclip.runtime.device import best_device
from stclip.storage.files import whole_file
from stclip.storage.seal import BLANK, check_seal, sealed

logger = logging.getLogger(__name__)


def make_optimizer(
    parameters: Sequence[Tensor] | Sequence[dict[str, Any]], config: TrainConfig | FinetuneConfig
) -> torch.optim.Optimizer:
    """The optimiser that the settings name; its learning rate is set anew at every step."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)


def write_checkpoint(path: Path, content: dict[str, Any], *, begun: str) -> None:
    """Write tensors and plain values, whole or not at all.

    `begun`: the identity of the training, all that its weights come from.
    """
    buffer = io.BytesIO()  # torch's own writer hides why a write failed
    torch.save({**content, "begun": begun}, buffer)
    buffer.write(BLANK.encode())  # behind its end, where nobody looks
    with whole_file(path) as temporary:
        temporary.write_bytes(sealed(buffer.getvalue()))


def read_checkpoint(path: Path, *, begun: str) -> dict[str, Any] | None:
    """A checkpoint of that identity; None if there is none, or only one of another.

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return None
    data = path.read_bytes()
    check_seal(data, path)
    content = torch.load(io.BytesIO(data), map_location=best_device(), weights_only=True)
    if content.get("begun") != begun:
        logger.info("%s is of other settings, code or content of what is read; starting anew", path)
        return None
    return content
