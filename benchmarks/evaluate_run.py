"""All metrics of a run of UCF101-24's size: frame mAP, bootstrap, errors, video mAP.

    python benchmarks/evaluate_run.py [--clips 250 --frames 180 --boxes 5 --labels 6 24]
        [--out benchmarks/results/evaluate_run.json]

Draws people who walk through videos of different lengths and a detector that finds them a few
pixels off, with false boxes beside them. Both assumptions are evaluated, as for one box source of a
run, on one core. Peak memory is that of the process so far, the drawn run included.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
import pandas as pd
from results_file import one_core, put

from stclip.boxes.linking import Linking
from stclip.evaluate.bootstrap import NUM_REPLICATES
from stclip.evaluate.evaluate import evaluate_run
from stclip.evaluate.rules import Rules, TubeRules
from stclip.evaluate.video_map import MEAN_OF_RANGE, THRESHOLDS, VIDEO_PROTOCOLS
from stclip.records import BOX_COLUMNS, Boxes, KeyFrames, LabelSplit, Scores


def draw(
    num_clips: int, num_frames: int, num_boxes: int, num_labels: int
) -> tuple[Scores, Boxes, KeyFrames, LabelSplit]:
    """Scores of `num_boxes` boxes a frame, ground truth (one or two people), every frame, split."""
    rng = np.random.default_rng(0)
    labels = [f"label {k}" for k in range(num_labels)]
    found, truth, probabilities = [], [], []
    lengths = (num_frames * rng.uniform(0.2, 1.8, num_clips)).astype(int)
    for clip, length in enumerate(lengths.tolist()):
        start, speed = rng.uniform(0, 200, (num_boxes, 1, 2)), rng.normal(0, 1, (num_boxes, 1, 2))
        corner = start + speed * np.arange(length)[:, None]  # (boxes, frames, 2)
        people = np.concatenate([corner, corner + rng.uniform(30, 90, (num_boxes, 1, 2))], axis=2)
        rows = pd.DataFrame(
            (people + rng.normal(0, 3, people.shape)).reshape(-1, 4), columns=BOX_COLUMNS
        )
        rows = rows.assign(
            clip=f"clip {clip}",
            frame=np.tile(np.arange(length), num_boxes),
            detector_score=rng.beta(2, 1 + np.repeat(np.arange(num_boxes), length)),
        ).sort_values("frame", kind="stable")
        found.append(rows)
        chance = rng.dirichlet(np.ones(num_labels), len(rows))
        chance[:, clip % num_labels] += rng.random(len(rows))
        probabilities.append(chance / chance.sum(1, keepdims=True))
        for tube in range(1 + clip % 2):
            own = pd.DataFrame(people[tube], columns=BOX_COLUMNS)
            own = own.assign(clip=f"clip {clip}", frame=np.arange(length), tube=tube)
            truth.append(own.assign(actions=[[labels[clip % num_labels]]] * length))
    split = LabelSplit(
        "drawn", "drawn", "1", base=("none",), unseen=tuple(labels), rule="drawn",
        unseen_clips=tuple(f"clip {clip}" for clip in range(num_clips)),
    )  # fmt: skip
    scores = Scores.from_parts(pd.concat(found), np.concatenate(probabilities), labels)
    frames = np.concatenate([np.arange(length) for length in lengths])
    clips = np.repeat(split.unseen_clips, lengths)
    every = pd.DataFrame({"clip": clips, "frame": frames, "number": frames})
    key_frames = KeyFrames(every.assign(step_s=1 / 25, tested=True))
    return scores, Boxes(pd.concat(truth, ignore_index=True)), key_frames, split


def measure(num_clips: int, num_frames: int, num_boxes: int, num_labels: int) -> dict[str, object]:
    """Processor seconds with and without video mAP, and what came out."""
    scores, truth, key_frames, split = draw(num_clips, num_frames, num_boxes, num_labels)
    tubes = TubeRules(
        linking=Linking(), protocol=VIDEO_PROTOCOLS["act"], iou=(*THRESHOLDS, MEAN_OF_RANGE)
    )
    seconds = {}
    for name, rules in (("without_video_mAP_s", Rules()), ("all_s", Rules(tubes=tubes))):
        start = time.process_time()
        metrics, *_ = evaluate_run(
            {("detected", "unseen"): scores}, ground_truth=truth, key_frames=key_frames,
            split=split, rules=rules,
        )  # fmt: skip
        seconds[name] = round(time.process_time() - start, 2)
    cell = metrics["detected"]["unseen"]["independent"]
    return {
        "frames": cell["num_frames"],
        "boxes": cell["num_boxes"],
        "labels": num_labels,
        "replicates": NUM_REPLICATES,
        "assumptions": 2,
        **seconds,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "mAP": round(cell["mAP"], 3),
        "video_mAP": {key: round(value, 3) for key, value in cell["video_mAP"].items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("clips", 250), ("frames", 180), ("boxes", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--labels", type=int, nargs="+", default=[6, 24])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = {
        "machine": one_core(),
        "numpy": np.__version__,
        "runs": [measure(args.clips, args.frames, args.boxes, k) for k in sorted(args.labels)],
    }
    put(json.dumps(result, indent=1) + "\n", args.out)


if __name__ == "__main__":
    main()
