"""What Snakemake needs to plan many jobs: `all` of 8 to 100 methods, 5 seeds, all data sets.

    python benchmarks/planning.py --out benchmarks/results/planning.csv
    python benchmarks/planning.py --against ../earlier --out benchmarks/results/planning.csv

A project is copied, its methods written again and again under other names, and `snakemake --dry-run
--quiet all` runs in it, with nothing done yet. Seconds are CPU time of the whole command, user and
system: the rest of the machine moves it less than the clock. `parse_s` is the same with one
download as the target; what `all` takes beyond it is `dag_s`; `batch_s` is a tenth of the runs, by
`--batch`. Another checkout (`--against`) is measured in turns with this one; `ratio` is its time
over this one's.
"""

import argparse
import csv
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import count
from pathlib import Path

import yaml
from results_file import put

from stclip.runtime.device import machine
from stclip.runtime.system_folders import cache_environment

HERE = Path(__file__).resolve().parents[1]
COPIED = ("config", "splits", "workflow", "profiles")
SIZES = ("8x2", "22x5", "100x5")  # methods x seeds
FIRST = "data/{scale}/models/{model}"  # a target of one job
MODELS = {"paper": "ViT-B-16.pt", "mini": "tiny_detector.safetensors"}
BATCH = ("models", "--batch", "models=1/10")  # metrics and pictures of all runs
COLUMNS = [
    *("scale", "methods", "seeds", "jobs", "parse_s", "dag_s", "cpu_s", "batch_s"),
    *("earlier_s", "ratio", "on"),
]


def make_project(folder: Path, checkout: Path, *, methods: int, seeds: int) -> Path:
    """A copy of a checkout with so many methods and seeds."""
    folder.mkdir(parents=True)
    for name in COPIED:
        shutil.copytree(checkout / name, folder / name)
    shutil.copy(checkout / "Snakefile", folder)
    own = sorted((folder / "config" / "methods").glob("*.yaml"))
    names = [path.stem for path in own][:methods]
    for name, text in _more(own):
        if len(names) == methods:
            break
        (folder / "config" / "methods" / f"{name}.yaml").write_text(text, "utf-8")
        names.append(name)
    path = folder / "config" / "config.yaml"
    chosen = yaml.safe_load(path.read_text("utf-8"))
    chosen |= {"methods": names, "seeds": list(range(seeds))}
    path.write_text(yaml.safe_dump(chosen), "utf-8")
    return folder


def _more(own: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Names and texts of methods that differ from the committed ones in their learning rate."""
    for number in count(2):
        for path in own:
            content = yaml.safe_load(path.read_text("utf-8"))
            content.pop("variants", None)
            content["title"] += f", no. {number}"
            if content["train"]["iterations"]:
                content["train"]["lr"] = 1e-6 * number
            yield f"{path.stem}_{number}", yaml.safe_dump(content)


def dry_run(
    project: Path, checkout: Path, target: str, *options: str, scale: str
) -> tuple[float, int]:
    """CPU seconds of a dry run, and its jobs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [
        "snakemake",
        "--dry-run",
        "--quiet",
        "rules",
        "--cores",
        "8",
        "--config",
        f"scale={scale}",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command, *options, "--", target], cwd=project, capture_output=True, text=True,
        env={**os.environ, **cache_environment(), **own},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{project}: {' '.join(done.args)} failed:\n{done.stdout}{done.stderr}")
    lines = (done.stdout + done.stderr).splitlines()
    jobs = [int(line.split()[1]) for line in lines if line.startswith("total ")]
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, jobs[0] if jobs else 0


def measure(
    folder: Path, checkouts: Sequence[Path], *, methods: int, seeds: int, scale: str, rounds: int
) -> dict[str, object]:
    """A row: medians over the rounds, in each of which all checkouts have their turn."""
    projects = [
        make_project(folder / str(number), checkout, methods=methods, seeds=seeds)
        for number, checkout in enumerate(checkouts)
    ]
    first = FIRST.format(scale=scale, model=MODELS[scale])
    taken: list[list[tuple[float, float]]] = [[] for _ in checkouts]
    jobs = 0
    for _ in range(rounds):
        for own, project, checkout in zip(taken, projects, checkouts, strict=True):
            parse, _ = dry_run(project, checkout, first, scale=scale)
            whole, jobs = dry_run(project, checkout, "all", scale=scale)
            own.append((parse, whole))
    (parse, whole), *earlier = (
        [statistics.median(of_all) for of_all in zip(*own, strict=True)] for own in taken
    )
    batch, _ = dry_run(projects[0], HERE, *BATCH, scale=scale)
    row: dict[str, object] = {"scale": scale, "methods": methods, "seeds": seeds, "jobs": jobs}
    row |= {"parse_s": f"{parse:.1f}", "dag_s": f"{whole - parse:.1f}", "cpu_s": f"{whole:.1f}"}
    row |= {"batch_s": f"{batch:.1f}"}
    for _, before in earlier:
        row |= {"earlier_s": f"{before:.1f}", "ratio": f"{before / whole:.2f}"}
    return row


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="METHODSxSEEDS ...")
    parser.add_argument("--scales", nargs="+", default=["paper", "mini"], choices=MODELS)
    parser.add_argument("--against", type=Path, help="a checkout to compare with")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    checkouts = [HERE, *([args.against.resolve()] if args.against else [])]
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for scale in args.scales:
        for size in args.sizes:
            methods, seeds = map(int, size.split("x"))
            with tempfile.TemporaryDirectory() as folder:
                row = measure(
                    Path(folder), checkouts, methods=methods, seeds=seeds, scale=scale,
                    rounds=args.rounds,
                )  # fmt: skip
            writer.writerow(row | {"on": machine()})
            sys.stderr.write(f"{row}\n")
    put(text.getvalue(), args.out)


if __name__ == "__main__":
    main()
