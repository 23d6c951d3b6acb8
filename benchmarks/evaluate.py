"""The vectorised frame mAP against a plain per-box loop of the same definition, in one run.

    python benchmarks/evaluate.py [--frames 57000 --boxes 5 --classes 80 --loop-classes 4]
        [--ground-truth JHMDB-GT.json.gz --test-annotations jhmdb_test_gt_min.json.gz
         --detections jhmdb_faster_RCNN_person.json.gz] [--out FILE.json]

Draws synthetic detections of AVA's size and evaluates all classes vectorised, then a sample of the
classes, from the commonest to the rarest, both ways; checks that they agree and prints the times
and their ratio. With the three files, the same on J-HMDB's real boxes, all 21 classes.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from results_file import one_core, put

from stclip.evaluate.frame_map import LabelledBoxes, frame_map, shared_box_rows
from stclip.evaluate.matching import FrameBoxes
from stclip.evaluate.protocol import PROTOCOLS

IOU = 0.5


@dataclass(frozen=True)
class Problem:
    """Boxes scored for every class, and ground truth."""

    name: str
    scores: np.ndarray  # (K, N)
    found: FrameBoxes
    truth: LabelledBoxes


def synthetic(num_frames: int, num_boxes: int, num_classes: int) -> Problem:
    """Every person is found a few pixels off and has about two actions, some far commoner."""
    rng = np.random.default_rng(0)
    frames = np.repeat(np.arange(num_frames), num_boxes)
    corner = rng.integers(0, 300, (len(frames), 2))
    persons = np.hstack([corner, corner + rng.integers(40, 160, (len(frames), 2))])
    boxes = persons + rng.integers(-12, 13, persons.shape)
    share = 1 / np.arange(1, num_classes + 1)
    present = (
        rng.random((num_classes, len(frames))) < np.minimum(0.9, 2 * share / share.sum())[:, None]
    )
    scores = 0.6 * rng.random(present.shape) + 0.4 * present
    person, labels = np.nonzero(present.T)
    truth = LabelledBoxes(FrameBoxes(frames, persons), person, labels)
    name = f"synthetic, {num_frames} frames x {num_boxes} boxes x {num_classes} classes"
    return Problem(name, scores, FrameBoxes(frames, boxes), truth)


def real(ground_truth: Path, test_annotations: Path, detections: Path) -> Problem:
    """J-HMDB's test frames with the published person boxes; class scores are noise and truth."""
    truth, annotations, found = (
        json.loads(gzip.decompress(path.read_bytes()))
        for path in (ground_truth, test_annotations, detections)
    )
    names = {key.split("/")[1]: key for key in truth["test_videos"][0]}
    images = {i["id"]: (i["movie"], int(i["timestamp"])) for i in annotations["images"]}
    codes: dict[tuple[str, int], int] = {}
    label_of, frames, boxes, labels = {}, [], [], []
    for video, key in names.items():
        ((label, (tube,)),) = truth["gttubes"][key].items()
        label_of[video] = int(label)
        for frame, *box in tube:
            frames.append(codes.setdefault((video, int(frame)), len(codes)))
            boxes.append(box)
            labels.append(int(label))
    keys = [images[row["image_id"]] for row in found]
    rng = np.random.default_rng(0)
    right = np.array([label_of[video] for video, _ in keys])
    person = np.array([float(row["score"]) for row in found])
    noise = rng.random((len(truth["labels"]), len(found)))
    scores = person * (0.6 * noise + 0.4 * (np.arange(len(noise))[:, None] == right))
    return Problem(
        f"J-HMDB, {len(codes)} frames, {len(found)} real boxes x {len(noise)} classes",
        scores,
        FrameBoxes(np.array([codes[key] for key in keys]), np.array([r["bbox"] for r in found])),
        LabelledBoxes(
            FrameBoxes(np.array(frames), np.array(boxes)), np.arange(len(boxes)), np.array(labels)
        ),
    )


def plain(problem: Problem, label: int) -> float:
    """Average precision of a class, one box at a time."""
    of_frame: dict[int, list[list[float]]] = {}
    truth = problem.truth
    own = truth.boxes.of(truth.rows[truth.labels == label])
    for frame, box in zip(own.frames.tolist(), own.boxes_xyxy.tolist(), strict=True):
        of_frame.setdefault(frame, []).append(box)
    frames, boxes = problem.found.frames.tolist(), problem.found.boxes_xyxy.tolist()
    scores = problem.scores[label].tolist()
    taken: set[tuple[int, int]] = set()
    precision: list[float] = []  # at each hit
    for rank, row in enumerate(sorted(range(len(scores)), key=lambda row: -scores[row]), 1):
        x1, y1, x2, y2 = boxes[row]
        best, which = 0.0, -1
        for number, (a1, b1, a2, b2) in enumerate(of_frame.get(frames[row], ())):
            width, height = min(x2, a2) - max(x1, a1), min(y2, b2) - max(y1, b1)
            if width > 0 and height > 0:
                inside = width * height
                overlap = inside / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - inside)
                if overlap > best:
                    best, which = overlap, number
        if best >= IOU and (frames[row], which) not in taken:
            taken.add((frames[row], which))
            precision.append((len(precision) + 1) / rank)
    area = highest = 0.0
    for value in reversed(precision):
        highest = max(highest, value)
        area += highest
    return area / len(own.frames)


def timed(call: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """Processor seconds (median) and result of a call."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        result = call()
        seconds.append(time.process_time() - start)
    return median(seconds), result


def vectorised(problem: Problem) -> dict[str, float]:
    """Average precision of every class."""
    names = [str(k) for k in range(len(problem.scores))]
    rows = shared_box_rows(
        names, problem.scores, problem.found, problem.truth, protocol=PROTOCOLS["iclip"]
    )
    return frame_map(rows, PROTOCOLS["iclip"]).ap


def measure(problem: Problem, loop_classes: int) -> dict[str, Any]:
    """Both ways; the loop's time on a sample of the classes is scaled to all of them."""
    fast_s, fast = timed(lambda: vectorised(problem), times=5)
    num_classes = len(problem.scores)
    sample = np.unique(np.linspace(0, num_classes - 1, loop_classes).astype(int)).tolist()
    slow_s, slow = timed(lambda: [plain(problem, k) for k in sample])
    assert np.allclose([fast[str(k)] for k in sample], slow, rtol=0, atol=1e-9), (fast, slow)
    slow_s *= num_classes / len(sample)
    return {
        "data": problem.name,
        "vectorised_s": round(fast_s, 3),
        "loop_s": round(slow_s, 1),
        "loop_classes_run": len(sample),
        "ratio": round(slow_s / fast_s, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("frames", 57_000), ("boxes", 5), ("classes", 80), ("loop-classes", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in ("ground-truth", "test-annotations", "detections", "out"):
        parser.add_argument(f"--{name}", type=Path)
    args = parser.parse_args()
    results = []
    if args.ground_truth:
        jhmdb = real(args.ground_truth, args.test_annotations, args.detections)
        results.append(measure(jhmdb, len(jhmdb.scores)))
    results.append(measure(synthetic(args.frames, args.boxes, args.classes), args.loop_classes))
    found = {"machine": one_core(np), "runs": results}
    put(json.dumps(found, indent=1) + "\n", args.out)


if __name__ == "__main__":
    main()
