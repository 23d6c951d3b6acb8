"""Numbers from files that somebody else wrote: none is cut off, and a complaint says where it is.

JSON gives numbers or text, csv text, pickles numpy's types: all are read alike, `"00014"` is 14.
A number that counts something (a frame, a second, a class) must be whole: 14.0 is, 14.5 is not.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stclip.errors import DataError

Place = str | Callable[[int], str]  # where all values stand, or the one at a position
Values = Sequence[Any] | np.ndarray | pd.Series


def as_numbers(values: Values, what: str, where: Place) -> np.ndarray:
    """Finite numbers, float64 (N,).

    Args:
        values: N numbers or texts.
        what: they are, for messages.
        where: they stand, for messages: a place, or a function from a position to its place.

    Raises:
        DataError: text that is no number, a truth value, a list, nothing, NaN or infinity.
    """
    if isinstance(values, np.ndarray | pd.Series) and values.dtype.kind in "iuf":
        numbers = np.asarray(values, np.float64)
    elif (column := _all_texts(values)) is not None:
        numbers = column
    else:
        numbers = np.array([_number(value) for value in values], np.float64)
    refuse(~np.isfinite(numbers), values, what, where, "is not a finite number")
    return numbers


def as_whole(values: Values, what: str, where: Place) -> np.ndarray:
    """Whole numbers, int64 (N,); as `as_numbers`.

    Raises:
        DataError: besides, a fraction, or a number beyond 2**53, past which float64 has gaps.
    """
    numbers = as_numbers(values, what, where)
    whole = (numbers % 1 == 0) & (np.abs(numbers) <= 2**53)
    refuse(~whole, values, what, where, "is not a whole number")
    return numbers.astype(np.int64)


def whole(value: Any, what: str, where: str) -> int:
    """`as_whole` for one."""
    return int(as_whole([value], what, where)[0])


def as_id(value: Any, where: str) -> int | str:
    """A name of something, as number or text; 5 and "5" are one.

    Raises:
        DataError: it is neither.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | np.number):
        raise DataError(f"{where}: id {plain(value)!r} is neither a number nor a text.")
    if isinstance(value, str):
        return int(value) if value.isdecimal() else value
    # ids may have more digits than float64 keeps
    return int(value) if isinstance(value, int | np.integer) else whole(value, "id", where)


def refuse(bad: np.ndarray, values: Values, what: str, where: Place, reason: str) -> None:
    """Complain about the first of the `bad` values, bool (N,), and say how many there are.

    Raises:
        DataError: there is one.
    """
    if not bad.any():
        return
    first = int(np.flatnonzero(bad)[0])
    value = values.iloc[first] if isinstance(values, pd.Series) else values[first]
    place = where if isinstance(where, str) else where(first)
    more = f"; {bad.sum()} like this" if bad.sum() > 1 else ""
    raise DataError(f"{place}: {what} {plain(value)!r} {reason}{more}.")


def plain(value: Any) -> Any:
    """Python's own number or text in place of numpy's, lists too: messages show no types.

    >>> plain(np.float64(1.5)), plain([np.str_("a")])
    (1.5, ['a'])
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    return value


def line_of(path: Any, table: pd.DataFrame | pd.Series) -> Callable[[int], str]:
    """The place of a row of a csv table whose index is the line number."""
    return lambda row: f"{path}: line {table.index[row]}"


def _all_texts(values: Values) -> np.ndarray | None:
    """A csv's column in one go, if every text is a number."""
    if isinstance(values, pd.Series) and isinstance(values.dtype, pd.StringDtype):
        try:
            return values.to_numpy(dtype=np.float64)
        except (ValueError, TypeError):
            return None
    return None


def _number(value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | int | float | np.number):
        return np.nan
    try:
        return float(value.replace("_", "?") if isinstance(value, str) else value)
    except (ValueError, TypeError, OverflowError):
        return np.nan
