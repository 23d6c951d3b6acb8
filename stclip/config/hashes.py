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


def training_settings(config: MethodConfig) -> dict[str, Any]:
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


def frame_encoder(config: MethodConfig) -> dict[str, Any]:
    """The settings that move the frozen backbone's features of frames."""
    return _encoder(config, leave_out={"crop_mode", "crop_scale"})


def crop_encoder(config: MethodConfig) -> dict[str, Any]:
    """The settings that move the frozen backbone's features of boxes cut out of frames."""
    unused = {"frame_mode", "enlarge"}
    if config.preprocessing.interpolation == "bicubic":  # so that features keep their keys
        unused |= {"interpolation"}
    return _encoder(config, leave_out=unused)


def frames_key(config: MethodConfig) -> str:
    """Names the stored features of frames that a method reads: equal keys, equal features."""
    return _features_key(frame_encoder(config))


def crops_key(config: MethodConfig) -> str:
    """The same for boxes cut out of frames."""
    return _features_key(crop_encoder(config))


def _features_key(encoder: Mapping[str, Any]) -> str:
    return f"{Path(encoder['backbone']['model']).stem}-{config_hash(encoder)[:8]}"


def _encoder(config: MethodConfig, *, leave_out: set[str]) -> dict[str, Any]:
    return {
        "backbone": config.backbone.model_dump(),
        "preprocessing": config.preprocessing.model_dump(exclude=leave_out),
    }


def detection_settings(config: DetectorConfig) -> dict[str, Any]:
    """The settings that move a detector's boxes; whom it serves and what it needs do not."""
    return config.model_dump(mode="json", exclude={"datasets", "by_hand"})


def finetuning_settings(config: DetectorConfig) -> dict[str, Any]:
    """The settings that move the weights of a fine-tuned detector."""
    return config.model_dump(mode="json", include={"target", "params", "weights", "finetune"})
