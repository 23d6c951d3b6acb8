"""Bytes that change on the disk, in files that a stage reads later."""

import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from faults.project import Project, expect
from stclip.config import load_method
from stclip.config.hashes import frames_key
from stclip.records import LabelSplit

DATA, RUNS = "data/mini/jhmdb", "runs/mini/jhmdb/st-clip/1"
READ_AGAIN = {  # stage -> what is deleted of a run, so that the stage runs again
    "train": ("weights.safetensors", "scores_*", "metrics.json"),
    "score": ("scores_*", "metrics.json"),
    "evaluate": ("metrics.json",),
    "tables": (),
}


@dataclass(frozen=True)
class Damage:
    """A byte of `file` changes; then the stage `reader` runs again for `method`."""

    file: str
    reader: str
    method: str
    remedy: str | None = None  # what the message says to delete, if not the file


def changed_bytes(project: Project, rng: random.Random) -> str:
    """Change bytes: the stages that read them name the files, and doing what they say helps."""
    config = project.folder / "config"
    third = min({p.name for p in (project.folder / RUNS).iterdir()} - {"st_clip", "clip_frame"})
    frames = frames_key(load_method(config, "clip_frame", dataset="jhmdb", scale="mini"))
    clip = LabelSplit.read(project.folder / DATA / "splits/st-clip/1.json").unseen_clips[0]
    checkpoint = Damage(f"{RUNS}/st_clip/0/checkpoint.pt", "train", "st_clip")
    groups = [
        [
            checkpoint,
            Damage(f"{DATA}/features/{frames}.safetensors", "score", "clip_frame"),
            Damage(f"{RUNS}/{third}/0/scores_gt_unseen.parquet", "evaluate", third),
        ],
        [Damage(f"{RUNS}/st_clip/0/weights.safetensors", "score", "st_clip")],
        [Damage(f"{DATA}/detections/tiny/all.parquet", "score", third)],
        [Damage(f"{RUNS}/st_clip/0/metrics.json", "tables", "st_clip")],
        [Damage(f"{DATA}/clips.parquet", "score", third)],
        [Damage(f"{DATA}/frames/{clip}.npy", "score", "st_clip", remedy=f"{DATA}/frames")],
    ]
    if project.short:
        groups = groups[:1]
    _interrupt(project, checkpoint)
    for group in groups:
        _break_and_heal(project, rng, group)
    names = ", ".join(damage.file for group in groups for damage in group)
    return f"{names}: an error that names the file and says what to delete; then the same table"


def _interrupt(project: Project, checkpoint: Damage) -> None:
    _forget(project, checkpoint)
    run = project.start()
    run.until((project.folder / checkpoint.file).exists, "the first checkpoint")
    run.kill()


def _forget(project: Project, damage: Damage) -> None:
    run = f"{RUNS}/{damage.method}/0"
    project.forget("results/*", *(f"{run}/{name}" for name in READ_AGAIN[damage.reader]))


def _break_and_heal(project: Project, rng: random.Random, group: Sequence[Damage]) -> None:
    """The files of a group are read by jobs that do not need each other."""
    for damage in group:
        path = project.folder / damage.file
        content, times = bytearray(path.read_bytes()), path.stat()
        content[rng.randrange(len(content) // 4, 3 * len(content) // 4)] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # a disk tells nobody either
        _forget(project, damage)
    told = project.fail("--keep-going")
    for damage in group:
        delete = damage.remedy or damage.file
        message = rf"error: {re.escape(damage.file)}: damaged.*(Delete it|delete {delete})"
        expect(re.search(message, told), f"no error names {damage.file}, which was changed")
        project.forget(delete)
    project.finish()
