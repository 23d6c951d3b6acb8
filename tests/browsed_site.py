"""Runs to browse: scored and evaluated in a tiny world; and a large page that is made up."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from conftest import BASE, UNSEEN, World, make_world

from stclip.config import load_dataset, load_method
from stclip.evaluate.evaluate import evaluate_run, write_run
from stclip.evaluate.rules import rules_of
from stclip.records import Scores
from stclip.report.browse_page import MEANINGS, SIZES
from stclip.report.browsed_rows import ALL_KINDS
from stclip.runtime.provenance import provenance

HOSTILE = '</script><script>document.title = "broken"</script><!--"'


def make_browsed(folder: Path) -> tuple[World, list[Path]]:
    """A world with its data where the workflow has them, and the folders of two runs.

    Of the unseen clips clip_8 has a person who claps, clip_9 one who jumps, from (10, 5) to
    (30, 40); on odd frames a second box has to do with nobody. Nothing is found on the last frame
    of clip_9.
    """
    world = make_world(folder)
    prepared = folder / "data" / "small" / "jhmdb"
    prepared.mkdir(parents=True)
    data = world.data
    data.clips.write(prepared / "clips.parquet")
    data.boxes.write(prepared / "boxes.parquet")
    data.key_frames.write(prepared / "key_frames.parquet")
    shutil.move(world.frames, prepared / "frames")
    world.split.write(prepared / "splits" / "st-clip" / "1.json")
    return world, [score_run(world, name, seed) for seed, name in enumerate(["clip_frame", "a5"])]


def score_run(world: World, method: str, seed: int) -> Path:
    """The folder of a run with scores drawn by chance, evaluated."""
    out = world.folder / "runs" / "small" / "jhmdb" / "st-clip" / "1" / method / str(seed)
    rng = np.random.default_rng(seed)
    found = world.detections.table.rename(columns={"score": "detector_score"})
    found = found.assign(y2=found["y2"] - 19 * (found["frame"] == 2))  # too little of the person
    scores = {}
    for group, labels, clips in (
        ("unseen", UNSEEN, world.split.unseen_clips),
        ("base", BASE, world.split.base_clips),
    ):
        table = found[found["clip"].isin(clips)]
        table = table[(table["clip"] != "clip_9") | (table["frame"] < 10)]  # of 0 to 10
        chances = rng.dirichlet(np.ones(len(labels)), len(table))
        scores["detected", group] = Scores.from_parts(table, chances, labels)
        scores["detected", group].write(out / f"scores_detected_{group}.parquet")
    data = world.data
    about = load_dataset(world.config, "jhmdb", scale="small")
    rules = rules_of(about, data.key_frames)
    settings = load_method(world.config, method, dataset="jhmdb", scale="small")
    parts = evaluate_run(
        scores, ground_truth=data.boxes, key_frames=data.key_frames, split=world.split, rules=rules,
        num_replicates=10,
    )  # fmt: skip
    head = provenance(settings, about, scale="small", split=world.split, seed=seed)
    write_run(out, *parts, head)
    return out


def made_up(count: int, picture: str) -> tuple[dict[str, Any], list[str]]:
    """Content of a page of so many predictions, a box each, on half as many frames of 640 x 360.

    A class and a clip have hostile names. Prediction i is of class i % 20, of kind i % 6.
    """
    rng = np.random.default_rng(0)
    names = [HOSTILE, *(f"class {n}" for n in range(1, 20))]
    frames = count // 2
    kinds = [kind for kind in ALL_KINDS if kind != "missed"]
    corners = [[x, y, x + w, y + h] for x, y, w, h in rng.integers(5, 150, (count, 4)).tolist()]
    scores = rng.random(count).round(4).tolist()
    content = {
        "rows": {
            "run": [0] * count,
            "label": [i % len(names) for i in range(count)],
            "score": scores,
            "rank": list(range(1, count + 1)),
            "kind": [i % len(kinds) for i in range(count)],
            "box": list(range(count)),
            "person": [i // 2 for i in range(count)],
        },
        "boxes": {
            "frame": [i // 2 for i in range(count)],
            "corners": corners,
            "detector": [0.9] * count,
            "overlap": rng.random(count).round(4).tolist(),
            "best": [[[i % len(names), scores[i]]] for i in range(count)],
        },
        "persons": {
            "frame": list(range(frames)),
            "corners": corners[:frames],
            "names": [[i % len(names)] for i in range(frames)],
        },
        "frames": {
            "clip": [f"clip {i // 20} {HOSTILE if i < 20 else ''}" for i in range(frames)],
            "frame": [i % 20 for i in range(frames)],
            "width": [640] * frames,
            "height": [360] * frames,
        },
        "names": names,
        "classes": list(range(len(names))),
        "runs": [HOSTILE],
        "sizes": SIZES,
        "kinds": [
            {"name": kind, "colour": "#d55e00", "meaning": MEANINGS[kind]} for kind in ALL_KINDS
        ],
    }
    return content, [picture] * frames
