"""Keeps the names of sockets short where the folder of temporary files has a long one."""

import os
import tempfile
from pathlib import Path

from stclip.errors import ConfigError

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
