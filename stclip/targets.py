"""Finds what a YAML `target: module:name` names, without importing anything heavy itself."""

import importlib
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
