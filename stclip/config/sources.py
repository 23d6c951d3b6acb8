"""Whose code a setting names, and its digest: an edit of one's own code counts as one of a key.

A `target: module:name` outside this package is somebody's own code, `baselines` too: its module and
the modules that it imports, directly or not, as far as import statements say. What lies in Python's
own library or among installed packages is not followed, and this package's own code stands under
`stage_version`. Nothing is imported to find it out.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from stclip.errors import ConfigError

OWN = __name__.partition(".")[0]
_INSTALLED = {"site-packages", "dist-packages"}


def sources_of(target: str, params: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Module -> SHA-256 of its file, of a target and of every `module:name` among its params.

    Empty where all of it is this package's own.

    Raises:
        ConfigError: the target's module does not exist; a file is no Python.
    """
    module, _, _ = target.partition(":")
    top = module.partition(".")[0]
    if top != OWN and _spec(module) is None:
        raise ConfigError(
            f"target {target!r}: there is no module {module!r} where Python looks for modules; it "
            "must be module:name, of a package that is installed or a folder on PYTHONPATH."
        )
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = {module, *(text.partition(":")[0] for text in _texts(params) if _is_target(text))}
    while waiting:
        name = waiting.pop()
        file = _file(name) if name not in seen and _may_count(name) else None
        seen.add(name)
        if file is None or (_INSTALLED & {*file.parts} and name.partition(".")[0] != top):
            continue
        content = file.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
        waiting.update(_imports(name, file, content))
        waiting.update({name.rpartition(".")[0]} - {""})  # the package's __init__ runs too
    return dict(sorted(found.items()))


def _may_count(module: str) -> bool:
    return module.partition(".")[0] not in sys.stdlib_module_names | {OWN}


def _imports(module: str, file: Path, content: bytes) -> Iterator[str]:
    """What a module's import statements may name, inside functions too: modules, or names in one.

    Raises:
        ConfigError: the file is no Python.
    """
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{file}:{line}" if line else str(file)
        raise ConfigError(f"{where}: not valid Python ({error}).") from None
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _file(module: str) -> Path | None:
    """The Python file of a module; None where there is none."""
    spec = _spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _spec(module: str) -> ModuleSpec | None:
    """As importlib.util.find_spec, which would import a module's parent packages."""
    parent, _, _ = module.rpartition(".")
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    if not parent:
        try:
            return importlib.util.find_spec(module)
        except ValueError:  # a module that was made up by a running program
            return None
    above = _spec(parent)
    folders = None if above is None else above.submodule_search_locations
    return None if folders is None else PathFinder.find_spec(module, list(folders))


def _is_target(text: str) -> bool:
    module, _, name = text.partition(":")
    return name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _texts(value: Any) -> Iterator[str]:
    """Every text among params, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
