"""Names in settings: an unknown one is refused with the known ones and the nearest of them."""

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from stclip.errors import ConfigError

V = TypeVar("V")
# A name becomes a part of a path and of a wildcard, and an argument of a command.
_NAME = re.compile(r"(?![\s.+-])[^\x00-\x1f/{}:=]*[^\s/{}:=]")


def known_names(name: object, known: Iterable[str], *, lead: str = "known are") -> str:
    """The end of a message about an unknown name: the known ones and, if one is near, that one.

    >>> known_names("iclp", ["act", "iclip"])
    "known are ['act', 'iclip']; the nearest is 'iclip'."
    >>> known_names("voc", ["act", "iclip"])
    "known are ['act', 'iclip']."
    """
    names = sorted(known)
    lower = {other.lower(): other for other in reversed(names)}
    near = get_close_matches(str(name).lower(), lower, n=1)
    return f"{lead} {names}{f'; the nearest is {lower[near[0]]!r}' if near else ''}."


def check_name(name: object, known: Collection[str], *, what: str) -> None:
    """Refuse an unknown name.

    Raises:
        ConfigError: `name` is not among the known ones; the message lists them.
    """
    if name not in known:
        raise ConfigError(f"unknown {what} {name!r}; {known_names(name, known)}")


def pick(choices: Mapping[str, V], name: str, *, what: str) -> V:
    """An entry of a mapping; an unknown name is a ConfigError that lists the known ones."""
    check_name(name, choices.keys(), what=what)
    return choices[name]


def check_form(name: str, *, what: str) -> None:
    """Refuse a name that can be no part of a path, or that a command would take for an option.

    Raises:
        ConfigError: `name` is empty, has a slash, brace, colon, equals sign or control character,
            begins with a point, plus, hyphen or space, or ends with a space.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {name!r}: a name stands in paths and commands. It must not be empty, have "
            "one of / { } : =, begin with a point, plus, hyphen or space, or end with a space; "
            "rename it."
        )


def check_once(names: Iterable[object], *, what: str) -> None:
    """Refuse a list that names something twice.

    Raises:
        ConfigError: one is there twice.
    """
    listed = list(names)
    twice = sorted({str(name) for name in listed if listed.count(name) > 1})
    if twice:
        raise ConfigError(f"{what}: {twice} are given twice; name each once.")
