"""Files that come with the package: settings name them `package:PATH`."""

from importlib.resources import files
from pathlib import Path

PACKAGE = "package:"


def path_of(name: str) -> Path:
    """A path, or that of the package's file that `package:PATH` names."""
    if name.startswith(PACKAGE):
        return Path(str(files("stclip") / name.removeprefix(PACKAGE)))
    return Path(name)
