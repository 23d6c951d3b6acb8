"""How fast a machine does each kind of job, from what the jobs of a rehearsal took there.

A job takes its start, and its work at the speed of its loop; the evaluation of a few boxes is all
start, so boxes come at an assumed speed. Measured times are means over the jobs that are
most alike: of the same rule, data set and method, else of the same rule and method, else of the
same rule.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stclip.costs.plan import Job
from stclip.costs.rates import Rates, Work
from stclip.errors import ConfigError, DataError
from stclip.runtime.usage import Usage, read_usage, usage_of

logger = logging.getLogger(__name__)
KINDS = ("operations", "pictures")  # of work, the one that takes longest first
GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True)
class Done:
    """A job of the rehearsal, what there was to do, and what it took."""

    job: Job
    work: Work
    usage: Usage

    @property
    def disk(self) -> int:
        """Bytes of its outputs."""
        paths = [Path(output) for output in self.job.outputs]
        files = [f for path in paths for f in (path.rglob("*") if path.is_dir() else [path])]
        return sum(file.stat().st_size for file in files if file.is_file())


def read_done(
    jobs: Sequence[Job], *, work_of: Callable[[str, Mapping[str, str]], Work]
) -> list[Done]:
    """What the jobs took; one that keeps no record, as a copy, is left out.

    Raises:
        ConfigError: a job has not run yet. DataError: none left a record, or one is damaged.
    """
    missing = [path for job in jobs for path in job.outputs if not Path(path).exists()]
    if missing:
        raise ConfigError(
            f"{len(missing)} files of the rehearsal are missing, as {missing[0]}; run it to its "
            "end first (docs/rehearsal.md)."
        )
    found = []
    for job in jobs:
        for log in job.logs:
            path = usage_of(Path(log))
            if path.exists():
                found.append(
                    Done(job=job, work=work_of(job.rule, job.wildcards), usage=read_usage(path))
                )
    if not found:
        raise DataError(
            f"none of the {len(jobs)} jobs left a record of what it took; delete the results of "
            "the rehearsal and run it again."
        )
    return found


class Speeds:
    """The measured speed of each kind of job."""

    def __init__(self, done: Sequence[Done], *, rates: Rates) -> None:
        """`done`: the jobs of the rehearsal; `rates`: for what a few clips do not tell."""
        self._rates = rates
        self._of: dict[tuple[str, ...], list[Done]] = defaultdict(list)
        for each in done:
            for kind in kinds_of(each.job):
                self._of[kind].append(each)

    def of_all(self, planned: Iterable[tuple[Job, Work]]) -> dict[int, float]:
        """The seconds of each job, by its number; the log says whose speed others lend.

        Raises:
            ConfigError: as `seconds`.
        """
        planned = list(planned)
        unlike = [job.rule for job, _ in planned if kinds_of(job)[0] not in self._of]
        lent = {rule: n for rule, n in Counter(unlike).items() if (rule,) in self._of}
        if lent:
            named = ", ".join(f"{n} of {rule}" for rule, n in lent.items())
            logger.info("plan: by jobs of other data sets or methods: %s", named)
        return {job.number: self.seconds(job, work) for job, work in planned}

    def seconds(self, job: Job, work: Work) -> float:
        """How long a job takes on that machine.

        Raises:
            ConfigError: no job of its rule was in the rehearsal.
        """
        for kind in kinds_of(job):
            if alike := self._of.get(kind):
                return _seconds(work, alike) + work.rows / self._rates.rows_per_s
        if work == Work():
            return 0.0  # makes a file out of files; no such job was measured
        raise ConfigError(
            f"the rehearsal had no job of rule {job.rule}; rehearse the same tables, and those of "
            "the same data sets."
        )


def kinds_of(job: Job) -> list[tuple[str, ...]]:
    """What a job is compared by, the closest first."""
    named = job.wildcards
    what = tuple(named[key] for key in ("method", "detector", "objects", "table") if key in named)
    data = named.get("dataset", "")
    return [(job.rule, data, *what), (job.rule, "", *what), (job.rule, data), (job.rule,)]


def _seconds(work: Work, alike: Sequence[Done]) -> float:
    starts = [max(0.0, d.usage.seconds - d.usage.loop_s) for d in alike]
    start = sum(starts) / len(starts)
    for unit in KINDS:
        units = sum(getattr(d.work, unit) for d in alike)
        if units:
            looped = sum(d.usage.loop_s for d in alike)
            return start + looped * getattr(work, unit) / units
    return sum(d.usage.seconds for d in alike) / len(alike)


def stage_table(
    done: Sequence[Done], planned: Sequence[tuple[Job, Work]], *, seconds: Mapping[int, float]
) -> pd.DataFrame:
    """A row per rule, in the order of the road: what the rehearsal took, what the real run will.

    Args:
        done: jobs of the rehearsal.
        planned: jobs of the real run, and their work.
        seconds: of each planned job, by its number.

    Returns:
        Text cells: jobs, minutes by the clock and of processors, memory of the largest process and
        of tensors on the GPU (GB), files (GB); then jobs, hours and GB of the real run, "-" where
        nothing is counted, as for downloads.
    """
    rehearsed, real = defaultdict(list), defaultdict(list)
    for each in done:
        rehearsed[each.job.rule].append(each)
    for job, work in planned:
        real[job.rule].append((job, work))
    rows = []
    for rule in _in_road_order([each.job for each in done]):
        ours, theirs = rehearsed[rule], real[rule]
        hours = sum(seconds[job.number] for job, _ in theirs) / 3600
        written = sum(work.written for _, work in theirs)
        rows.append(
            {
                "rule": rule,
                "jobs": str(len(ours)),
                "min": f"{sum(d.usage.seconds for d in ours) / 60:.1f}",
                "CPU min": f"{sum(d.usage.cpu_s for d in ours) / 60:.1f}",
                "memory GB": f"{max(d.usage.memory for d in ours) / GIGABYTE:.1f}",
                "GPU memory GB": f"{max(d.usage.gpu_memory for d in ours) / GIGABYTE:.1f}",
                "files GB": f"{sum(d.disk for d in ours) / GIGABYTE:.2f}",
                "real jobs": str(len(theirs)) if theirs else "-",
                "real h": f"{hours:.2f}" if theirs else "-",
                "real files GB": f"{written / GIGABYTE:.2f}" if written else "-",
            }
        )
    return pd.DataFrame(rows, dtype="str")


def _in_road_order(jobs: Sequence[Job]) -> list[str]:
    """Rules, those first whose jobs wait for the fewest others in a row."""
    by_number = {job.number: job for job in jobs}
    depth: dict[int, int] = {}

    def depth_of(number: int) -> int:
        if number not in depth:
            before = [depth_of(n) for n in by_number[number].after if n in by_number]
            depth[number] = 1 + max(before, default=0)
        return depth[number]

    deepest: dict[str, int] = defaultdict(int)
    for job in jobs:
        deepest[job.rule] = max(deepest[job.rule], depth_of(job.number))
    return sorted(deepest, key=lambda rule: (deepest[rule], rule))
