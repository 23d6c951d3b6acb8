"""Finds what a YAML `target: module:name` names, without importing anything heavy itself."""

import importlib
from dataclasses import fields
from typing import Any

from stclip.errors import ConfigError


def resolve_target(target: str) -> Any:
    """Import `module:name`.

    Raises:
        ConfigError: the module or the name does not exist.
    """
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"target {target!r}: {error}; it must be module:name.") from None


def make_config(target: type[Any], params: dict[str, Any], *, where: str) -> Any:
    """The own Config of a method or detector from YAML `params`.

    Raises:
        ConfigError: unknown, missing or refused params.
    """
    known = {f.name for f in fields(target.Config)}
    unknown = set(params) - known
    if unknown:
        raise ConfigError(
            f"{where}: unknown params {sorted(unknown)} for {target.__name__}; "
            f"it takes {sorted(known)}."
        )
    try:
        return target.Config(**params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: params of {target.__name__}: {error}") from None
