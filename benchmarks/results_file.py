"""Where the benchmarks put what they found: on the screen and, if asked, into a file."""

import platform
import sys
from pathlib import Path
from types import ModuleType


def one_core(*libraries: ModuleType) -> str:
    """The machine of what is measured on one core, with the versions that matter."""
    versions = (f"{library.__name__} {library.__version__}" for library in libraries)
    parts = (platform.machine(), "one core", f"Python {platform.python_version()}", *versions)
    return ", ".join(parts)


def put(text: str, out: Path | None) -> None:
    """Print, and write to `out`."""
    sys.stdout.write(text)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, "utf-8")
