"""Training that gives the same weights each time on one kind of processor."""

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from stclip.errors import TrainingError
from stclip.storage.files import whole_file
from stclip.storage.seal import sealed_tensors

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
    content = sealed_tensors(save({n: tensor.contiguous() for n, tensor in weights.items()}))
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    megabytes = len(content) / 1e6
    logger.info("%s: %d tensors, %.2f MB, sha256 %s", path, len(weights), megabytes, digest)
