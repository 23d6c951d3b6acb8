"""Seeds as a person writes them: numbers, and ranges of them."""

import re
from typing import Any

from stclip.errors import ConfigError

_RANGE = re.compile(r"(\d+)-(\d+)")
_MOST = 10_000  # a longer range is a slip of the finger


def expand_seeds(given: Any) -> Any:
    """Seeds or ranges of them, one or a list, as a list of numbers.

    What is no number is left as it is, for the check that follows.

    >>> expand_seeds("0-2"), expand_seeds(["0", "3-4"]), expand_seeds(7)
    ([0, 1, 2], [0, 3, 4], [7])

    Raises:
        ConfigError: a range runs backwards, or is very long.
    """
    parts = given if isinstance(given, list) else [given]
    return [seed for part in parts for seed in _expand(part)]


def _expand(part: Any) -> list[Any]:
    if not isinstance(part, str):
        return [part]
    ends = _RANGE.fullmatch(part.strip())
    if ends is None:
        return [int(part) if part.strip().isdecimal() else part]
    first, last = int(ends[1]), int(ends[2])
    if not first <= last < first + _MOST:
        raise ConfigError(f"seeds {part!r}: a range goes up, as 0-4, to at most {_MOST} seeds.")
    return list(range(first, last + 1))
