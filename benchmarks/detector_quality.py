"""Quality of a person detector on UCF101-24's real annotations: AP, recall, ceiling; no pixels.

    python benchmarks/detector_quality.py PYANNOT.json.gz [--boxes 10]
        [--out benchmarks/results/detector_quality.json]

Detections are drawn around the annotated people, on every annotated frame of the official test
videos, and judged unfiltered and as the paper filters UCF's boxes, for its four label splits.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
import pandas as pd
from results_file import one_core, put
from ucf_annotations import annotated_key_frames, draw_detections, filled_split, read

from stclip.config import BoxSource
from stclip.detect.quality import box_filters, measure
from stclip.records import Data

FILTER = BoxSource(source="detections", within=0.7)


def run(annotations: Path, num_boxes: int) -> dict[str, Any]:
    """Judge, and say what it took."""
    clips, boxes = read(annotations)
    key_frames = annotated_key_frames(clips, boxes)
    found = draw_detections(key_frames.tested, boxes, num_boxes)
    data = Data(clips=clips, boxes=boxes, key_frames=key_frames, frames=Path("none"))
    splits = [filled_split(name, clips) for name in "1234"]
    start = time.process_time()
    rows = measure(
        "drawn", {split.name: found for split in splits}, data,
        filters=box_filters({"detected": FILTER}), splits=splits,
    )  # fmt: skip
    return {
        "frames": len(key_frames.tested),
        "boxes": len(found),
        "seconds": round(time.process_time() - start, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "rows": [
            {"boxes": row.boxes, "AP": row.ap, "recall50": row.recall50, "ceilings": row.ceilings}
            for row in rows
        ],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--boxes", type=int, default=10)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = {"machine": one_core(np, pd), **run(args.annotations, args.boxes)}
    put(json.dumps(found, indent=1) + "\n", args.out)


if __name__ == "__main__":
    main()
