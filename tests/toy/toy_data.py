"""A second data set for tests: several people, several labels a person, untrimmed videos.

Drawn here: two coloured rectangles stand and walk about for some seconds of every video. The first
carries one label or two; the second shows up later. Video names, labels and excluded seconds are in
the folder that the YAML names as `extracted`.
"""

import csv
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from stclip.prepare.store import write_prepared
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.frame_store import StoreName, write_clip

logger = logging.getLogger(__name__)
HEIGHT, WIDTH = 54, 96  # pixels
COLOURS = {"sit": (200, 60, 60), "stand": (60, 200, 60), "lie": (60, 60, 200)}


def prepare(
    raw: Path, out: Path, *, fps: float, seconds: int, licence: str, frame_store: StoreName
) -> None:
    """Write `out`/frames, boxes.parquet and clips.parquet of the videos in `raw`/videos.csv.

    A row is a person: video, official split, pose, other actions (with + between them), first and
    last second.
    """
    with (raw / "videos.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    num_frames = round(seconds * fps)
    logger.info("toy: read %d persons, kept all", len(rows))

    def build(frames: Path) -> tuple[Clips, Boxes]:
        clips, boxes = [], []
        for video in dict.fromkeys(row["video"] for row in rows):
            persons = [row for row in rows if row["video"] == video]
            rng = np.random.default_rng([ord(c) for c in video])
            pictures = rng.integers(90, 120, (num_frames, HEIGHT, WIDTH, 3), dtype=np.uint8)
            for tube, person in enumerate(persons):
                actions = [person["pose"], *filter(None, person["others"].split("+"))]
                for second in range(int(person["first"]), int(person["last"]) + 1):
                    start = round(second * fps)
                    left = 8 + 40 * tube + second
                    pictures[start : start + round(fps), 10:48, left : left + 18] = COLOURS[
                        person["pose"]
                    ]
                    corners = (left, 10.0, left + 17.0, 47.0)
                    boxes.append((video, start, *corners, tube, actions))
            write_clip(frames, video, pictures, store=frame_store)
            actions = sorted({a for b in boxes if b[0] == video for a in b[-1]})
            size = (num_frames, HEIGHT, WIDTH, fps)
            clips.append((video, persons[0]["split"], *size, licence, actions))
        columns = ["clip", "frame", *BOX_COLUMNS, "tube", "actions"]
        return (
            Clips(pd.DataFrame(clips, columns=list(Clips.COLUMNS))),
            Boxes(pd.DataFrame(boxes, columns=columns)),
        )

    write_prepared(out, build)
