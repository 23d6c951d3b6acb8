"""Names that another file must know: none known is an error, some unknown a counted warning."""

import logging
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from stclip.errors import DataError

logger = logging.getLogger(__name__)
_SHOWN = 3


def match_names(
    names: Iterable[str], known: Collection[str], *, where: str | Path, what: str, among: str
) -> np.ndarray:
    """Whether each name is known, bool (N,); what is not is counted in the log.

    Args:
        names: N names, of which some may be equal.
        known: all that there are.
        where: the names stand, for messages.
        what: has the names, in the plural.
        among: what `known` holds, in the plural.

    Raises:
        DataError: no name is known.
    """
    given = pd.Series(names if isinstance(names, pd.Series) else list(names), dtype="str")
    found = given.isin(list(known)).to_numpy()
    if found.all():
        return found
    distinct = given[~found].unique()
    shown = ", ".join(_with_likely(str(name), known) for name in distinct[:_SHOWN])
    more = f" and {len(distinct) - _SHOWN} more" if len(distinct) > _SHOWN else ""
    if not found.any():
        there = "" if len(known) else "; there are none"
        raise DataError(
            f"{where}: none of the {len(given)} {what} matches any of the {among}{there}: "
            f"{shown}{more}."
        )
    logger.warning(
        "%s: %d of %d %s match none of the %s and do not count: %s%s",
        where, (~found).sum(), len(given), what, among, shown, more,
    )  # fmt: skip
    return found


def _with_likely(name: str, known: Collection[str]) -> str:
    """The name, with the known one that it may be."""
    texts = list(map(str, known))
    base = [text for text in texts if text.rpartition("/")[2] == name.rpartition("/")[2]]
    likely = base or get_close_matches(name, texts, n=1, cutoff=0.8)
    return f"{name!r} (is it {likely[0]!r}?)" if likely else repr(name)
