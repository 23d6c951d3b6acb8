"""Samples of a data set of UCF101-24's size: what they hold in memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd

from stclip.inputs.batch import Inputs
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import make_loader
from stclip.inputs.samples import make_samples
from stclip.records import Clips

NUM_CLIPS, NUM_FRAMES = 60, 340  # of 340,336 annotated training frames: the cost grows with them
BYTES = 1000  # a key frame; 650 are held for good, 820 at most


def test_key_frames_take_less_than_a_kilobyte_each() -> None:
    names = [f"clip{number:04d}" for number in range(NUM_CLIPS)]
    num_rows = NUM_CLIPS * NUM_FRAMES
    table = pd.DataFrame(
        {"clip": np.repeat(names, NUM_FRAMES), "frame": np.tile(np.arange(NUM_FRAMES), NUM_CLIPS)}
    )
    table = table.assign(
        x1=0.0, y1=0.0, x2=9.0, y2=9.0, origin="ground_truth", stored=np.arange(num_rows)
    )
    about = pd.DataFrame({"clip": names, "actions": [["run"]] * NUM_CLIPS})
    clips = Clips(
        about.assign(
            official_split="train", num_frames=NUM_FRAMES, height=240, width=320, fps=25.0,
            licence="test",
        )
    )  # fmt: skip
    inputs = Inputs(unit="person", before=4, after=4)
    tracemalloc.start()
    samples = make_samples(table, clips, inputs=inputs)
    batches = [samples[at : at + 8] for at in range(0, num_rows, 8)]
    loader = make_loader(
        FrameReader(Path("none"), (224, 224)), inputs, batches, training=True, workers=0
    )
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(samples), len(loader)) == (num_rows, num_rows // 8)
    last = samples[-1]
    assert (last.clip, last.rows.tolist(), last.num_frames) == (names[-1], [num_rows - 1], 340)
    assert held < BYTES * num_rows, f"{held / num_rows:.0f} bytes a key frame"
    assert peak < 1.3 * BYTES * num_rows, f"{peak / num_rows:.0f} bytes a key frame"
