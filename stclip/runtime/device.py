"""Where tensors live, and that the same seed gives the same numbers there."""

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from stclip.errors import ConfigError

_chosen: ContextVar[torch.device | None] = ContextVar("device", default=None)


def best_device() -> torch.device:
    """The one that `on_device` chose, else the GPU if there is one, else the CPU."""
    return _chosen.get() or torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def on_device(name: str | None) -> Iterator[None]:
    """Within the block `best_device` is this one ("cpu", "cuda", "cuda:1"); None: chosen by itself.

    Raises:
        ConfigError: no such device here.
    """
    try:
        device = None if name is None else torch.device(name)
        if device is not None:
            torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); expected are "
            "'cpu', 'cuda' or 'cuda:NUMBER'. Leave it out to take the GPU if there is one."
        ) from None
    token = _chosen.set(device)
    try:
        yield
    finally:
        _chosen.reset(token)


def machine() -> str:
    """The GPU, or cores and processor; no host name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores, {processor()['processor']}"


def device_name(device: torch.device) -> str:
    """The GPU's name, else the kind of device, as "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def processor() -> dict[str, str]:
    """Its name, and a digest of its instruction sets: one name stands for many processors."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    sets = " ".join(sorted((found.get("flags") or found.get("Features") or "").split()))
    return {
        "processor": found.get("model name") or platform.machine(),
        "instructions": hashlib.sha256(sets.encode()).hexdigest()[:16],
    }


def peak_memory() -> dict[str, float]:
    """The most memory that tensors took on the GPU so far; nothing where there is none."""
    if not torch.cuda.is_available():
        return {}
    return {"peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3)}


def seed_everything(seed: int) -> None:
    """Seed torch; on a GPU also ask for its deterministic algorithms (it warns of any without)."""
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True, warn_only=True)


def random_state() -> dict[str, Any]:
    """The state of torch's random numbers, on the CPU and on this process's GPU if it has one."""
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "gpu": gpu}


def set_random_state(state: dict[str, Any]) -> None:
    """Go on from what `random_state` gave; torch wants both on the CPU."""
    torch.set_rng_state(state["cpu"].cpu())
    if state["gpu"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["gpu"].cpu())
