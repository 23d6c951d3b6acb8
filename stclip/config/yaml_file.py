"""Reads YAML files: a mapping at the top, no key twice."""

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from stclip.config.names import known_names
from stclip.config.one_state import once_in_a_state
from stclip.errors import ConfigError


class _NoKeyTwice(yaml.constructor.SafeConstructor):
    """YAML without a key twice, of which PyYAML takes the last; `<<: *other` may be overlaid."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):  # else PyYAML's own message
            seen: dict[Any, yaml.Mark] = {}
            for key_node, _ in node.value:
                key = (key_node.tag, key_node.value)
                if isinstance(key_node, yaml.ScalarNode) and key in seen:
                    raise yaml.constructor.ConstructorError(
                        f"key {key_node.value!r} is given here", seen[key],
                        "and again here; keep one", key_node.start_mark,
                    )  # fmt: skip
                if isinstance(key_node, yaml.ScalarNode):
                    seen[key] = key_node.start_mark
        return super().construct_mapping(node, deep=deep)


class _Loader(_NoKeyTwice, yaml.SafeLoader):
    """Its messages show the line."""


class _FastLoader(_NoKeyTwice, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Parses by libyaml, where PyYAML has it."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        ConfigError: missing, damaged, no mapping, or a key given twice; it names the file.
    """
    try:
        content = deepcopy(_content(path))
    except FileNotFoundError:
        known = [p.stem for p in path.parent.glob("*.yaml")]
        raise ConfigError(
            f"unknown {path.parent.name.removesuffix('s')} {path.stem!r}: {path} does not exist; "
            f"{known_names(path.stem, known)}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML ({error}).") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping at the top, found {type(content).__name__}.")
    return content


@once_in_a_state
def _content(path: Path) -> Any:
    return _parsed(path.read_text("utf-8"))


@lru_cache(maxsize=128)  # a scale is read again for every method of every table
def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_FastLoader)
    except yaml.YAMLError:
        return yaml.load(text, Loader=_Loader)
