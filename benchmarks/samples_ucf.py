"""What training prepares before its first step, on UCF101-24's real annotations; no pixels.

    python benchmarks/samples_ucf.py PYANNOT.json.gz [--steps 30000]
        [--out benchmarks/results/samples_ucf.json]

Every annotated frame of every official training video is a key frame (a label split has fewer).
Processor seconds of each part on one core, and the memory that its result holds and that it held
at most.
"""

import argparse
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
import pandas as pd
from results_file import one_core, put
from ucf_annotations import annotated_key_frames, filled_split, read

from stclip.boxes.select import select_boxes
from stclip.config import BoxSource, TrainConfig
from stclip.inputs.batch import Inputs
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import make_loader
from stclip.inputs.samples import make_samples
from stclip.methods.label_semantics import targets_of
from stclip.records import Data
from stclip.train.train import plan_batches

T = TypeVar("T")
PERSON = Inputs(unit="person", before=4, after=4, crops=True)


class Parts:
    """Seconds and memory of each part, in order."""

    def __init__(self) -> None:
        """Begin with none."""
        self.found: dict[str, dict[str, float]] = {}

    def add(self, name: str, call: Callable[[], T]) -> T:
        """Call twice: for its seconds, then for what it holds and held at most."""
        start = time.process_time()
        call()
        seconds = round(time.process_time() - start, 2)
        tracemalloc.start()
        result = call()
        held, peak = (round(value / 2**20) for value in tracemalloc.get_traced_memory())
        tracemalloc.stop()
        self.found[name] = {"seconds": seconds, "held_mb": held, "peak_mb": peak}
        return result


def measure(annotations: Path, steps: int) -> dict[str, Any]:
    """All parts, from tables in memory to a loader that stands ready."""
    clips, boxes = read(annotations)
    of_training = clips.table[clips.table["official_split"] == "train"]
    split = filled_split("1", clips)
    split = replace(
        split, base=tuple(sorted((*split.base, *split.unseen))), unseen=("none",),
        train_clips=tuple(of_training["clip"]),
    )  # fmt: skip
    parts = Parts()
    key_frames = parts.add("key frames", lambda: annotated_key_frames(clips, boxes))
    data = Data(clips=clips, boxes=boxes, key_frames=key_frames, frames=Path("none"))
    source = BoxSource(source="ground_truth")
    table = parts.add("select boxes", lambda: select_boxes(source, data, names=split.train_clips))
    samples = parts.add("make samples", lambda: make_samples(table, clips, inputs=PERSON))
    parts.add("targets", lambda: targets_of(table["actions"].tolist(), split.base))
    config = TrainConfig(iterations=steps, lr=1e-3)
    batches = parts.add(
        "plan batches", lambda: plan_batches(samples, config, inputs=PERSON, seed=0)
    )
    reader = FrameReader(Path("none"), (224, 224))
    parts.add("make loader", lambda: make_loader(reader, PERSON, batches, training=True, workers=0))
    return {
        "key_frames": len(samples),
        "boxes": len(table),
        "steps": len(batches),
        "samples_a_step": config.batch_frames,
        "parts": parts.found,
        "seconds": round(sum(part["seconds"] for part in parts.found.values()), 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = {"machine": one_core(np, pd), **measure(args.annotations, args.steps)}
    put(json.dumps(found, indent=1) + "\n", args.out)


if __name__ == "__main__":
    main()
