"""Reads and checks config/*.yaml; the only reader of YAML.

A run's configuration is the preprocessing that its CLIP was trained with, then the method's YAML,
then what the scale overrides, then, for a variant of the method, what the variant replaces and what
the scale overrides of it; each may have a section for the data set. Every later layer replaces
single keys of the earlier ones. Unknown keys are errors. `config/README.md` explains every key.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from stclip.config.clip_models import model_preprocessing
from stclip.config.clip_tags import check_weights_path
from stclip.config.models import (
    DatasetConfig,
    DatasetForm,
    MethodConfig,
    Scale,
    Variants,
)
from stclip.errors import ConfigError

CONFIG_FOLDER = Path("config")  # in the project's folder, where everything is run
T = TypeVar("T", bound=BaseModel)
V = TypeVar("V")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping; a missing, damaged or unexpected file is a ConfigError naming it."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigError(
            f"unknown {path.parent.name.removesuffix('s')} {path.stem!r}: {path} does not exist; "
            f"known are {known}."
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({error}).") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping at the top, found {type(content).__name__}.")
    return content


def merge(base: Mapping[str, Any], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Overlay mappings key by key, deeply; a later layer wins, lists are replaced whole."""
    merged = dict(base)
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = merge(merged[key], value) if both else value
    return merged


def checked(model: type[T], content: Mapping[str, Any], where: str) -> T:
    """`content` as a model; what does not fit is a ConfigError with the key after `where`."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = []
        for e in error.errors():
            key = ".".join(map(str, e["loc"]))
            lines.append(f"{where}: {key}: {e['msg']}")
            if e["type"] == "extra_forbidden" and len(e["loc"]) == 1:
                lines[-1] += f"; allowed keys: {sorted(model.model_fields)}"
        raise ConfigError("\n".join(lines)) from None


def load_scale(folder: Path, scale: str) -> Scale:
    """The scale's settings from `folder`/scales/{scale}.yaml, laid over those of its `base`."""
    path = folder / "scales" / f"{scale}.yaml"
    content = read_yaml(path)
    base = content.pop("base", None)
    if base is not None:
        content = merge(read_yaml(folder / "scales" / f"{base}.yaml"), content)
    return checked(Scale, content, str(path))


def load_dataset(folder: Path, dataset: str, *, scale: str) -> DatasetConfig:
    """A data set's settings with the scale's overrides and one of its `forms` chosen.

    A form's archives are replaced by an override, not merged.
    """
    path = folder / "datasets" / f"{dataset}.yaml"
    where = f"{path} at scale {scale}"
    overrides = load_scale(folder, scale).datasets.get(dataset, {})
    content = merge(read_yaml(path), overrides)
    forms = content.pop("forms", None)
    if not isinstance(forms, dict):
        raise ConfigError(f"{where}: forms: expected a mapping of names, found {forms!r}.")
    for name, override in overrides.get("forms", {}).items():
        if "archives" in override:
            forms[name] = {**forms[name], "archives": override["archives"]}
    known = {n: checked(DatasetForm, f, f"{where}: forms.{n}") for n, f in forms.items()}
    chosen = pick(known, str(content.get("form")), what=f"form of {where}")
    content |= {
        "target": chosen.target,
        "archives": {} if content.get("extracted") else chosen.archives,
        "params": merge(content.get("params", {}), chosen.params),
    }
    return checked(DatasetConfig, content, where)


def load_method(folder: Path, method: str, *, dataset: str, scale: str) -> MethodConfig:
    """Resolve a method, or a variant of one (`METHOD+VARIANT`), for a data set and a scale.

    A variant is laid over all that makes its method, so that no scale undoes what it is about;
    what the scale says of the variant itself comes last.
    """
    stem, _, variant = method.partition("+")
    path = folder / "methods" / f"{stem}.yaml"
    where = f"{path}{f', variant {variant},' if variant else ''} at scale {scale}"
    settings = load_scale(folder, scale)
    own = read_yaml(path)
    variants = checked(Variants, {"variants": own.pop("variants", {})}, str(path)).variants
    for name in settings.methods:
        if name.startswith(f"{stem}+"):  # a misspelt one would run as at any other scale
            pick(
                variants, name.removeprefix(f"{stem}+"), what=f"variant of {path} at scale {scale}"
            )
    layers = [own, settings.methods.get("*", {}), settings.methods.get(stem, {})]
    if method != stem:
        replaced = pick(variants, variant, what=f"variant of {path}").model_dump()
        layers += [replaced, settings.methods.get(method, {})]
    content = merge({}, *(part for layer in layers for part in _parts(layer, dataset)))
    backbone = content.get("backbone")
    if backbone not in settings.backbones:
        raise ConfigError(
            f"{where}: backbone {backbone!r} is unknown; "
            f"config/scales/{scale}.yaml has {sorted(settings.backbones)}."
        )
    data = load_dataset(folder, dataset, scale=scale)
    clip = settings.backbones[backbone]
    check_weights_path(clip, where=f"config/scales/{scale}.yaml: backbones.{backbone}")
    pictures = model_preprocessing(clip).model_dump()
    if pictures["frame_mode"] == "squash":  # a box cut out is a picture too
        pictures["crop_mode"] = "squash"
    content |= {
        "name": method,
        "backbone": clip.model_dump(),
        "preprocessing": merge(pictures, content.get("preprocessing", {})),
        "label_text": data.label_text,
        "exclusive_labels": data.exclusive_labels,
        "patience_s": data.linking.patience_s,
    }
    return checked(MethodConfig, content, where)


def _parts(layer: Mapping[str, Any], dataset: str) -> list[Mapping[str, Any]]:
    """A layer without its `datasets`, then what it says there of one data set."""
    general = {key: value for key, value in layer.items() if key != "datasets"}
    return [general, layer.get("datasets", {}).get(dataset, {})]


def pick(choices: Mapping[str, V], name: str, *, what: str) -> V:
    """An entry of a mapping; an unknown name is a ConfigError that lists the known ones."""
    if name not in choices:
        raise ConfigError(f"unknown {what} {name!r}; known are {sorted(choices)}.")
    return choices[name]
