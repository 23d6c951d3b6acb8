"""The system's folders, where they are not as others expect: temporary files, caches."""

import logging
import os
import tempfile
from pathlib import Path

from stclip.errors import ConfigError

logger = logging.getLogger(__name__)

# A socket's name has at most 107 bytes on Linux, 103 elsewhere; below the folder stand up to 33:
# /pymp-xxxxxxxx/listener-xxxxxxxx, by which processes that read ahead hand over their batches.
LONGEST = 70


def shorten_temporary_folder() -> None:
    """Call a folder with a long name by a short one, in this process and its forks.

    Raises:
        ConfigError: the system has no short name for it.
    """
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:  # none can be written to: whoever needs one will say so
        return
    if len(os.fsencode(folder)) <= LONGEST:
        return
    descriptor = os.open(folder, os.O_RDONLY)  # as long as the process lives
    short = f"/proc/{os.getpid()}/fd/{descriptor}"
    if not Path(short).is_dir():
        raise ConfigError(
            f"TMPDIR {folder!r} has {len(os.fsencode(folder))} characters, too many for the names "
            f"of sockets in it; set TMPDIR to a folder of at most {LONGEST}."
        )
    tempfile.tempdir = short


def cache_folder() -> Path:
    """Where programs of this user keep what can be made anew; a folder of the project without."""
    return _usual_cache() or Path(".cache").absolute()


def cache_environment() -> dict[str, str]:
    """What Snakemake's environment needs, which stops without a cache below HOME to write to.

    Nothing if it has one, else a folder of the project.
    """
    if _usual_cache() is not None:
        return {}
    own = cache_folder()
    logger.info("the home folder cannot be written to; Snakemake's caches are in %s", own)
    return {"XDG_CACHE_HOME": str(own)}


def _usual_cache() -> Path | None:
    """None where it cannot be written to."""
    try:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        usual.mkdir(parents=True, exist_ok=True)
        return usual if os.access(usual, os.W_OK | os.X_OK) else None
    except (OSError, RuntimeError):  # there is no home at all
        return None
