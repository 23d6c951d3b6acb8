"""The processes of one training: one, or several that torchrun started, each with its own GPU.

Every process plans the same batches and computes its share of each; accelerate averages their
gradients. What differs between one process and many stands here, not in the training loop.
"""

import logging
import os
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import gather_object
from torch import Tensor

from stclip.errors import ConfigError
from stclip.runtime.device import random_state, set_random_state
from stclip.runtime.parent import end_with_parent

logger = logging.getLogger(__name__)
T = TypeVar("T")


def start_processes() -> Accelerator:
    """Meet the other processes, if there are any, and take this one's GPU.

    Raises:
        ConfigError: the machine has fewer GPUs than processes.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun puts its processes out of reach of whoever kills it; they must not go on alone.
        end_with_parent()
    local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if torch.cuda.is_available() and local >= gpus:
        raise ConfigError(
            f"process {local} has no GPU, this machine shows {gpus}; start at most as many "
            "processes (torchrun --nproc-per-node, or resources: train: gpu of the scale)."
        )
    # A method may leave a parameter out of some batch; torch warns where none does. With this DDP
    # also keeps its first grouping of the gradients, so that a resumed training sums them alike.
    ddp = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="no", kwargs_handlers=[ddp]
    )


def shares(batches: Sequence[Sequence[T]], accelerator: Accelerator) -> list[Sequence[T]]:
    """What this process computes of every batch; sizes differ by one sample at most.

    Raises:
        ConfigError: a batch has fewer samples than there are processes.
    """
    index, count = accelerator.process_index, accelerator.num_processes
    smallest = min(map(len, batches), default=count)
    if smallest < count:
        raise ConfigError(
            f"{count} processes cannot share batches of {smallest} samples; start at most "
            f"{smallest} (torchrun --nproc-per-node, or resources: train: gpu of the scale) or "
            "raise train.batch_frames."
        )
    return [batch[index::count] for batch in batches]


def all_rows(own: Tensor, accelerator: Accelerator, *, total: int) -> Tensor:
    """The rows of a whole batch from every process's share (`shares`), in the batch's order.

    Those of the others carry no gradient: each process's gradient is of its own rows.
    """
    if accelerator.num_processes == 1:
        return own
    index, count = accelerator.process_index, accelerator.num_processes
    rows = own.new_zeros(total, *own.shape[1:])
    rows[index::count] = own.detach()
    rows = accelerator.reduce(rows, "sum").clone()
    rows[index::count] = own
    return rows


def random_states(accelerator: Accelerator) -> list[dict[str, Any]]:
    """The random state of every process, in their order; all must ask together."""
    states: list[dict[str, Any]] = gather_object([random_state()])
    return states


def restore_random_states(
    states: Sequence[dict[str, Any]], accelerator: Accelerator, *, seed: int, step: int
) -> None:
    """Give this process its own of `states`, or one that follows from seed, process and step."""
    index, count = accelerator.process_index, accelerator.num_processes
    if step and len(states) != count:
        logger.info(
            "train: resumed by %d processes, saved by %d; random states that do not exist are "
            "seeded anew",
            count, len(states),
        )  # fmt: skip
    if index < len(states):
        set_random_state(states[index])
    else:
        torch.manual_seed(int(np.random.default_rng([seed, index, step]).integers(2**63)))
