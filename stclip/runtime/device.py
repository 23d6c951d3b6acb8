"""Where tensors live, and that the same seed gives the same numbers there."""

import os
import platform
from pathlib import Path
from typing import Any

import torch


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> str:
    """The GPU, or cores and processor; no host name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}"


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
