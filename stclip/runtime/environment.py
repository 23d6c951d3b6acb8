"""Environment variables of the project: a misspelt one would change nothing, silently."""

import os

from stclip.config import check_name
from stclip.config.resolved import RESOLVED
from stclip.runtime.preload import ADDRESS

PREFIX = "STCLIP_"
VARIABLES = (ADDRESS, RESOLVED)


def check_environment() -> None:
    """Refuse variables that begin like the project's and are none of them.

    Raises:
        ConfigError: there is one.
    """
    for name in sorted(os.environ):
        if name.startswith(PREFIX):
            check_name(name, VARIABLES, what="environment variable")
