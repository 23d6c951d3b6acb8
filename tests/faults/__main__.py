"""Breaks the main job of scale mini on purpose and sees whether it ends in the same table.

    PYTHONPATH=tests python -m faults [--short] [--seed N] [--only kills ...] [--out FILE.csv]

The copy that is broken has its data on a small file system of its own. This mount and all processes
lie in a namespace that ends with this one: it needs root, or a system where users may make
namespaces.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from small_project import make_finished
from tabulate import tabulate

from faults.disk import full_disk
from faults.downloads import cut_download
from faults.flips import changed_bytes
from faults.kills import kills
from faults.project import FaultError, Project
from faults.two import two_at_once

INSIDE = "FAULTS_INSIDE"  # environment variable: this is the namespace
TO_MAKE = Path()

FAULTS = {
    "changed bytes": changed_bytes,
    "two at once": two_at_once,
    "full disk": full_disk,
    "cut download": cut_download,
    "kills": kills,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--short", nargs="?", const=TO_MAKE, type=Path, metavar="FINISHED",
        help="a cut-down mini, or a copy of this finished one; one kill",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--out", type=Path, help="csv of the summary")
    arguments = parser.parse_args()
    _into_a_namespace()
    work = Path(tempfile.mkdtemp(prefix="stclip-faults-"))
    disk = work / "disk"
    disk.mkdir()
    size = "size=500m" if arguments.short else "size=4g"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(disk)], check=True)
    print(f"seed {arguments.seed}, {arguments.cores} cores, all in {work}", flush=True)
    try:
        whole = _break(arguments, work=work, disk=disk)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    if not whole:
        sys.exit(1)
    shutil.rmtree(work)


def _break(arguments: argparse.Namespace, *, work: Path, disk: Path) -> bool:
    """Run the faults and print what happened; whether all went well."""
    rng = random.Random(arguments.seed)
    short = make_finished(work / "finished") if arguments.short == TO_MAKE else arguments.short
    project = Project(work, disk=disk, short=short, cores=arguments.cores)
    project.measure()
    print(
        f"undisturbed: {project.duration_s:.0f} s, the first stage after {project.startup_s:.0f} s",
        flush=True,
    )
    rows = []
    for name in arguments.only:
        try:
            happened, well = FAULTS[name](project, rng), "yes"
        except FaultError as error:
            happened, well = str(error), "NO"
        rows.append((name, happened, well))
        print(f"{name}: {well}: {happened}", flush=True)
        if well == "NO" and name != arguments.only[-1]:
            project.begin_anew()
    summary = pd.DataFrame(rows, columns=["fault", "what happened", "taken well"])
    summary["scale"] = "cut-down mini" if arguments.short else "mini"
    print("\n" + tabulate(summary.to_numpy(), summary.columns, maxcolwidths=[None, 80]))
    if arguments.out:
        summary.to_csv(arguments.out, index=False)
    return bool((summary["taken well"] == "yes").all())


def _into_a_namespace() -> None:
    """Go on where mounts are nobody else's and no process outlives this one."""
    if INSIDE in os.environ:
        return
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["--map-root-user"] if os.geteuid() else []
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(
            f"a namespace of its own is needed ({error}); run this as root on Linux, or allow "
            "users to make namespaces."
        )
    os.environ[INSIDE] = "1"
    os.execvp(command[0], [*command, sys.executable, "-m", "faults", *sys.argv[1:]])


if __name__ == "__main__":
    main()
