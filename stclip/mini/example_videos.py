"""Draws a small folder of videos and their annotations, as somebody would bring them along.

Videos of several containers, in folders by container; a label list; and a csv with the box of the
acting person in every few frames. As in most such files not all of it is right: a row is there
twice, a box lies outside, one video is missing and one is not annotated.
"""

import csv
import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from stclip.mini.ava.containers import CONTAINERS, film_file
from stclip.mini.avi import Manner, as_avi
from stclip.mini.choreography import ACTIONS, load_repertoire
from stclip.mini.render import render
from stclip.mini.scenery import VIDEO
from stclip.progress import Progress
from stclip.storage.files import whole_file

logger = logging.getLogger(__name__)
LABELS = ("clap", "jump", "run", "sit", "wave")
VIDEOS_EACH, NUM_FRAMES, EVERY = 4, 20, 4  # videos a label, frames a video, frames a box
RATE = Fraction(25)
SUFFIXES = (".mp4", ".mkv", ".avi", ".webm")
HEADER = ("video", "frame", "class", "x1", "y1", "x2", "y2", "person")


def draw_example(out: Path, *, seed: int = 0) -> None:
    """Write `out`/videos, `out`/labels.txt and `out`/annotations.csv.

    Args:
        out: folder; same seed, same files under one version of FFmpeg.
        seed: of everything that is drawn.
    """
    repertoire = load_repertoire()
    jobs = [(label, number) for label in LABELS for number in range(VIDEOS_EACH)]
    progress = Progress("draw", total=len(jobs) + 1)
    rows: list[tuple[object, ...]] = []
    for label, number in [*jobs, (LABELS[0], VIDEOS_EACH)]:
        rng = np.random.default_rng([seed, ACTIONS.index(label), number])
        video = render(label, repertoire, style=VIDEO, num_frames=NUM_FRAMES, rng=rng)
        suffix = SUFFIXES[number % len(SUFFIXES)]
        name = f"{label}_{number + 1}{suffix}" if (label, number) in jobs else f"spare{suffix}"
        with whole_file(out / "videos" / suffix[1:] / name) as path:
            path.write_bytes(_encoded(video.frames, suffix))
        if (label, number) in jobs:
            rows += [
                (name, frame, label, *_box(video.masks[frame]), 1)
                for frame in range(0, NUM_FRAMES, EVERY)
            ]
        progress.advance()
    first = rows[0]
    rows += [first, ("lost.mp4", *first[1:]), (*first[:3], -60, 10, -20, 90, 2)]
    with whole_file(out / "annotations.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([HEADER, *rows])
    with whole_file(out / "labels.txt") as path:
        path.write_text("".join(f"{label}\n" for label in LABELS), "utf-8")
    logger.info("%s: drew %d videos, %d rows of annotations", out, len(jobs) + 1, len(rows))


def _encoded(frames: UInt8[np.ndarray, "T H W 3"], suffix: str) -> bytes:
    if suffix == ".avi":
        return as_avi(frames, manner=Manner.PLAIN)
    return film_file(frames, CONTAINERS[suffix], rate=RATE)


def _box(mask: UInt8[np.ndarray, "H W"]) -> tuple[int, int, int, int]:
    """The corners of what is drawn of the person, x2 and y2 behind the last pixel."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
