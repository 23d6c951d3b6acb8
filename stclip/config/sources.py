"""Whose code a setting names, and its digest: an edit of one's own code counts as one of a key.

The module that a `target: module:name` names counts, and the modules that it imports, directly or
not, as far as import statements say; `baselines` too. What lies in Python's own library or among
installed packages is not followed. The suite's code stands under `stage_version` instead: it counts
neither where it is imported nor, if listed in `SUITE`, where it is named. A module of one's own may
lie in this package (docs/add-a-dataset.md), it is not listed. Nothing is imported to find it out.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from stclip.config.one_state import once_in_a_state
from stclip.errors import ConfigError

OWN = __name__.partition(".")[0]
SUITE = {  # what settings name of the suite; a listed module's stage must be raised by hand
    *(f"{OWN}.prepare.{name}" for name in ("authors", "ava", "gttubes", "jhmdb", "ucf101_24")),
    *(f"{OWN}.detect.backends.{name}" for name in ("detectron2", "file", "torchvision")),
    *(
        f"{OWN}.mini.{name}"
        for name in ("jhmdb_archives", "ucf_archives", "ava_archives", "tiny_detector")
    ),
    f"{OWN}.methods.st_clip.st_clip",
}
_INSTALLED = {"site-packages", "dist-packages"}


def sources_of(target: str, params: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Module -> SHA-256 of its file, of a target and of every `module:name` among its params.

    Empty where all of it is the suite's.

    Raises:
        ConfigError: the target's module does not exist; a file is no Python.
    """
    module, _, _ = target.partition(":")
    top = module.partition(".")[0]
    if _spec(module) is None:
        raise ConfigError(
            f"target {target!r}: there is no module {module!r} where Python looks for modules; it "
            "must be module:name, of a package that is installed or a folder on PYTHONPATH."
        )
    found: dict[str, str] = {}
    seen: set[str] = set()
    named = {module, *(text.partition(":")[0] for text in _texts(params) if _is_target(text))}
    waiting = set(named)
    while waiting:
        name = waiting.pop()
        counts = name not in SUITE if name in named else not _is_library(name)
        file = _file(name) if counts and name not in seen else None
        seen.add(name)
        if file is None or (_INSTALLED & {*file.parts} and name.partition(".")[0] != top):
            continue
        content = file.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
        waiting.update(_imports(name, file, content))
        waiting.update({name.rpartition(".")[0]} - {""})  # the package's __init__ runs too
    return dict(sorted(found.items()))


def _is_library(module: str) -> bool:
    """Python's own modules, and the suite's where they are imported."""
    return module.partition(".")[0] in sys.stdlib_module_names | {OWN}


@once_in_a_state
def _imports(module: str, file: Path, content: bytes) -> frozenset[str]:
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
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def _file(module: str) -> Path | None:
    """The Python file of a module; None where there is none."""
    spec = _spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@once_in_a_state
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
