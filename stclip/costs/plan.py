"""What tables cost before anything runs: jobs, GPU hours, disk, wall-clock time.

The jobs and what they wait for are those of Snakemake's own dry run, their work is counted
(`stclip.costs.workload`); how fast it is done is assumed (`stclip.costs.rates`).
"""

import heapq
import logging
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from stclip.costs.rates import Rates, Work
from stclip.errors import ConfigError
from stclip.runtime.system_folders import cache_environment

logger = logging.getLogger(__name__)
STAGES = {  # rule -> column of its GPU hours
    "finetune": "detection",
    "detect": "detection",
    "objects": "detection",
    "frame_features": "features",
    "box_features": "features",
    "train": "training",
    "score": "scoring",
}
GPUS = (1, 8)  # wall-clock time on a machine of so many
_HEAD = re.compile(r"^(?:local)?rule (\w+):$")
_FIELD = re.compile(r"^    (\w+): (.*)$")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of the dry run."""

    number: int
    rule: str
    outputs: tuple[str, ...] = ()
    wildcards: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    gpus: int = 0
    after: frozenset[int] = frozenset()  # the jobs that it waits for
    logs: tuple[str, ...] = ()


def dry_run(targets: Sequence[str], scale: str) -> list[Job]:
    """Every job behind some targets, whether it has run already or not.

    Raises:
        ConfigError: Snakemake refuses; with what it said.
    """
    command = ["snakemake", *targets, "--dry-run", "--forceall", "--quiet", "host", "--cores", "64"]
    # No profile: a limit of GPUs would lower what jobs ask for.
    command += ["--workflow-profile", "none", "--config", f"scale={scale}"]
    environment = {**os.environ, **cache_environment()}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise ConfigError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return read_jobs((done.stdout + done.stderr).splitlines())


def read_jobs(lines: Iterable[str]) -> list[Job]:
    """The jobs that a dry run lists."""
    blocks: list[dict[str, str]] = []
    for line in lines:
        if head := _HEAD.match(line):
            blocks.append({"rule": head[1]})
        elif blocks and (found := _FIELD.match(line)):
            blocks[-1].setdefault(found[1], found[2])
    maker = {path: int(b["jobid"]) for b in blocks for path in _split(b.get("output", ""))}
    return [
        Job(
            number=int(block["jobid"]),
            rule=block["rule"],
            outputs=tuple(_split(block.get("output", ""))),
            wildcards=dict(_pairs(block.get("wildcards", ""))),
            threads=int(block.get("threads", 1)),
            gpus=int(dict(_pairs(block.get("resources", ""))).get("gpu", 0)),
            logs=tuple(_split(block.get("log", ""))),
            after=frozenset(maker[p] for p in _split(block.get("input", "")) if p in maker),
        )
        for block in blocks
    ]


def _split(text: str) -> list[str]:
    return [part for part in text.split(", ") if part]


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (part.partition("=") for part in _split(text))]


def behind(jobs: Mapping[int, Job], target: str) -> list[Job]:
    """The job that makes a target (a file, or a rule's name), and all that it waits for.

    Raises:
        ConfigError: no job makes it.
    """
    makers = [j.number for j in jobs.values() if target in j.outputs or target == j.rule]
    if not makers:
        raise ConfigError(f"no job of the dry run makes {target!r}; name a file or a rule.")
    return with_all_before(jobs, makers)


def with_all_before(jobs: Mapping[int, Job], numbers: Iterable[int]) -> list[Job]:
    """The jobs of these numbers and all that they wait for, by number."""
    open_, found = list(numbers), set[int]()
    while open_:
        number = open_.pop()
        if number not in found:
            found.add(number)
            open_ += jobs[number].after
    return [jobs[number] for number in sorted(found)]


def wall_clock(jobs: Sequence[Job], seconds: Mapping[int, float], *, gpus: int) -> float:
    """Seconds of list scheduling: whenever a GPU is free, the ready job with most behind it starts.

    Jobs without a GPU never wait for a core.
    """
    followers = defaultdict(list)
    for job in jobs:
        for number in job.after:
            followers[number].append(job.number)
    longest: dict[int, float] = {}  # from a job's start to the end of what follows it

    def rest(number: int) -> float:
        if number not in longest:
            longest[number] = seconds[number] + max(map(rest, followers[number]), default=0.0)
        return longest[number]

    waits = {job.number: len(job.after) for job in jobs}
    wanted = {job.number: min(job.gpus, gpus) for job in jobs}
    # By the GPUs that they want, as thousands may be ready: those that fit are found at once.
    ready: dict[int, list[tuple[float, int]]] = defaultdict(list)

    def add(number: int) -> None:
        heapq.heappush(ready[wanted[number]], (-rest(number), number))

    for job in jobs:
        if not waits[job.number]:
            add(job.number)
    running: list[tuple[float, int]] = []
    now, free = 0.0, gpus
    while running or any(ready.values()):
        while fit := [queue for want, queue in ready.items() if queue and want <= free]:
            _, number = heapq.heappop(min(fit))
            free -= wanted[number]
            heapq.heappush(running, (now + seconds[number], number))
        now, ended = heapq.heappop(running)
        free += wanted[ended]
        for number in followers[ended]:
            waits[number] -= 1
            if not waits[number]:
                add(number)
    return now


def build_plan(
    jobs: Sequence[Job],
    targets: Sequence[str],
    *,
    work_of: Callable[[str, Mapping[str, str]], Work],
    rates: Rates,
    seconds_of: Callable[[Job, Work], float] | None = None,
) -> pd.DataFrame:
    """A row per target, and one of all together.

    `seconds_of`: how long a job takes, where that was measured; None: by the assumed `rates`.

    Returns:
        Text cells: jobs, and those with a GPU; operations in P (10^15); hours of GPUs in all and by
        stage; GB that stay, of data and of runs; hours by the clock with 1 and 8 GPUs.
    """
    work = {job.number: work_of(job.rule, job.wildcards) for job in jobs}

    def assumed(job: Job, its: Work) -> float:
        return rates.seconds(its, threads=job.threads, gpus=job.gpus)

    seconds = {job.number: (seconds_of or assumed)(job, work[job.number]) for job in jobs}
    numbered = {job.number: job for job in jobs}
    wanted = {Path(target).stem: behind(numbered, target) for target in targets}
    if len(targets) > 1:
        together = {job.number: job for part in wanted.values() for job in part}
        wanted["all"] = list(together.values())
    rows = []
    for name, part in wanted.items():
        hours: dict[str, float] = defaultdict(float)
        for job in part:
            hours[STAGES.get(job.rule, "other")] += seconds[job.number] * job.gpus / 3600
        of_runs = sum(work[j.number].written for j in part if j.rule in ("train", "score"))
        written = sum(work[j.number].written for j in part)
        clock = {gpus: wall_clock(part, seconds, gpus=gpus) / 3600 for gpus in GPUS}
        rows.append(
            {
                "table": name,
                "jobs": str(len(part)),
                "GPU jobs": str(sum(job.gpus > 0 for job in part)),
                "operations, P": f"{sum(work[j.number].operations for j in part) / 1e15:.1f}",
                "GPU h": f"{sum(hours.values()):.2f}",
            }
            | {f"{s} h": f"{hours[s]:.2f}" for s in dict.fromkeys([*STAGES.values(), "other"])}
            | {"data GB": f"{(written - of_runs) / 1e9:.2f}", "runs GB": f"{of_runs / 1e9:.2f}"}
            | {f"h on {gpus} GPU{'s' * (gpus > 1)}": f"{h:.2f}" for gpus, h in clock.items()}
        )
    logger.info("plan: %d jobs for %s", len(jobs), ", ".join(wanted))
    return pd.DataFrame(rows, dtype="str")
