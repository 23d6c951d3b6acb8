"""The folder of a run: weights.safetensors, config.yaml, log.jsonl. Light: no torch here."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from stclip.config import MethodConfig
from stclip.config.hashes import config_hash, training_settings
from stclip.records import LabelSplit
from stclip.storage.files import whole_file
from stclip.storage.tensors import write_tensors

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)
WEIGHTS = "weights.safetensors"


def run_hash(config: MethodConfig, split: LabelSplit, seed: int) -> str:
    """16 hex digits of all that moves the weights: settings, labels and clips, seed."""
    labels_and_clips = {"labels": split.base, "clips": split.train_clips, "seed": seed}
    return config_hash(training_settings(config), labels_and_clips)


def write_run(
    out: Path,
    config: MethodConfig,
    log: Sequence[dict[str, float]],
    *,
    weights: Mapping[str, "Tensor"],
    run: str,
) -> None:
    """Write the resolved settings, a log line per step and, last, the weights of the run."""
    with whole_file(out / "config.yaml") as path:
        path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), "utf-8")
    with whole_file(out / "log.jsonl") as path:
        path.write_text("".join(json.dumps(line) + "\n" for line in log), "utf-8")
    write_tensors(out / WEIGHTS, weights, run=run)


def write_untrained(config: MethodConfig, *, split: LabelSplit, seed: int, out: Path) -> None:
    """The run of a method that trains nothing: empty weights, without loading the model."""
    write_run(out, config, [], weights={}, run=run_hash(config, split, seed))
    logger.info("train: %s has nothing to train (train.iterations is 0)", config.name)
