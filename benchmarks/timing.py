"""The clock of the benchmarks: it waits until the device is idle, and ways take turns."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Taken:
    """Seconds of a call."""

    wall_s: float
    cpu_s: float  # of this process and its threads; others on the machine do not count

    @classmethod
    def median(cls, rounds: "list[Taken]") -> "Taken":
        """Of each clock."""
        return cls(median(r.wall_s for r in rounds), median(r.cpu_s for r in rounds))


@dataclass(frozen=True)
class Raced(Generic[T]):
    """What one of several ways took, and the result of its last round."""

    took: Taken  # medians
    result: T


def timed(call: Callable[[], T]) -> tuple[Taken, T]:
    """Seconds, until the device is idle, and the result."""
    _wait()
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    _wait()
    return Taken(time.perf_counter() - start, time.process_time() - cpu), result


def race(
    ways: Mapping[str, Callable[[], T]],
    *,
    rounds: int,
    warm_up: int = 0,
    before: Callable[[], None] = lambda: None,
    after: Callable[[int, str, Taken], None] = lambda number, name, took: None,
) -> dict[str, Raced[T]]:
    """Medians of rounds in which the ways take turns, so that what disturbs one disturbs all.

    Args:
        ways: what is called.
        rounds: that count, at least one.
        warm_up: rounds before them.
        before: each call, not counted.
        after: each call, with the round's number, the way's name and what it took.
    """
    times: dict[str, list[Taken]] = {name: [] for name in ways}
    results: dict[str, T] = {}
    for number in range(warm_up + rounds):
        for name, way in ways.items():
            before()
            took, results[name] = timed(way)
            after(number, name, took)
            if number >= warm_up:
                times[name].append(took)
    return {name: Raced(Taken.median(times[name]), results[name]) for name in ways}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
