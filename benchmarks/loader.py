"""Whether a training waits for its loader: what a key frame costs a process that reads ahead.

    python benchmarks/loader.py [VIDEO ...] --out benchmarks/results/loader.csv

Stores clips of UCF101-24's size and length (of real videos, or drawn) in both frame stores and lets
one worker read training batches of 8: for ST-CLIP a key frame is a window of 9 frames at 224x224
and two persons cut out; for a method of whole clips, 8 frames. As in a training on thousands of
clips, no sample shares a picture with another, and every clip's file is opened anew.

Measured is the worker's processor time (the handing over of batches included, its start not), the
median of some rounds; files lie in the system's memory.
`processes` are the workers that read 200 samples a second, the goal of docs/speed.md (3,000 steps
of 8 key frames in two minutes), and `MB_per_s` what they then read. `reading` is the share of
checking and decoding frames; the rest is resizing, cutting and copying.
"""

import argparse
import math
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pandas as pd
from frames import decoded
from PIL import Image
from results_file import put

from stclip.config import Augmentation
from stclip.inputs.batch import Inputs, PersonSample
from stclip.inputs.feed import Feed
from stclip.inputs.frame_reader import FrameReader, window
from stclip.inputs.loader import Read, assemble
from stclip.runtime.device import machine
from stclip.storage.frame_store import StoreName, clip_file, read_pixels, write_clip

STORES: tuple[StoreName, ...] = ("decoded", "jpeg")
SIZE, FRAME = (224, 224), (240, 320)  # height, width
PERSON = (80, 160)  # width, height of a box
BATCH = 8
NAMES = 40  # of clips; more than the store keeps open
GOAL = 3000 * BATCH / 120  # samples a second
CLIP = Inputs(unit="clip", num_frames=8)
METHODS: dict[str, tuple[Inputs, Augmentation]] = {
    "ST-CLIP": (Inputs(unit="person", before=4, after=4, crops=True), Augmentation()),
    "clip": (CLIP, Augmentation()),
    "clip, augmented": (  # as X-CLIP's code does
        CLIP,
        Augmentation(crop="multi_scale_5", flip=0.5, jitter=0.8, greyscale=0.2),
    ),
}


def drawn(num_frames: int) -> np.ndarray:
    """A blurred texture with some noise that moves by a pixel a frame, uint8 (T, 240, 320, 3)."""
    rng = np.random.default_rng(0)
    height, width = FRAME[0], FRAME[1] + num_frames
    coarse = rng.integers(256, size=(height // 8, width // 8, 3)).astype(np.float32)
    texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = (texture + rng.normal(0, 4, texture.shape)).clip(0, 255).astype(np.uint8)
    return np.stack([pixels[:, t : t + FRAME[1]] for t in range(num_frames)])


def store_clips(folder: Path, clips: Sequence[np.ndarray], store: StoreName) -> list[str]:
    """Write the clips, each under several of `NAMES` names; returns these."""
    for number, pictures in enumerate(clips):
        write_clip(folder, f"{number:03d}", pictures, store=store)
    names = [f"{number:03d}" for number in range(max(NAMES, len(clips)))]
    for number, name in enumerate(names[len(clips) :]):
        same = clip_file(folder, names[number % len(clips)], store)
        os.link(same, clip_file(folder, name, store))
    return names


def draw_samples(names: Sequence[str], count: int, length: int) -> list[PersonSample]:
    """A key frame of each clip in turn, with two persons at random places."""
    rng = np.random.default_rng(0)
    samples = []
    for name in islice(cycle(names), count):
        corners = rng.integers((FRAME[1] - PERSON[0], FRAME[0] - PERSON[1]), size=(2, 2))
        boxes = np.hstack([corners, corners + PERSON]).astype(np.float32)
        draw, key_frame = rng.integers(2**31), rng.integers(length)
        samples.append(
            PersonSample(
                name, length, boxes, np.arange(2), int(draw), FRAME, key_frame=int(key_frame)
            )
        )
    return samples


def read_batch(
    folder: Path, inputs: Inputs, augmentation: Augmentation, samples: Sequence[PersonSample]
) -> Read:
    """A training batch, with nothing in the reader's cache."""
    reader = FrameReader(folder, SIZE, augmentation=augmentation)
    return assemble(reader, inputs, samples, training=True)


def worker_seconds(
    read: Callable[[Sequence[PersonSample]], Read], batches: Sequence[Sequence[PersonSample]]
) -> float:
    """Processor seconds of one worker that reads all batches."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in Feed(read, batches, workers=1):
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def reading_seconds(folder: Path, samples: Sequence[PersonSample]) -> float:
    """Processor seconds of a frame's reading, of windows as training has them."""
    start, count = time.process_time(), 0
    for sample in samples:
        for frame in window(sample.key_frame, sample.num_frames, before=4, after=4):
            read_pixels(folder, sample.clip, frame)
            count += 1
    return (time.process_time() - start) / count


def measure(
    store: StoreName, clips: Sequence[np.ndarray], *, batches: int, rounds: int
) -> Iterator[dict[str, object]]:
    """The rows of one store."""
    with tempfile.TemporaryDirectory() as name:
        folder, length = Path(name), len(clips[0])
        samples = draw_samples(store_clips(folder, clips, store), (1 + batches) * BATCH, length)
        plan = [samples[i : i + BATCH] for i in range(0, len(samples), BATCH)]
        frame_mb = clip_file(folder, samples[0].clip, store).stat().st_size / length / 1e6
        frame_s = median(reading_seconds(folder, samples) for _ in range(rounds))
        for method, (inputs, augmentation) in METHODS.items():
            read = partial(read_batch, folder, inputs, augmentation)
            start_s = median(worker_seconds(read, plan[:1]) for _ in range(rounds))
            all_s = median(worker_seconds(read, plan) for _ in range(rounds))
            seconds = (all_s - start_s) / (batches * BATCH)
            frames = inputs.before + inputs.num_frames + inputs.after
            yield {
                "store": store,
                "method": method,
                "frames": frames,
                "crops": 2 * inputs.crops,
                "core_ms": round(1000 * seconds, 1),
                "per_core_second": round(1 / seconds, 1),
                "reading": f"{frames * frame_s / seconds:.0%}",
                "processes": math.ceil(GOAL * seconds),
                "MB_per_s": round(GOAL * frames * frame_mb),
            }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--clips", type=int, default=5)
    parser.add_argument("--clip-frames", type=int, default=170)
    parser.add_argument("--batches", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    wanted = args.clips * args.clip_frames
    pictures = decoded(args.videos, wanted)[:wanted] if args.videos else drawn(wanted)
    if len(pictures) < args.clip_frames:
        parser.error(f"the videos have {len(pictures)} frames, a clip has {args.clip_frames}")
    whole = len(pictures) // args.clip_frames
    clips = np.split(pictures[: whole * args.clip_frames], whole)
    rows = [
        row
        for store in STORES
        for row in measure(store, clips, batches=args.batches, rounds=args.rounds)
    ]
    table = pd.DataFrame(rows)
    table["on"] = f"{machine()}, Pillow {Image.__version__}, OpenCV {cv2.__version__}"
    put(table.to_csv(index=False), args.out)


if __name__ == "__main__":
    main()
