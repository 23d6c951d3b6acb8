"""Which settings move which results: hashes and names that change with them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stclip.config import DetectorConfig, MethodConfig


def config_hash(*parts: BaseModel | Mapping[str, Any] | str) -> str:
    """16 hex digits that change when a resolved setting changes; keys every run."""
    content = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def what_trains(config: MethodConfig) -> dict[str, Any]:
    """The settings that move a method's weights; names, batching of scores and the like do not."""
    settings = config.model_dump(
        mode="json",
        include={
            *("name", "target", "backbone", "label_text", "exclusive_labels", "params", "train"),
            *("preprocessing", "features", "objects"),
        },
    )
    settings["train"].pop("checkpoint_every")
    return settings


def frames_key(config: MethodConfig) -> str:
    """Names the stored features of frames that a method reads: equal keys, equal features."""
    return _features_key(config, leave_out={"crop_mode", "crop_scale"})


def crops_key(config: MethodConfig) -> str:
    """The same for boxes cut out of frames."""
    return _features_key(config, leave_out={"frame_mode", "enlarge", "interpolation"})


def _features_key(config: MethodConfig, *, leave_out: set[str]) -> str:
    backbone = Path(config.backbone.model).stem
    how = config.preprocessing.model_dump(exclude=leave_out)
    return f"{backbone}-{config_hash(config.backbone, how)[:8]}"


def what_detects(config: DetectorConfig) -> dict[str, Any]:
    """The settings that move a detector's boxes; whom it serves and what it needs do not."""
    return config.model_dump(mode="json", exclude={"datasets", "by_hand"})


def what_finetunes(config: DetectorConfig) -> dict[str, Any]:
    """The settings that move the weights of a fine-tuned detector."""
    return config.model_dump(mode="json", include={"target", "params", "weights", "finetune"})
