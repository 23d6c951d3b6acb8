"""Uploads runs that W&B kept offline, each once; wandb's own `sync` does it."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stclip.errors import TrackingError
from stclip.storage.files import read_json_lines
from stclip.tracking.wandb_runs import FINISHED, close_wandb, why_not_online

logger = logging.getLogger(__name__)
BOUNDS = {  # of `wandb sync`, which would retry for hours; a try waits 2, 4, 8, ... seconds
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_HTTP_TIMEOUT": "20",
    "WANDB__GRAPHQL_RETRY_MAX": "4",
    "WANDB__FILE_STREAM_RETRY_MAX": "4",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "4",
}

LOGS = "logs/debug-sync.*.log"


@dataclass
class Plan:
    """Data of runs (`run-{id}.wandb`), oldest first, by what is to be done with them."""

    upload: list[Path] = field(default_factory=list)
    uploaded: list[Path] = field(default_factory=list)  # before
    unfinished: list[Path] = field(default_factory=list)  # at work, killed or failed
    superseded: list[Path] = field(default_factory=list)  # the same work was done again since


def plan_sync(folder: Path) -> Plan:
    """Sort the runs in W&B's folder; of an id only the last finished one is uploaded."""
    plan, last = Plan(), set[str]()
    # offline-run-{time}-{id}/run-{id}.wandb; run-... of one that was online and was cut off
    found = sorted(
        folder.glob("*run-*/run-*.wandb"), key=lambda p: p.parent.name.removeprefix("offline-")
    )
    for path in reversed(found):
        if not (path.parent / FINISHED).exists():
            kind = plan.unfinished
        elif _run_id(path) in last:
            kind = plan.superseded
        else:
            last.add(_run_id(path))
            kind = plan.uploaded if _mark(path).exists() else plan.upload
        kind.insert(0, path)
    return plan


def sync(folder: Path, *, entity: str | None = None, upload: "Upload | None" = None) -> None:
    """Upload what waits in W&B's folder, and say what does not and why.

    Args:
        folder: W&B's folder of runs.
        entity: user or team; None for the key's own.
        upload: does it, and leaves wandb's mark beside what arrived.

    Raises:
        TrackingError: no key, no network, or a run did not arrive; the next call tries it again.
    """
    plan = plan_sync(folder)
    logger.info(
        "sync: %s has %d runs to upload, %d uploaded before, %d superseded by a later try of the "
        "same work, %d unfinished%s",
        folder, len(plan.upload), len(plan.uploaded), len(plan.superseded), len(plan.unfinished),
        "".join(f"\n  unfinished: {path.parent.name}" for path in plan.unfinished),
    )  # fmt: skip
    if not plan.upload:
        return
    reason = why_not_online()
    close_wandb()
    if reason:
        raise TrackingError(f"nothing was uploaded: {reason}.")
    (upload or wandb_sync)(plan.upload, entity)
    left = [path for path in plan.upload if not _mark(path).exists()]
    logger.info("sync: uploaded %d runs", len(plan.upload) - len(left))
    if left:
        raise TrackingError(
            f"{len(left)} of {len(plan.upload)} runs did not arrive: "
            f"{[path.parent.name for path in left]}; W&B says why above or in the latest "
            f"{folder / LOGS}. Run `stclip sync` again."
        )


Upload = Callable[[Sequence[Path], str | None], None]


def wandb_sync(paths: Sequence[Path], entity: str | None) -> None:
    """`wandb sync`, which puts a mark beside each run that it is done with.

    It does so too where the server did not take everything, which only its log tells.
    """
    folder = paths[0].parents[1]
    logs = set(folder.glob(LOGS))
    command = [sys.executable, "-m", "wandb", "sync", "--include-online"]
    command += ["--entity", entity] if entity else []
    environment = {k: v for k, v in os.environ.items() if k != "WANDB_MODE"} | BOUNDS
    environment["WANDB_DIR"] = str(folder.parent.resolve())  # where its log goes
    subprocess.run([*command, *map(str, paths)], stdin=subprocess.DEVNULL, env=environment)
    logs = set(folder.glob(LOGS)) - logs
    lines = [line for log in logs for line in read_json_lines(log)]
    errors = [line for line in lines if line["level"].startswith("ERROR")]
    failed = {Path(line["sync_path"]).resolve() for line in errors if "sync_path" in line}
    for path in paths:
        if not logs or path.resolve() in failed:  # no log, no proof
            _mark(path).unlink(missing_ok=True)


def _run_id(path: Path) -> str:
    return path.stem.removeprefix("run-")


def _mark(path: Path) -> Path:
    return path.with_suffix(".wandb.synced")
