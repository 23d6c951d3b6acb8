"""Which settings move which results: hashes and names that change with them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stclip.config import BARE_LABEL, DatasetConfig, DetectorConfig, MethodConfig


def config_hash(*parts: BaseModel | Mapping[str, Any] | str) -> str:
    """16 hex digits that change when a resolved setting changes; keys every run."""
    content = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def training_settings(config: MethodConfig) -> dict[str, Any]:
    """What moves a method's weights; names, batching of scores and the like do not.

    `sources`: the code of its target, if that is not this package's.
    """
    settings = config.model_dump(
        mode="json",
        include={
            *("name", "target", "backbone", "label_text", "exclusive_labels", "params", "train"),
            *("preprocessing", "features", "objects"),
        },
    )
    settings["train"].pop("checkpoint_every")
    settings["sources"] = config.sources
    if config.label_templates != BARE_LABEL:  # so that runs of bare labels keep their hash
        settings["label_templates"] = config.label_templates
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
    """What moves a detector's boxes; whom it serves and what it needs do not."""
    settings = config.model_dump(mode="json", exclude={"datasets", "by_hand"})
    return settings | {"sources": config.sources}


def finetuning_settings(config: DetectorConfig) -> dict[str, Any]:
    """What moves the weights of a fine-tuned detector."""
    settings = config.model_dump(mode="json", include={"target", "params", "weights", "finetune"})
    return settings | {"sources": config.sources}


def preparation_settings(config: DatasetConfig) -> dict[str, Any]:
    """What moves the prepared clips, boxes and frames, beside the archives."""
    settings = config.model_dump(mode="json", include={"params", "target", "frame_store"})
    return settings | {"sources": config.sources}
