"""Model configs of CLIPs (.json) and how the pictures were made that a CLIP was trained on.

Two forms of a config are read: open_clip's own (`embed_dim`, `vision_cfg`, `text_cfg`), and that of
the Hugging Face hub (`open_clip_config.json`), which holds such a one under `model_cfg` and the
preprocessing beside it. Without torch: settings are resolved where the workflow is parsed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stclip.config.method_models import BackboneConfig, ModelPreprocessing, Statistics
from stclip.config.package_files import path_of
from stclip.errors import ConfigError

STATISTICS = {
    "clip": Statistics(
        mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
    ),
    "imagenet": Statistics(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "inception": Statistics(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
}
MODEL_KEYS = ("embed_dim", "vision_cfg", "text_cfg")
# What open_clip says of preprocessing -> our keys.
FRAME_MODES = {"shortest": "cover", "squash": "squash"}
INTERPOLATIONS = ("bicubic", "bilinear")
OPEN_CLIPS_OWN = {  # where a config leaves a key out
    "mean": STATISTICS["clip"].mean, "std": STATISTICS["clip"].std,
    "resize_mode": "shortest", "interpolation": "bicubic",
}  # fmt: skip
NO_CHOICE = {"size", "mode", "fill_color"}  # the model's picture size, RGB; for padding alone


def read_model_config(path: Path) -> tuple[dict[str, Any], ModelPreprocessing]:
    """The model of a config of either form, and its preprocessing.

    Raises:
        ConfigError: missing, damaged, no such config, or a preprocessing that nothing here does.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such model config; `model` is a name of open_clip's or the path of a "
            "config of its form (.json), which is read when the workflow is parsed."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a readable model config: {error}.") from None
    model = content.get("model_cfg", content) if isinstance(content, dict) else None
    missing = [key for key in MODEL_KEYS if not isinstance(model, dict) or key not in model]
    if missing:
        raise ConfigError(
            f"{path}: not a model config of open_clip's: {missing} are missing. It has "
            f"{list(MODEL_KEYS)}, or these under `model_cfg` (the hub's open_clip_config.json; a "
            "config.json of transformers is another thing)."
        )
    assert isinstance(model, dict)
    wrong = [key for key in MODEL_KEYS[1:] if not isinstance(model[key], dict)]
    if wrong:
        raise ConfigError(f"{path}: {wrong[0]} is {model[wrong[0]]!r}; a mapping is expected.")
    return model, preprocessing_of(content.get("preprocess_cfg", {}), where=f"{path}")


def preprocessing_of(said: Mapping[str, Any], *, where: str) -> ModelPreprocessing:
    """Our keys for open_clip's `preprocess_cfg`.

    Raises:
        ConfigError: what it says is not done here.
    """
    if not isinstance(said, Mapping) or said.keys() - OPEN_CLIPS_OWN.keys() - NO_CHOICE:
        raise ConfigError(
            f"{where}: preprocess_cfg is {said!r}; its keys are {sorted(OPEN_CLIPS_OWN)}, "
            f"and {sorted(NO_CHOICE)}, which choose nothing here."
        )
    said = OPEN_CLIPS_OWN | dict(said)
    if said["resize_mode"] not in FRAME_MODES or said["interpolation"] not in INTERPOLATIONS:
        raise ConfigError(
            f"{where}: preprocess_cfg has resize_mode {said['resize_mode']!r} and interpolation "
            f"{said['interpolation']!r}; {sorted(FRAME_MODES)} and {list(INTERPOLATIONS)} are done."
        )
    try:
        found = Statistics(mean=said["mean"], std=said["std"])
    except ValueError:
        raise ConfigError(
            f"{where}: preprocess_cfg has mean {said['mean']!r} and std {said['std']!r}; three "
            "numbers each, of red, green and blue in 0..1, are expected; those of std above 0."
        ) from None
    name = next((name for name, known in STATISTICS.items() if known == found), None)
    how = {"frame_mode": FRAME_MODES[said["resize_mode"]], "interpolation": said["interpolation"]}
    return ModelPreprocessing.model_validate({**how, "statistics": name or found})


def model_preprocessing(backbone: BackboneConfig) -> ModelPreprocessing:
    """The preprocessing of a backbone: CLIP's, what its model config says, what the scale says."""
    own = ModelPreprocessing()
    if backbone.model.endswith(".json"):
        own = read_model_config(path_of(backbone.model))[1]
    said = backbone.preprocessing
    if said is None:
        return own
    return own.model_copy(update={key: getattr(said, key) for key in said.model_fields_set})
