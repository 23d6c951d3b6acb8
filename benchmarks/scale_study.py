"""What 100 methods, 5 seeds and 3 data sets cost, and where one machine ends: a simulation.

    python benchmarks/scale_study.py --out docs/results/paper/scale_study.csv

The project of `planning.py` at scale paper: the committed methods, written again and again. Its
jobs are those of Snakemake's dry run, their work is counted and their time assumed as `stclip plan`
does (docs/scaling.md). A row is a number of methods on a number of GPUs; its jobs are those behind
the metrics of all their runs. On a cluster each job with a GPU also waits and parses the workflow
(`Queue`): as one job a run, with five seeds one after the other in a job, or as Slurm's arrays.
"""

import argparse
import contextlib
import csv
import tempfile
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from planning import HERE, make_project
from results_file import put

from stclip.config import read_yaml
from stclip.costs.cluster import Groups, Queue, grouped, in_arrays, queued
from stclip.costs.plan import Job, dry_run, wall_clock, with_all_before
from stclip.costs.rates import Rates
from stclip.costs.workload import Workload

SEEDS = 5
METHODS = (10, 25, 50, 100)
MACHINES = (1, 8)
CLUSTERS = (16, 64)
WHOLE_RUN = ("train", "score", "evaluate")
GROUPS = (
    Groups(name="score with evaluate", rules=("score", "evaluate")),  # as profiles/slurm has it
    Groups(name="a run", rules=WHOLE_RUN),
    Groups(name="five runs", rules=WHOLE_RUN, runs=SEEDS),
)
ARRAYS = ("train", "score")  # those of which there are many; the plugin takes no grouped jobs


def of_methods(jobs: Sequence[Job], names: Sequence[str]) -> list[Job]:
    """The jobs behind the metrics of some methods on the data sets' own splits."""
    by_number = {job.number: job for job in jobs}
    chosen = {*names}
    wanted = (j.number for j in jobs if j.rule == "evaluate" and j.wildcards["method"] in chosen)
    return with_all_before(by_number, wanted)


def rows(jobs: Sequence[Job], names: Sequence[str], workload: Workload) -> Iterator[dict[str, str]]:
    """A row for each place to run on."""
    rates, queue = Rates(), Queue()
    for methods in METHODS:
        part = of_methods(jobs, names[:methods])
        work = {job.number: workload.of(job.rule, job.wildcards) for job in part}
        seconds = {
            job.number: rates.seconds(work[job.number], threads=job.threads, gpus=job.gpus)
            for job in part
        }
        of_runs = sum(work[j.number].written for j in part if j.rule in ("train", "score"))
        written = sum(its.written for its in work.values())
        head = {
            "methods": str(methods),
            "runs": str(sum(job.rule == "evaluate" for job in part)),
            "jobs": str(len(part)),
            "data GB": f"{(written - of_runs) / 1e9:.0f}",
            "runs GB": f"{of_runs / 1e9:.0f}",
        }
        for gpus in MACHINES:
            yield head | _cells(part, seconds, "one machine", "", gpus)
        for gpus in CLUSTERS:
            for groups in GROUPS:
                submitted = queued(*grouped(part, seconds, groups), queue)
                yield head | _cells(*submitted, "cluster", groups.name, gpus)
            submitted = queued(in_arrays(part, ARRAYS), seconds, queue)
            yield head | _cells(*submitted, "cluster", "a task of an array", gpus)


def _cells(
    jobs: Sequence[Job], seconds: dict[int, float], where: str, group: str, gpus: int
) -> dict[str, str]:
    hours = sum(seconds[job.number] * job.gpus for job in jobs) / 3600
    clock = wall_clock(jobs, seconds, gpus=gpus) / 3600
    return {
        "where": where,
        "GPUs": str(gpus),
        "one job is": group,
        "GPU jobs": str(sum(job.gpus > 0 for job in jobs)),
        "GPU h": f"{hours:.0f}",
        "h": f"{clock:.1f}",
        "days": f"{clock / 24:.1f}",
        "GPUs busy": f"{100 * hours / (gpus * clock):.0f}%",
    }


def main() -> None:
    """Plan, simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder, "p"), HERE, methods=max(METHODS), seeds=SEEDS)
        with contextlib.chdir(project):
            jobs = dry_run(["all"], "paper")
            names = read_yaml(Path("config", "config.yaml"))["methods"]  # the committed ones first
            table = list(rows(jobs, names, Workload(Path("config"), "paper")))
    text = StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    put(text.getvalue(), args.out)


if __name__ == "__main__":
    main()
