"""Reads and checks config/*.yaml.

A run's configuration is the preprocessing that its CLIP was trained with, then the method's YAML,
then what the scale overrides, then, for a variant of the method, what the variant replaces and what
the scale overrides of it; each may have a section for the data set. Every later layer replaces
single keys of the earlier ones. Unknown keys are errors. `config/README.md` explains every key.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stclip.config.clip_models import model_preprocessing
from stclip.config.clip_tags import check_weights_path
from stclip.config.detector_models import DetectorConfig
from stclip.config.file_lists import listed_files
from stclip.config.method_models import MethodConfig, MethodFile, Variant, Variants
from stclip.config.models import DatasetConfig, DatasetFile, Scale
from stclip.config.names import check_form, check_name, known_names, pick
from stclip.config.one_state import once_in_a_state
from stclip.config.resolved import as_resolved, stage_version
from stclip.config.strict import complaint
from stclip.config.yaml_file import read_yaml
from stclip.errors import ConfigError

CONFIG_FOLDER = Path("config")  # in the project's folder, where everything is run
T = TypeVar("T", bound=BaseModel)


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
        raise ConfigError("\n".join(_line(model, e, where) for e in error.errors())) from None


def _line(model: type[BaseModel], error: ErrorDetails, where: str) -> str:
    """What does not fit, with the known names where one is unknown."""
    line = f"{where}: {complaint(error)}"
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, error["loc"])
        line += f"; {known_names(error['loc'][-1], known, lead='allowed keys:')}"
    elif error["type"] == "literal_error":
        literals = re.findall("'([^']*)'", error["ctx"]["expected"])
        line += f"; {known_names(error['input'], literals)}"
    return line


def _known_keys(model: type[BaseModel], loc: Sequence[int | str]) -> set[str]:
    """The keys of the record, or records, in which the last of `loc` stands."""
    found: list[type[BaseModel]] = [model]
    for key in loc[:-1]:  # an index, a name or pydantic's mark of a union is no field
        if any(key in one.model_fields for one in found):
            fields = [one.model_fields[str(key)] for one in found if key in one.model_fields]
            found = [record for field in fields for record in _records_in(field.annotation)]
    return {key for one in found for key in one.model_fields}


def _records_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [record for part in get_args(annotation) for record in _records_in(part)]


@once_in_a_state
def known_datasets(folder: Path) -> list[str]:
    """Those with a YAML in `folder`/datasets, and those with label splits in splits/ beside it.

    Label splits come first: methods may have settings for a data set that nobody prepares yet.
    """
    published = (path.parent.parent.name for path in folder.parent.glob("splits/*/*/*.json"))
    return sorted({*(path.stem for path in (folder / "datasets").glob("*.yaml")), *published})


def load_scale(folder: Path, scale: str) -> Scale:
    """The scale's settings from `folder`/scales/{scale}.yaml, laid over those of its `base`.

    Raises:
        ConfigError: what `checked` refuses, or a section of a method or data set that there is not.
    """
    check_form(scale, what="scale")
    return _load_scale(folder, scale, _content(folder))


@once_in_a_state
def _content(folder: Path) -> str:
    """Tells apart all that a scale is checked against: files by content, data sets by name."""
    files = sorted(path for part in ("scales", "methods") for path in folder.glob(f"{part}/*.yaml"))
    found = hashlib.sha256(repr(known_datasets(folder)).encode())
    for path in files:
        found.update(f"{path} ".encode() + path.read_bytes())
    return found.hexdigest()


@lru_cache(maxsize=4)  # every method, data set and table asks for it
def _load_scale(folder: Path, scale: str, content_of_all: str) -> Scale:
    path = folder / "scales" / f"{scale}.yaml"
    content = _with_base(path)
    settings = checked(Scale, content, str(path))
    with naming(str(path)):
        methods = {"*", *(p.stem for p in (folder / "methods").glob("*.yaml"))}
        for name in settings.methods:  # a misspelt one would run as at any other scale
            stem, _, variant = name.partition("+")
            check_name(stem, methods, what="method of methods:")
            if name != stem:
                pick(variants_of(folder, stem), variant, what=f"variant of {stem} of methods:")
        datasets = known_datasets(folder)
        sections: dict[str, Iterable[str]] = {
            "datasets": settings.datasets,
            "miniature.render": settings.miniature.render,
            **{f"detectors.{n}.datasets": d.datasets for n, d in settings.detectors.items()},
        }
        for key, named in sections.items():
            for name in named:
                check_name(name, datasets, what=f"data set of {key}:")
    return settings


def _with_base(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A scale's YAML, laid over that of its base, which may have one too."""
    if path in seen:
        raise ConfigError(f"scales whose bases lead back to {path.stem!r}; one must have none.")
    content = read_yaml(path)
    base = content.get("base")
    if base is None:
        return content
    with naming(f"{path}: base"):
        return merge(_with_base(path.with_name(f"{base}.yaml"), (*seen, path)), content)


def load_dataset(folder: Path, dataset: str, *, scale: str) -> DatasetConfig:
    """A data set's settings with the scale's overrides and one of its `forms` chosen.

    A form's archives are replaced by an override, not merged.
    """
    found = _resolve_dataset(folder, dataset, scale=scale)
    return as_resolved(f"data set {dataset} at scale {scale}", found)


