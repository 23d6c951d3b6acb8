"""The jobs of a plan as a cluster sees them: grouped, and each waiting in a queue.

What comes out are jobs and seconds again, for `stclip.costs.plan.wall_clock`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stclip.costs.plan import Job

RUN = ("dataset", "family", "split", "method")  # wildcards of a run, without its seed


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What a job costs beside its work; assumptions."""

    wait_s: float = 60.0  # until a job that may start does, with a GPU free; no GPU is held
    held_s: float = 10.0  # with its GPU held: Slurm's hand-over, the workflow parsed on the node


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Which jobs of a run are one submission, and of how many runs."""

    name: str
    rules: tuple[str, ...] = ()
    runs: int = 1  # seeds of a method and split, one after the other; Snakemake mixes them


def grouped(
    jobs: Sequence[Job], seconds: Mapping[int, float], groups: Groups
) -> tuple[list[Job], dict[int, float]]:
    """Jobs and seconds with the jobs of a group as one, which takes the sum of their time.

    It asks for the most GPUs that any of them wants, and waits for all that they wait for.
    """
    parts: dict[object, list[Job]] = defaultdict(list)
    for job in jobs:
        parts[_group(job, groups)].append(job)
    leader = {job.number: part[0].number for part in parts.values() for job in part}
    merged, took = [], {}
    for first, *others in parts.values():
        part = [first, *others]
        after = {leader[n] for job in part for n in job.after if n in leader} - {first.number}
        merged.append(
            replace(first, gpus=max(job.gpus for job in part), after=frozenset(after))
        )  # fmt: skip
        took[first.number] = sum(seconds[job.number] for job in part)
    return merged, took


def _group(job: Job, groups: Groups) -> object:
    """What the jobs of a group have in common; of a job on its own its number."""
    if job.rule not in groups.rules:
        return job.number
    run = tuple(job.wildcards.get(name) for name in RUN)
    return (*run, int(job.wildcards["seed"]) // groups.runs)


def in_arrays(jobs: Sequence[Job], rules: Sequence[str]) -> list[Job]:
    """The same, but every job of a rule waits for all that any job of that rule waits for.

    So Snakemake's plugin submits `--slurm-array-jobs`: it holds a rule's jobs back until all of
    them, or a full array, may start.
    """
    before = {
        rule: frozenset[int]().union(*(job.after for job in jobs if job.rule == rule))
        for rule in rules
    }
    return [replace(job, after=before.get(job.rule, job.after)) for job in jobs]


def queued(
    jobs: Sequence[Job], seconds: Mapping[int, float], queue: Queue
) -> tuple[list[Job], dict[int, float]]:
    """The same with the wait of each job with a GPU before it, and what it holds its GPU for."""
    free = max((job.number for job in jobs), default=0) + 1
    found, took = [], dict(seconds)
    for job in jobs:
        if not job.gpus:
            found.append(job)
            continue
        wait = Job(number=free + len(found), rule="wait", after=job.after)
        found += [wait, replace(job, after=frozenset({wait.number}))]
        took[wait.number] = queue.wait_s
        took[job.number] += queue.held_s
    return found, took
