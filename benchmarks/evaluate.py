"""The vectorised frame mAP against a plain per-box loop of the same definition.

    python benchmarks/evaluate.py [--frames 57000 --boxes 5 --classes 80 --loop-classes 2]

Draws synthetic detections of AVA's size, evaluates all classes vectorised, then the first few
classes both ways, checks that they agree and prints the times and their ratio.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from stclip.evaluate.frame_map import PROTOCOLS, ClassRows, FrameBoxes, frame_map


def draw(num_frames: int, num_boxes: int, num_classes: int) -> list[ClassRows]:
    """Every person is found a few pixels off and has about two actions, some far commoner."""
    rng = np.random.default_rng(0)
    frames = np.repeat(np.arange(num_frames), num_boxes)
    corner = rng.integers(0, 300, (len(frames), 2))
    truth = np.hstack([corner, corner + rng.integers(40, 160, (len(frames), 2))])
    boxes = truth + rng.integers(-12, 13, truth.shape)
    share = 1 / np.arange(1, num_classes + 1)
    classes = []
    for number, probability in enumerate(np.minimum(0.9, 2 * share / share.sum())):
        present = rng.random(len(frames)) < probability
        scores = 0.6 * rng.random(len(frames)) + 0.4 * present
        classes.append(
            ClassRows(
                label=str(number),
                scores=scores,
                found=FrameBoxes(frames, boxes),
                truth=FrameBoxes(frames[present], truth[present]),
            )
        )
    return classes


def plain(rows: ClassRows) -> float:
    """Average precision of a class, one box at a time."""
    of_frame: dict[int, list[list[float]]] = {}
    for frame, box in zip(rows.truth.frames.tolist(), rows.truth.boxes_xyxy.tolist(), strict=True):
        of_frame.setdefault(frame, []).append(box)
    frames, boxes = rows.found.frames.tolist(), rows.found.boxes_xyxy.tolist()
    taken: set[tuple[int, int]] = set()
    precision: list[float] = []  # at each hit
    for rank, row in enumerate(np.argsort(-rows.scores, kind="stable").tolist(), 1):
        x1, y1, x2, y2 = boxes[row]
        best, which = 0.0, -1
        for number, (a1, b1, a2, b2) in enumerate(of_frame.get(frames[row], ())):
            width, height = min(x2, a2) - max(x1, a1), min(y2, b2) - max(y1, b1)
            if width > 0 and height > 0:
                inside = width * height
                overlap = inside / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - inside)
                if overlap > best:
                    best, which = overlap, number
        if best >= 0.5 and (frames[row], which) not in taken:
            taken.add((frames[row], which))
            precision.append((len(precision) + 1) / rank)
    area = highest = 0.0
    for value in reversed(precision):
        highest = max(highest, value)
        area += highest
    return area / len(rows.truth.frames)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result of a call."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("frames", 57_000), ("boxes", 5), ("classes", 80), ("loop-classes", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    classes = draw(size.frames, size.boxes, size.classes)
    few, iclip = classes[: size.loop_classes], PROTOCOLS["iclip"]
    whole_s, _ = timed(lambda: frame_map(classes, iclip))
    fast_s, fast = timed(lambda: frame_map(few, iclip))
    slow_s, slow = timed(lambda: [plain(rows) for rows in few])
    assert np.allclose(list(fast.ap.values()), slow, rtol=0, atol=1e-9), (fast.ap, slow)
    sys.stdout.write(
        f"{size.frames} frames x {size.boxes} boxes x {size.classes} classes: {whole_s:.2f} s\n"
        f"its first {len(few)} classes: {fast_s:.2f} s, per-box loop {slow_s:.2f} s, "
        f"ratio {slow_s / fast_s:.1f}\n"
    )


if __name__ == "__main__":
    main()