def load_detector(folder: Path, detector: str, *, scale: str) -> DetectorConfig:
    """A detector of the scale."""
    found = pick(load_scale(folder, scale).detectors, detector, what="detector")
    return as_resolved(f"detector {detector} at scale {scale}", found)


def load_version(folder: Path, stage: str) -> int:
    """The `stage_version` of a stage; 0 where a folder of settings has no config.yaml."""
    path = folder / "config.yaml"
    return stage_version(stage, read_yaml(path) if path.exists() else {})


@once_in_a_state
def _resolve_dataset(folder: Path, dataset: str, *, scale: str) -> DatasetConfig:
    check_form(dataset, what="data set")
    path = folder / "datasets" / f"{dataset}.yaml"
    where = f"{path} at scale {scale}"
    overrides = load_scale(folder, scale).datasets.get(dataset, {})
    content = merge(read_yaml(path), overrides)
    for key in ("forms", "params"):
        found = content.setdefault(key, {})
        if not _is_mapping(found) or (key == "forms" and not all(map(_is_mapping, found.values()))):
            raise ConfigError(f"{where}: {key}: expected a mapping of names, found {found!r}.")
    _refuse_given(content, dict.fromkeys(("target", "archives"), "one of the `forms`"), where)
    forms = content["forms"]
    for name, override in overrides.get("forms", {}).items():
        if "archives" in override:
            forms[name] = {**forms[name], "archives": override["archives"]}
    file = checked(DatasetFile, content, where)
    chosen = pick(file.forms, file.form, what=f"form of {where}")
    del content["forms"]
    params = merge(content["params"], chosen.params)
    with naming(where):
        listed = listed_files(chosen.lists, path.parent, params)
    content |= {
        "target": chosen.target,
        "archives": {} if content.get("extracted") else chosen.archives | listed,
        "params": params,
    }
    return checked(DatasetConfig, content, where)


def load_method(folder: Path, method: str, *, dataset: str, scale: str) -> MethodConfig:
    """Resolve a method, or a variant of one (`METHOD+VARIANT`), for a data set and a scale.

    A variant is laid over all that makes its method, so that no scale undoes what it is about;
    what the scale says of the variant itself comes last.
    """
    stem, _, variant = method.partition("+")
    check_form(stem, what="method")
    path = folder / "methods" / f"{stem}.yaml"
    where = f"{path}{f', variant {variant},' if variant else ''} at scale {scale}"
    settings = load_scale(folder, scale)
    own = read_yaml(path)
    own.pop("variants", None)
    variants = variants_of(folder, stem)
    layers = [own, settings.methods.get("*", {}), settings.methods.get(stem, {})]
    if method != stem:
        replaced = pick(variants, variant, what=f"variant of {path}").model_dump()
        layers += [replaced, settings.methods.get(method, {})]
    with naming(where):
        known = known_datasets(folder)
        content = merge({}, *(part for layer in layers for part in _parts(layer, dataset, known)))
        backbone = pick(
            settings.backbones, str(content.get("backbone")), what=f"backbone of scale {scale}"
        )
    data = _resolve_dataset(folder, dataset, scale=scale)
    of_dataset = {
        "label_text": data.label_text,
        "label_templates": data.label_templates,
        "exclusive_labels": data.exclusive_labels,
        "patience_s": data.linking.patience_s,
        "two_scores": data.linking.two_scores and data.linking.two_scores.model_dump(),
    }
    _refuse_given(content, {"name": "the file", **dict.fromkeys(of_dataset, "the data set")}, where)
    checked(MethodFile, content, where)
    name = content["backbone"]
    check_weights_path(backbone, where=f"config/scales/{scale}.yaml: backbones.{name}")
    pictures = model_preprocessing(backbone).model_dump()
    if pictures["frame_mode"] == "squash":  # a box cut out is a picture too
        pictures["crop_mode"] = "squash"
    content["preprocessing"] = merge(pictures, content.get("preprocessing", {}))
    content |= of_dataset | {"name": method, "backbone": backbone.model_dump()}
    found = checked(MethodConfig, content, where)
    return as_resolved(f"method {method} of {dataset} at scale {scale}", found)


@once_in_a_state
def variants_of(folder: Path, method: str) -> dict[str, Variant]:
    """The variants of a method, by name."""
    path = folder / "methods" / f"{method}.yaml"
    content = {"variants": read_yaml(path).get("variants", {})}
    return checked(Variants, content, str(path)).variants


def _parts(
    layer: Mapping[str, Any], dataset: str, known: Collection[str]
) -> list[Mapping[str, Any]]:
    """A layer without its `datasets`, then what it says there of one data set."""
    general = {key: value for key, value in layer.items() if key != "datasets"}
    sections = layer.get("datasets", {})
    if not isinstance(sections, Mapping) or not all(map(_is_mapping, sections.values())):
        raise ConfigError(f"datasets: expected a mapping of settings by name, found {sections!r}.")
    for name in sections:
        check_name(name, known, what="data set of datasets:")
    return [general, sections.get(dataset, {})]


def _refuse_given(content: Mapping[str, Any], elsewhere: Mapping[str, str], where: str) -> None:
    """Refuse keys that are set elsewhere: here they would be ignored."""
    for key, owner in elsewhere.items():
        if key in content:
            raise ConfigError(f"{where}: {key}: it is not set here, but by {owner}; move it there.")


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put in front of a ConfigError which file or key led to it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
