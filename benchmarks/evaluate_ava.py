"""A run's `evaluate` at AVA's full size: several people a frame, 80 labels, several a person.

    python benchmarks/evaluate_ava.py [--split 1] [--films 64] [--seconds 897] [--boxes 265617]
        [--protocol tf activitynet] [--out benchmarks/results/evaluate_ava.json]

People and their labels are drawn, the labels as unevenly spread as AVA's; a detector finds most of
them a little off, and others besides. All labels are judged together, with 1,000 bootstrap
replicates, on one core. Each protocol runs in a process of its own: processor seconds from tables
in memory to written metrics, and the peak memory of that process, its tables included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
import pandas as pd
from results_file import one_core, put

from stclip.evaluate.bootstrap import NUM_REPLICATES
from stclip.evaluate.evaluate import evaluate_run, write_run
from stclip.evaluate.protocol import PROTOCOLS
from stclip.evaluate.rules import Rules
from stclip.evaluate.voting import INDEPENDENT
from stclip.records import BOX_COLUMNS, LABEL_GROUPS, Boxes, KeyFrames, LabelSplit, Scores

SPLITS = Path(__file__).parents[1] / "splits" / "ava" / "st-clip"
WIDTH, HEIGHT = 455, 256  # of the prepared frames
NUM_POSES = 14
TABLES = {"boxes": Boxes, "key_frames": KeyFrames}


def draw(split_name: str, num_films: int, num_seconds: int, num_boxes: int, folder: Path) -> None:
    """Write scores of both label groups, ground truth, key frames and split."""
    rng = np.random.default_rng(0)
    films = tuple(f"film {film:02}" for film in range(num_films))
    split = replace(
        LabelSplit.read(SPLITS / f"{split_name}.json"), unseen_clips=films, base_clips=films
    )
    split.write(folder / "split.json")
    labels = [*split.base, *split.unseen]  # poses first, as in AVA's list
    frames = pd.DataFrame(
        {
            "clip": np.repeat(films, num_seconds),
            "frame": np.tile(np.arange(num_seconds), num_films),
        }
    )
    KeyFrames(frames.assign(number=frames["frame"], step_s=1.0, tested=True)).write(
        folder / "key_frames.parquet"
    )
    persons = rng.choice(
        [0, 1, 2, 3, 4, 6, 10], len(frames), p=[0.04, 0.4, 0.3, 0.13, 0.08, 0.04, 0.01]
    )
    frame = np.repeat(np.arange(len(frames)), persons)
    tube = np.concatenate([np.arange(number) for number in persons])
    corners = _boxes(rng, len(frame))
    shown = _labels(rng, len(frame), len(labels))
    at, number = np.nonzero(shown)
    parted = np.split(np.array(labels, object)[number], np.cumsum(np.bincount(at))[:-1])
    truth = frames.iloc[frame].reset_index(drop=True)
    truth = truth.assign(**dict(zip(BOX_COLUMNS, corners.T, strict=True)), tube=tube)
    Boxes(truth.assign(actions=[list(of_box) for of_box in parted])).write(folder / "boxes.parquet")

    found = rng.permutation(len(frame))[: int(0.9 * min(len(frame), num_boxes))]
    others = rng.integers(len(frames), size=num_boxes - len(found))
    moved = corners[found] + rng.normal(0, 6, (len(found), 4))
    table = frames.iloc[np.concatenate([frame[found], others])].reset_index(drop=True)
    boxes = np.concatenate([moved, _boxes(rng, len(others))])
    score = np.concatenate([rng.beta(5, 2, len(found)), rng.beta(2, 5, len(others))])
    table = table.assign(**dict(zip(BOX_COLUMNS, boxes.T, strict=True)), detector_score=score)
    likely = rng.random((num_boxes, len(labels)), np.float32) ** 2
    likely[: len(found)] += shown[found] * rng.random((len(found), len(labels)), np.float32)
    order = np.lexsort((-score, table["frame"], table["clip"]))
    for group in LABEL_GROUPS:
        columns = [labels.index(label) for label in split.labels(group)]
        Scores.from_parts(
            table.iloc[order], likely[np.ix_(order, columns)] / 2, split.labels(group)
        ).write(folder / f"scores_{group}.parquet")


def _boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    corner = rng.uniform(0, [0.7 * WIDTH, 0.5 * HEIGHT], (number, 2))
    return np.hstack([corner, corner + rng.uniform(40, 130, (number, 2))])


def _labels(rng: np.random.Generator, number: int, num_labels: int) -> np.ndarray:
    """(number, labels), bool: a pose and none or some others; half of the labels are rare."""
    share = 1 / np.arange(1, num_labels + 1) ** 1.5
    share = rng.permutation(share)
    shown = rng.random((number, num_labels)) < share * 1.4 / share[NUM_POSES:].sum()
    shown[:, :NUM_POSES] = False
    poses = share[:NUM_POSES] / share[:NUM_POSES].sum()
    shown[np.arange(number), rng.choice(NUM_POSES, number, p=poses)] = True
    return shown


def measure(protocol: str, folder: Path) -> dict[str, Any]:
    """Processor seconds, and the peak of this process."""
    boxes, key_frames = (kind.read(folder / f"{name}.parquet") for name, kind in TABLES.items())
    split = LabelSplit.read(folder / "split.json")
    scores = {
        ("detected", group): Scores.read(folder / f"scores_{group}.parquet")
        for group in LABEL_GROUPS
    }
    rules = Rules(frames=PROTOCOLS[protocol], assumptions=(INDEPENDENT,), together=True)
    start = time.process_time()
    found = evaluate_run(
        scores, ground_truth=boxes, key_frames=key_frames, split=split, rules=rules
    )
    write_run(folder, *found, {})
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cells = {group: cell[INDEPENDENT] for group, cell in found[0]["detected"].items()}
    kept = ("mAP", "interval", "num_classes", "num_gt_boxes", "num_boxes")
    return {
        "protocol": protocol, "seconds": round(seconds, 1), "peak_gib": round(peak, 2),
        "key_frames": len(key_frames), "replicates": NUM_REPLICATES,
        **{group: {key: cell[key] for key in kept} for group, cell in cells.items()},
    }  # fmt: skip


def main() -> None:
    """Draw, measure each protocol in a process of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--split", default="1")
    for name, default in (("films", 64), ("seconds", 897), ("boxes", 265_617)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--protocol", nargs="+", default=["tf", "activitynet"], choices=PROTOCOLS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--drawn", type=Path, help="folder of drawn files; default: one that goes")
    parser.add_argument("--alone", action="store_true", help="measure in this process")
    args = parser.parse_args()
    if args.alone:
        (protocol,) = args.protocol
        sys.stdout.write(json.dumps(measure(protocol, args.drawn)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.drawn or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "scores_base.parquet").exists():
            draw(args.split, args.films, args.seconds, args.boxes, folder)
        runs = []
        for protocol in args.protocol:
            command = [sys.executable, __file__, "--alone", "--protocol", protocol]
            runs.append(json.loads(subprocess.check_output([*command, "--drawn", str(folder)])))
    about = {"machine": one_core(np, pd), "split": args.split}
    put(json.dumps({**about, "runs": runs}, indent=1) + "\n", args.out)


if __name__ == "__main__":
    main()
