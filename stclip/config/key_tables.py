"""The tables of keys in config/README.md, made from the models: key, meaning, values, default.

A key's meaning is the text below its field; values and default are what the model checks.
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stclip.config.detector_models import DetectorConfig
from stclip.config.download_models import Download
from stclip.config.figure import KINDS as FIGURES
from stclip.config.method_models import MethodFile, Variants
from stclip.config.models import DatasetFile, Scale
from stclip.config.predict_models import PredictConfig
from stclip.config.resolve import load_scale
from stclip.config.strict import Params
from stclip.config.table import KINDS as TABLES
from stclip.config.target import config_class
from stclip.config.yaml_file import read_yaml

APART = (DetectorConfig, Download)  # models that have a table of their own
NAMES = {"int": "whole number", "float": "number", "str": "text", "bool": "`true`, `false`"}
LONG = 40  # characters; a longer default stands in the code alone


class Row(NamedTuple):
    """A key of a table."""

    key: str
    meaning: str
    values: str
    default: str


def key_tables(config: Path) -> dict[str, str]:
    """Every table of keys, as Markdown, by the marker between which it stands.

    `config`: the folder whose methods' and detectors' own params are listed.
    """
    tables = {
        "scales": _table(_rows(Scale)),
        "downloads": _table(_rows(Download)),
        "detectors": _table(_rows(DetectorConfig)),
        "datasets": _table(_rows(DatasetFile)),
        "methods": _table([*_rows(MethodFile), *_rows(Variants)]),
        "tables": _table_of_kinds(TABLES),
        "figures": _table_of_kinds(FIGURES),
        "predict": _table(_rows(PredictConfig)),
        "method_params": _params_table(_methods(config)),
        "detector_params": _params_table(_detectors(config)),
    }
    return {f"keys_{name}": table for name, table in tables.items()}


def _rows(model: type[BaseModel], prefix: str = "", *, own: Sequence[str] = ()) -> Iterator[Row]:
    """A row for each key of a model, and for each of the models within; `own`: only of these."""
    for name, field in model.model_fields.items():
        if own and name not in own:
            continue
        key = f"{prefix}{name}"
        yield Row(f"`{key}`", _meaning(model, name), _values(field), _default(field))
        for inner, step in _models_in(field.annotation):
            if inner not in APART:
                yield from _rows(inner, f"{key}{step}.")


def _models_in(annotation: Any, step: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """The models that a value of this type consists of, and how a key goes on to them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, step
        return
    steps = {dict: ".NAME", list: "[]"}
    for part in get_args(annotation):
        yield from _models_in(part, step + steps.get(get_origin(annotation), ""))


def _meaning(model: type[BaseModel], name: str) -> str:
    """The text below a field, where it was last declared."""
    for owner in model.__mro__:
        if owner.__module__ != "pydantic.main" and name in vars(owner).get("__annotations__", {}):
            texts = _texts(sys.modules[owner.__module__])
            return texts.get((owner.__name__, name), "")
    return ""


@cache
def _texts(module: ModuleType) -> dict[tuple[str, str], str]:
    """(class, field) -> the text below that field, of all classes of a module."""
    texts = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in pairwise(node.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(text))):
                    texts[node.name, name] = " ".join(text.split())
    return texts


def _values(field: FieldInfo) -> str:
    return _kind(field.annotation, field.metadata)


def _kind(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a value may be, in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [m for p in parts[1:] for m in (p.metadata if isinstance(p, FieldInfo) else [p])]
        return _kind(parts[0], [*inner, *metadata])
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        models = [p for p in parts if isinstance(p, type) and issubclass(p, BaseModel)]
        if len(models) > 1:
            return "keys below"
        kinds = [_kind(part, metadata) for part in parts if part is not NoneType]
        return " or ".join(kinds + ["null"] * (NoneType in parts))
    if origin in (list, tuple):
        return f"list: {_kind(parts[0])}"
    if origin is dict:
        return "name -> " + ("anything" if parts[1] is Any else _kind(parts[1]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys below"
    return NAMES.get(getattr(annotation, "__name__", ""), "anything") + _range(metadata)


def _range(metadata: Sequence[Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name)}"
        for limit in metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return " " + ", ".join(limits) if limits else ""


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return ""
    if isinstance(value, BaseModel):  # its keys stand below, with their defaults
        value = value.model_dump(exclude_defaults=True)
        return f"`{_yaml(value)}`" if value else "as below"
    if value in (None, [], {}, ""):
        return "none"
    text = f"{value:.4g}" if isinstance(value, float) else _yaml(value)
    return f"`{text}`" if len(text) <= LONG else "see its class"


def _yaml(value: Any) -> str:
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _table_of_kinds(models: Mapping[str, type[BaseModel]]) -> str:
    """Kinds of tables or figures share most keys: each key once, with the kinds that have it."""
    by_row: dict[Row, list[str]] = {}
    for kind, model in models.items():
        for row in _rows(model):
            if row.key != "`kind`":
                by_row.setdefault(row, []).append(kind)
    kinds = ", ".join(f"`{kind}`" for kind in models)
    rows = [Row("`kind`", "what it shows; says which keys it has", kinds, "")]
    for row, having in by_row.items():
        others = models.keys() - having
        names, no = (having, "") if len(others) > 1 else (list(others), "not ")
        of = f"{no}of {', '.join(f'`{name}`' for name in names)}: " if others else ""
        rows.append(row._replace(meaning=of + row.meaning))
    return _table(rows)


def _methods(config: Path) -> dict[str, type[Any]]:
    paths = sorted((config / "methods").glob("*.yaml"))
    return {path.stem: config_class(read_yaml(path)["target"]) for path in paths}


def _detectors(config: Path) -> dict[str, type[Any]]:
    scales = [load_scale(config, path.stem) for path in sorted((config / "scales").glob("*.yaml"))]
    detectors = [detector for scale in scales for detector in scale.detectors.values()]
    targets = dict.fromkeys(detector.target for detector in detectors)
    return {target.rpartition(":")[2]: config_class(target) for target in targets}


def _params_table(configs: dict[str, type[Any]]) -> str:
    """The params that each Config declares itself; what several inherit stands there once."""
    owners: dict[type[Params], list[str]] = {}
    for name, config in configs.items():
        for owner in config.__mro__ if issubclass(config, Params) else ():
            if issubclass(owner, Params) and owner is not Params:
                owners.setdefault(owner, []).append(name)
    lines = []
    for owner, names in sorted(owners.items(), key=lambda item: -len(item[1])):
        declared = tuple(vars(owner).get("__annotations__", {}))
        for row in _rows(owner, own=declared) if declared else ():
            lines.append((", ".join(f"`{name}`" for name in names), *row))
    return _markdown(("of", *Row._fields), lines)


def _table(rows: Iterator[Row] | list[Row]) -> str:
    return _markdown(Row._fields, list(rows))


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose cells are as wide as they need to be: a diff shows the changed row."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(
        "| " + " | ".join(c.replace("|", r"\|") for c in line) + " |\n" for line in lines
    )
