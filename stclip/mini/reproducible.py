"""Training that gives the same weights each time on one kind of processor."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from stclip.errors import TrainingError
from stclip.storage.files import digest
from stclip.storage.tensors import write_tensors

logger = logging.getLogger(__name__)


@contextmanager
def one_thread(seed: int) -> Iterator[None]:
    """Seed torch and compute in one thread: sums of several threads differ from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def finite(loss: Tensor, what: str, step: int) -> float:
    """The value of a loss.

    Raises:
        TrainingError: it is not finite.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise TrainingError(f"{what}: the loss is {value} at step {step}; lower the learning rate.")
    return value


def write_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write a sealed .safetensors file, whole or not at all, and log what it is."""
    write_tensors(path, {name: tensor.contiguous() for name, tensor in weights.items()})
    megabytes = path.stat().st_size / 1e6
    logger.info("%s: %d tensors, %.2f MB, sha256 %s", path, len(weights), megabytes, digest(path))
