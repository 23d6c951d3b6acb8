"""A line every few seconds on where long work stands; readable on a terminal and in a log file."""

import logging
import time
from dataclasses import dataclass

logger = logging.getLogger(__name__)
EVERY_S = 10.0  # seconds between two lines
MEGABYTE = 1e6
AT_ONCE = 1e-3  # seconds, or share of the time until the first report: no work lies between


@dataclass
class Loop:
    """What a process has counted of one kind of work; its first batch may hold a slow start."""

    first_units: int = 0
    first_s: float = 0.0  # until then
    units: int = 0  # after that
    seconds: float = 0.0

    @property
    def unit_s(self) -> float:
        """Seconds of a unit, without the start where there is more than that."""
        if self.units:
            return self.seconds / self.units
        return self.first_s / max(self.first_units, 1)


loops: dict[str, Loop] = {}  # of this process, by what is counted


class Progress:
    """Counts units of work and logs `what 120/300 (40%), 8.1/s, 22 s left, loss 0.93`.

    Bytes are shown as MB. Where the total is unknown, percent and time left are left out.
    """

    def __init__(self, what: str, *, total: int | None, done: int = 0, unit: str = "") -> None:
        """Say what is counted.

        Args:
            what: the work's name.
            total: units in all; None if nobody knows.
            done: units finished by an earlier try.
            unit: "bytes", or a word that is shown behind the numbers, as "files".
        """
        self.what, self.total, self.done = what, total, done
        self._bytes = unit == "bytes"
        self._unit = " MB" if self._bytes else unit and f" {unit}"
        self._began = self._spoke = time.monotonic()
        self._before, self._ended = done, False
        self._reached = self._began  # the time of the last report
        self._loop = loops.setdefault(what, Loop())

    def advance(self, units: int = 1, **values: float) -> None:
        """Count `units` more as done; `values` are shown when a line is due."""
        self.reach(self.done + units, **values)

    def reach(self, done: int, **values: float) -> None:
        """So many units are done in all; as `advance`. The end is told too, once."""
        now = time.monotonic()
        self._count_in(done - self.done, now - self._reached)
        self.done, self._reached = done, now
        ends = self.total is not None and done >= self.total and not self._ended
        if now - self._spoke < EVERY_S and not ends:
            return
        self._spoke, self._ended = now, self._ended or ends
        shown = "".join(f", {name} {value:.4g}" for name, value in values.items())
        logger.info("%s %s%s", self.what, self._standing(now), shown)

    def _count_in(self, units: int, seconds: float) -> None:
        loop = self._loop
        # Units of one batch are reported one by one, without time between them.
        same_batch = seconds < max(AT_ONCE * loop.first_s, AT_ONCE)
        if not loop.first_units or (not loop.units and same_batch):
            loop.first_units += units
            loop.first_s += seconds
        else:
            loop.units += units
            loop.seconds += seconds

    def _standing(self, now: float) -> str:
        """`120/300 (40%), 8.1/s, 22 s left`."""
        rate = (self.done - self._before) / max(now - self._began, 1e-9)  # units/s
        speed = f"{rate / MEGABYTE if self._bytes else rate:.3g}{self._unit}/s"
        if self.total is None:
            return f"{self._count(self.done)}{self._unit}, {speed}"
        counted = f"{self._count(self.done)}/{self._count(self.total)}{self._unit}"
        left_s = (self.total - self.done) / max(rate, 1e-9)
        return f"{counted} ({self.done / max(self.total, 1):.0%}), {speed}, {left_s:.0f} s left"

    def _count(self, units: int) -> str:
        return f"{units / MEGABYTE:.1f}" if self._bytes else str(units)
