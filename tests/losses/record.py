"""Records numbers anew, after a change on purpose: `python tests/losses/record.py losses`.

`metrics` runs the cut-down miniature as a whole, some minutes. Raise the `stage_version` first.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
from conftest import make_world
from pinned import LOSSES, METRICS, record, versions_now
from small_project import TABLE, make_project, snakemake
from ten_steps import RELATIVE, TRAINED, ten_losses

ROOM = 2e-4  # of mAP, for other processors


def losses() -> None:
    """Write losses.json."""
    found = {}
    for name in TRAINED:
        with tempfile.TemporaryDirectory() as folder:
            world = make_world(Path(folder))
            found[name] = ten_losses(world, name, Path(folder) / "run")
    record(
        LOSSES, found, versions=versions_now(LOSSES.name),
        same=lambda old, new: old == pytest.approx(new, rel=RELATIVE),
    )  # fmt: skip


def metrics() -> None:
    """Write metrics.json."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        done = snakemake(project, TABLE)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        found = {
            f"{run['method']}/{boxes}/{labels}/{assumption}": {
                what: cell[what] for what in ("mAP", "interval", "video_mAP")
            }
            for path in sorted(project.glob("runs/mini/jhmdb/**/metrics.json"))
            for run in [json.loads(path.read_text("utf-8"))]
            for boxes, groups in run["metrics"].items()
            for labels, cells in groups.items()
            for assumption, cell in cells.items()
        }
    known = json.loads(METRICS.read_text("utf-8"))
    chosen = {name: found[name] for name in known}
    record(METRICS, chosen, versions=versions_now(METRICS.name), same=same_metrics)


def same_metrics(old: dict, new: dict) -> bool:  # type: ignore[type-arg]
    """As the test of the pipeline compares them."""
    return old["mAP"] == pytest.approx(new["mAP"], abs=ROOM) and old["video_mAP"] == pytest.approx(
        new["video_mAP"], abs=ROOM
    )


if __name__ == "__main__":
    {"losses": losses, "metrics": metrics}[sys.argv[1]]()
