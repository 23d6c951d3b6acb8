"""What made a result: settings, split, seed, code and library versions. No clock, no host name."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stclip.config import DatasetConfig, MethodConfig
from stclip.config.hashes import config_hash, training_settings
from stclip.records import LabelSplit
from stclip.storage.parquet import read_parquet_metadata

PACKAGE = Path(__file__).resolve().parents[1]
LIBRARIES = ("stclip", "torch", "torchvision", "open_clip_torch", "peft", "numpy", "pandas")


def provenance(
    config: MethodConfig, data: DatasetConfig, *, scale: str, split: LabelSplit, seed: int
) -> dict[str, Any]:
    """The head of a metrics.json: `benchmark` names data set, label splits and protocol."""
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
        "split_sha256": split_sha256(split),
        "seed": seed,
        "config_hash": config_hash(training_settings(config)),
        "config": config.model_dump(mode="json"),
        "git_commit": git_commit(),
        "versions": {"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
    }


def computed_of(scores: Iterable[Path]) -> dict[str, Any]:
    """Precision and device of a run's training and scoring, as its score files say; for the head.

    Nothing where they say nothing, as those of an older version do.

    Raises:
        DataError: a file is damaged.
    """
    texts = (read_parquet_metadata(path).get("computed") for path in scores)
    found = next((text for text in texts if text), None)  # one job writes them all
    return {} if found is None else {"computed": json.loads(found)}


def split_sha256(split: LabelSplit) -> str:
    """The SHA-256 of a split's labels, clips and rule: runs of equal ones can be compared."""
    return hashlib.sha256(json.dumps(asdict(split), sort_keys=True).encode()).hexdigest()


def git_commit(package: Path = PACKAGE) -> str:
    """Commit of the code, `-dirty` if tracked files differ; "unknown" outside a checkout of it.

    A copy inside another repository, and what that one installed, is no checkout: its commit says
    nothing of this code.

    Args:
        package: folder of the package, which the checkout holds at its top.
    """
    try:
        top = _git("rev-parse", "--show-toplevel", folder=package)
        if Path(top) != package.parent:
            return "unknown"
        _git("ls-files", "--error-unmatch", "__init__.py", folder=package)
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", folder=package)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str, folder: Path) -> str:
    """What git says there, whatever repository a hook that runs us is of."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
