"""What made a result: settings, split, seed, code and library versions. No clock, no host name."""

import hashlib
import json
import platform
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stclip.config import DatasetConfig, MethodConfig
from stclip.config.hashes import config_hash, training_settings
from stclip.records import LabelSplit

LIBRARIES = ("stclip", "torch", "torchvision", "open_clip_torch", "peft", "numpy", "pandas")


def provenance(
    config: MethodConfig, data: DatasetConfig, *, scale: str, split: LabelSplit, seed: int
) -> dict[str, Any]:
    """The head of a metrics.json: `benchmark` names data set, label splits and protocol."""
    listing = json.dumps(asdict(split), sort_keys=True).encode()
    return {
        "method": config.name,
        "title": config.title,
        "order": config.order,
        "assumptions": list(config.assumptions),
        "scale": scale,
        "dataset": split.dataset,
        "family": split.family,
        "benchmark": data.benchmark_of(split.family),
        "split": split.name,
        "split_sha256": hashlib.sha256(listing).hexdigest(),
        "seed": seed,
        "config_hash": config_hash(training_settings(config)),
        "config": config.model_dump(mode="json"),
        "git_commit": git_commit(),
        "versions": {"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
    }


def git_commit() -> str:
    """Commit of the code, `-dirty` if tracked files differ; "unknown" outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
