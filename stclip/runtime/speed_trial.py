"""How many times as fast this processor computes in bf16 as in fp32, measured once per machine.

The name of a processor does not say it: virtual machines call processors with and without bf16
instructions alike. So a short trial of the products, and of a block's worth of the shapes, that a
model spends its time in; its result stays on the disk, as the same machine must always answer the
same: a result near the threshold would else move numbers from run to run.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from stclip.config.hashes import config_hash
from stclip.errors import DataError
from stclip.runtime.device import processor
from stclip.runtime.system_folders import cache_folder
from stclip.storage.files import read_json, write_json
from stclip.storage.seal import SEAL

logger = logging.getLogger(__name__)

Work = Literal["transformer", "convolution"]
ROUNDS, LIMIT_S = 5, 0.6  # of the trial; the limit is looked at after every round
HOPELESS = 0.5  # of a small product, where rounding the weights counts: no block is tried


@lru_cache
def bf16_gain(work: Work, threads: int) -> float:
    """Seconds in fp32 over seconds in bf16, on this machine's CPU with so many threads.

    Args:
        work: what is computed, a transformer's blocks or convolutions.
        threads: as many as torch uses now.
    """
    machine = processor() | {"torch": torch.__version__, "threads": threads}
    path = cache_folder() / "stclip" / f"speed-{config_hash(machine)}.json"
    with _alone(path.parent):  # whoever comes second reads what the first has measured
        known = _known(path, machine)
        if work not in known:
            known[work] = measure_gain(work)
            logger.info("measured: bf16 is %.2g times as fast as fp32 on this CPU", known[work])
            try:
                write_json(path, {"machine": machine, "bf16_gain": known, **SEAL})
            except (OSError, DataError) as error:  # then every process measures
                logger.info("%s cannot be written (%s); the next process measures", path, error)
    return known[work]


def _known(path: Path, machine: Mapping[str, Any]) -> dict[str, float]:
    """What was measured on this machine; nothing if the file is damaged."""
    try:
        content = read_json(path)
        found = {str(work): float(gain) for work, gain in content["bf16_gain"].items()}
        return found if content["machine"] == machine and min(found.values()) >= 0 else {}
    except DataError as error:
        if path.exists():
            logger.warning("%s Measured anew.", error)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        logger.warning("%s: not what was measured here (%r). Measured anew.", path, error)
    return {}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process of the machine at a time, as far as the file system has locks."""
    descriptor = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        logger.info("%s: cannot be locked (%s)", folder, error)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def measure_gain(work: Work) -> float:
    """Measure it now: at most about 2 s, as a processor without bf16 is told by a small product."""
    numbers = torch.Generator().manual_seed(0)  # those of a run stay as they are
    with torch.inference_mode():
        try:
            first = _gain(_product(numbers), rounds=2)
            if first < HOPELESS:
                return first
            made = _block(numbers) if work == "transformer" else _convolutions(numbers)
            return _gain(made, rounds=ROUNDS)
        except RuntimeError as error:  # torch has no such product for this processor
            logger.info("bf16 cannot be computed on this CPU (%s)", error)
            return 0.0


def _gain(run: Callable[[], Tensor], *, rounds: int) -> float:
    """Best of alternating rounds, of which the first warms up."""
    best = {False: float("inf"), True: float("inf")}
    began = time.perf_counter()
    for number in range(rounds + 1):
        for half in best:
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                run()
            if number:
                best[half] = min(best[half], time.perf_counter() - start)
        if number and time.perf_counter() - began > LIMIT_S:
            break
    return best[False] / best[True]


def _product(numbers: torch.Generator) -> Callable[[], Tensor]:
    x, weight = _drawn(numbers, 64, 512), _drawn(numbers, 512, 512)
    return lambda: F.linear(x, weight)


def _block(numbers: torch.Generator) -> Callable[[], Tensor]:
    """A block of ViT-B/16 on two pictures, as a method's frozen weights are used."""
    width, heads, tokens = 768, 12, 197
    x = _drawn(numbers, 2, tokens, width)
    inward, outward = _drawn(numbers, 3 * width, width), _drawn(numbers, width, width)
    wide, narrow = _drawn(numbers, 4 * width, width), _drawn(numbers, width, 4 * width)

    def run() -> Tensor:
        parts = F.linear(F.layer_norm(x, (width,)), inward).unflatten(-1, (3, heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (2, heads, tokens, width / heads)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y = x + F.linear(mixed, outward)
        hidden = F.linear(F.layer_norm(y, (width,)), wide)
        return y + F.linear(hidden * torch.sigmoid(1.702 * hidden), narrow)

    return run


def _convolutions(numbers: torch.Generator) -> Callable[[], Tensor]:
    """What ResNet-50 and its pyramid do at an eighth of a picture of 400 x 600 pixels."""
    x, narrow = _drawn(numbers, 1, 256, 50, 75), _drawn(numbers, 64, 256, 1, 1)
    inner, wide = _drawn(numbers, 64, 64, 3, 3), _drawn(numbers, 256, 64, 1, 1)
    level = _drawn(numbers, 256, 256, 3, 3)

    def run() -> Tensor:
        hidden = F.conv2d(F.conv2d(x, narrow).relu(), inner, padding=1).relu()
        return F.conv2d((x + F.conv2d(hidden, wide)).relu(), level, padding=1)

    return run


def _drawn(numbers: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=numbers) * 0.02
