"""The folder of a run: weights.safetensors, config.yaml, log.jsonl. Light: no torch here."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stclip.config import MethodConfig
from stclip.config.hashes import config_hash, training_settings
from stclip.records import Data, LabelSplit
from stclip.runtime.identity import backbone_content, data_content
from stclip.storage.files import whole_file
from stclip.storage.tensors import write_tensors

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)
WEIGHTS = "weights.safetensors"


def run_hash(config: MethodConfig, split: LabelSplit, seed: int) -> str:
    """16 hex digits of what a run is asked to be: settings, the method's code, labels, clips, seed.

    It names the run in its weights, on dashboards, and is compared when the weights are scored.
    """
    labels_and_clips = {"labels": split.base, "clips": split.train_clips, "seed": seed}
    return config_hash(training_settings(config), labels_and_clips)


def training_identity(
    config: MethodConfig,
    data: Data,
    *,
    split: LabelSplit,
    seed: int,
    version: int,
    precision: str = "fp32",
) -> str:
    """16 hex digits of all that moves the weights: the run, and the content of all that it reads.

    A checkpoint of another identity is not continued. `version`: `stage_version.train`.
    `precision`: what is used, where the settings leave it to the device.

    Raises:
        DataError: a file is missing or damaged.
    """
    read: dict[str, Any] = {
        "backbone": backbone_content(config.backbone),
        "data": data_content(data, split.train_clips),
        "split": asdict(split),
        "version": version,
    }
    if config.train.precision == "auto":
        read["precision"] = precision
    return config_hash({"run": run_hash(config, split, seed)}, read)


def backbone_hash(config: MethodConfig) -> str:
    """16 hex digits of the content of the backbone's files; stands in the weights trained on it.

    Raises:
        DataError: a file is missing.
    """
    return config_hash(backbone_content(config.backbone))


def write_run(
    out: Path,
    config: MethodConfig,
    log: Sequence[dict[str, float]],
    *,
    weights: Mapping[str, "Tensor"],
    run: str,
    backbone: str,
    computed: Mapping[str, str] | None = None,
) -> None:
    """Write the resolved settings, a log line per step and, last, the weights of the run.

    Their metadata say which run (`run_hash`), on which backbone (`backbone_hash`) and, if they
    were trained here, in which precision and on which device (`computed`).
    """
    with whole_file(out / "config.yaml") as path:
        path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), "utf-8")
    with whole_file(out / "log.jsonl") as path:
        path.write_text("".join(json.dumps(line) + "\n" for line in log), "utf-8")
    write_tensors(out / WEIGHTS, weights, run=run, backbone=backbone, **(computed or {}))


def write_untrained(config: MethodConfig, *, split: LabelSplit, seed: int, out: Path) -> None:
    """The run of a method that trains nothing: empty weights, without loading the model."""
    run = run_hash(config, split, seed)
    write_run(out, config, [], weights={}, run=run, backbone=backbone_hash(config))
    logger.info("train: %s has nothing to train (train.iterations is 0)", config.name)
