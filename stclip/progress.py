"""A line every few seconds on where long work stands; readable on a terminal and in a log file."""

import logging
import time

logger = logging.getLogger(__name__)


class Progress:
    """Counts units of work and logs `what 120/300 (40%), 8.1/s, 22 s left, loss 0.93`."""

    def __init__(self, what: str, *, total: int, done: int = 0, every_s: float = 10.0) -> None:
        """`done`: units finished by an earlier try."""
        self.what, self.total, self.done = what, total, done
        self._every_s = every_s
        self._began = self._spoke = time.monotonic()
        self._before = done

    def advance(self, units: int = 1, **values: float) -> None:
        """Count `units` as done; `values` are shown when a line is due."""
        self.done += units
        now = time.monotonic()
        if now - self._spoke < self._every_s and self.done < self.total:
            return
        self._spoke = now
        rate = (self.done - self._before) / max(now - self._began, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        shown = "".join(f", {name} {value:.4g}" for name, value in values.items())
        logger.info(
            "%s %d/%d (%.0f%%), %.3g/s, %.0f s left%s",
            self.what, self.done, self.total, 100 * self.done / max(self.total, 1), rate, left,
            shown,
        )  # fmt: skip
