"""Where the time of the main job goes: seconds of its jobs by rule and method.

    make table2
    python benchmarks/main_job.py --out benchmarks/results/main_job.csv

Reads Snakemake's notes on what lies in the project's folder; let it be of one run on an idle
machine. Seconds are by the clock, from the start of a job to its end; as many jobs run at a time as
there are cores.
"""

import argparse
from pathlib import Path

import pandas as pd
from results_file import put

from stclip.runtime.device import machine
from stclip.runtime.snakemake_notes import NOTES
from stclip.storage.files import read_json

OF_METHODS = ("train", "score", "evaluate")  # rules whose logs lie in .../{method}/{seed}.log


def read_jobs(notes: Path) -> pd.DataFrame:
    """A row a job: rule, method (of `OF_METHODS`), first and last second."""
    outputs = []
    for file in filter(Path.is_file, notes.rglob("*")):
        note = read_json(file)
        log = Path(note["log"][0]) if note["log"] else Path()
        method = log.parent.name if note["rule"] in OF_METHODS else ""
        outputs.append((note["rule"], method, str(log), note["starttime"], note["endtime"]))
    columns = ["rule", "method", "log", "start", "end"]
    of_job = pd.DataFrame(outputs, columns=columns).groupby(["rule", "method", "log"])
    return of_job.agg({"start": "min", "end": "max"}).reset_index()


def main() -> None:
    """Sum, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    jobs = read_jobs(NOTES)
    jobs["seconds"] = jobs["end"] - jobs["start"]
    table = jobs.groupby(["rule", "method"])["seconds"].agg(["count", "sum"]).reset_index()
    table.columns = pd.Index(["rule", "method", "jobs", "seconds"])
    table = table.sort_values("seconds", ascending=False, kind="stable")
    whole = pd.DataFrame([{"rule": "all", "jobs": len(jobs), "seconds": table["seconds"].sum()}])
    took = jobs["end"].max() - jobs["start"].min()
    clock = pd.DataFrame([{"rule": "by the clock", "seconds": took}])
    table = pd.concat([table, whole, clock])
    table["seconds"] = table["seconds"].round().astype(int)
    table["jobs"] = table["jobs"].astype("Int64")
    table["on"] = machine()
    put(table.to_csv(index=False), args.out)


if __name__ == "__main__":
    main()
