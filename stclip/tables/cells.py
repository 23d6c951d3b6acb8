"""How numbers look in a table."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from stclip.evaluate.bootstrap import draw_seeds, interval

MISSING = "-"


def percent(fraction: float | None) -> str:
    """Percent with two decimals, or the sign of what is missing."""
    return MISSING if fraction is None else f"{100 * fraction:.2f}"


def printed(value: float | None) -> str:
    """A published value in percent, as it is printed."""
    return MISSING if value is None else f"{value:.2f}"


def interval_text(samples: Float[np.ndarray, "S R"], *, signed: bool = False) -> str:
    """The 95% interval of S seeds' R replicates: each replicate draws its seeds anew."""
    form = "{:+.2f}" if signed else "{:.2f}"
    drawn = np.take_along_axis(samples, draw_seeds(*samples.shape), axis=0)
    low, high = interval(drawn.mean(0))
    return f"[{form.format(100 * low)}, {form.format(100 * high)}]"


def range_text(numbers: Sequence[int]) -> str:
    """A number, or a range where there are several."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"
