"""One state of the files of settings: while many settings are resolved, each file is read once.

A workflow of a hundred methods asks for the same scale, data sets and modules hundreds of times.
Within `one_state()` what it asked for before is taken from memory, so that all of it is resolved
from the same files, in time that grows with the methods and not with their square.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_kept: list[dict[Any, Any]] = []  # of the `one_state`s that are open; the outermost counts


@contextmanager
def one_state() -> Iterator[None]:
    """Inside, no file of settings is looked at twice: what changes meanwhile is not seen."""
    _kept.append({})
    try:
        yield
    finally:
        _kept.pop()


def once_in_a_state(make: Callable[P, T]) -> Callable[P, T]:
    """Within `one_state` the first result for the same arguments, else computed every time.

    The arguments are hashable, and nobody changes the result. An error is kept by no one.
    """

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> T:
        if not _kept:
            return make(*args, **kwargs)
        key = (make, args, tuple(sorted(kwargs.items())))
        if key not in _kept[0]:
            _kept[0][key] = make(*args, **kwargs)
        found: T = _kept[0][key]
        return found

    return made
