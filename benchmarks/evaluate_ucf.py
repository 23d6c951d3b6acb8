"""All metrics on the real annotations of UCF101-24: a run's `evaluate`, and `evaluate-file`.

    python benchmarks/evaluate_ucf.py PYANNOT.json.gz [--split 1] [--boxes 5]
        [--out benchmarks/results/evaluate_ucf.json]

Detections are drawn around the annotated people of the split's unseen classes, on every annotated
frame. Each way runs in a process of its own, on one core: seconds from the files (tables in memory
for `evaluate`) to the metrics, and the peak memory of that process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
import pandas as pd
from results_file import one_core, put
from ucf_annotations import (
    annotated_key_frames,
    draw_detections,
    draw_scores,
    filled_split,
    read,
)

from stclip.boxes.linking import Linking
from stclip.evaluate.bootstrap import NUM_REPLICATES
from stclip.evaluate.evaluate import evaluate_run, write_run
from stclip.evaluate.outside import evaluate_file
from stclip.evaluate.rules import Rules, TubeRules
from stclip.evaluate.video_map import MEAN_OF_RANGE, VIDEO_PROTOCOLS
from stclip.records import SCORE_PREFIX, Boxes, KeyFrames, LabelSplit, Scores

UCF_LINKING = Linking(patience=4, min_frames=12)  # 1/6 s and half a second at 25 fps
IOU = (0.2, 0.5, MEAN_OF_RANGE)
FILES = ("scores.parquet", "boxes.parquet", "key_frames.parquet", "split.json", "rows.csv")


def draw(annotations: Path, split_name: str, num_boxes: int, folder: Path) -> None:
    """Write what both ways read."""
    clips, boxes = read(annotations)
    key_frames = annotated_key_frames(clips, boxes)
    split = filled_split(split_name, clips)
    wanted = key_frames.table[key_frames.table["clip"].isin(split.unseen_clips)]
    scores = draw_scores(draw_detections(wanted, boxes, num_boxes), clips, split.unseen)
    for record, name in zip((scores, boxes, key_frames), FILES, strict=False):
        record.write(folder / name)
    split.write(folder / "split.json")
    names = {SCORE_PREFIX + label: label for label in split.unseen}
    rows = scores.table.rename(columns=names | {"clip": "video"})
    kept = ["video", "frame", "x1", "y1", "x2", "y2"]
    long = rows.melt([*kept, "detector_score"], list(split.unseen), "class", "score")
    long = long.assign(frame=long["frame"] + 1, score=long["score"] * long["detector_score"])
    long.sort_values(["video", "frame"], kind="stable").drop(columns="detector_score").to_csv(
        folder / "rows.csv", index=False, float_format="%.6g"
    )


def run_way(folder: Path) -> dict[str, Any]:
    """A run's evaluation, both assumptions, and what it writes."""
    scores, boxes, key_frames = (
        kind.read(folder / name)
        for kind, name in zip((Scores, Boxes, KeyFrames), FILES, strict=False)
    )
    rules = Rules(tubes=TubeRules(linking=UCF_LINKING, protocol=VIDEO_PROTOCOLS["act"], iou=IOU))
    found = evaluate_run(
        {("detected", "unseen"): scores}, ground_truth=boxes, key_frames=key_frames,
        split=LabelSplit.read(folder / "split.json"), rules=rules,
    )  # fmt: skip
    write_run(folder, *found, {})
    cells = found[0]["detected"]["unseen"]
    about = {k: cells["independent"][k] for k in ("num_clips", "num_frames", "num_gt_boxes")}
    numbers = {
        name: {"mAP": cell["mAP"], "interval": cell["interval"], "video_mAP": cell["video_mAP"]}
        for name, cell in cells.items()
    }
    return {
        "rows": cells["independent"]["num_boxes"], "replicates": NUM_REPLICATES,
        **about, **numbers,
    }  # fmt: skip


def file_way(folder: Path, annotations: Path) -> dict[str, Any]:
    """`evaluate-file`, video mAP and the report of errors included."""
    found = evaluate_file(
        dataset="ucf101_24", split=LabelSplit.read(folder / "split.json"),
        ground_truth=annotations, detections=folder / "rows.csv", video_protocol="act",
        report=folder / "report",
    )  # fmt: skip
    return {
        "rows": found["counts"]["rows_judged"], "num_frames": found["counts"]["frames"],
        "num_gt_boxes": found["counts"]["gt_boxes"], "mAP": found["mAP"],
        "video_mAP": found["video_mAP"],
    }  # fmt: skip


def measure(way: str, folder: Path, annotations: Path) -> dict[str, Any]:
    """Processor seconds, and the peak of this process."""
    start = time.process_time()
    found = run_way(folder) if way == "evaluate" else file_way(folder, annotations)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"way": way, "seconds": round(seconds, 1), "peak_gib": round(peak, 2), **found}


def main() -> None:
    """Draw, measure each way in a process of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--split", default="1")
    parser.add_argument("--boxes", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--drawn", type=Path, help="folder of drawn files; default: one that goes")
    parser.add_argument("--way", choices=["evaluate", "evaluate-file"])
    args = parser.parse_args()
    if args.way:
        sys.stdout.write(json.dumps(measure(args.way, args.drawn, args.annotations)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.drawn or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not all((folder / name).exists() for name in FILES):
            draw(args.annotations, args.split, args.boxes, folder)
        runs = []
        for way in ("evaluate", "evaluate-file"):
            command = [sys.executable, __file__, str(args.annotations), "--way", way]
            command += ["--drawn", str(folder)]
            runs.append(json.loads(subprocess.check_output(command)))
    about = {"machine": one_core(np, pd), "split": args.split, "boxes": args.boxes}
    put(json.dumps({**about, "runs": runs}, indent=1) + "\n", args.out)


if __name__ == "__main__":
    main()
