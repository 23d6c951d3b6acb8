"""UCF101-24's real annotations as the stages' tables, and detections drawn around them; no pixels.

What the benchmarks of UCF's size share. The file is `pyannot.json.gz` (or `.pkl`): the corrected
annotations with class names (db, classes, trainvideos).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from stclip.config import AnnotatedFrames
from stclip.prepare.pyannot import boxes_table, official_splits, read_annotations
from stclip.records import BOX_COLUMNS, Boxes, Clips, Detections, KeyFrames, LabelSplit, Scores
from stclip.splits.key_frames import make_key_frames
from stclip.storage.outside_files import content_of, parse_json

SPLITS = Path(__file__).parents[1] / "splits" / "ucf101_24" / "st-clip"
WIDTH, HEIGHT, FPS = 320, 240, 25.0


def read(path: Path) -> tuple[Clips, Boxes]:
    """All annotated videos, and their boxes."""
    found = read_annotations(parse_json(content_of(path), path), path)
    splits = official_splits(found.videos, found.train or (), side="train", where=path)
    rows = [
        (v.clip, splits[folder], v.num_frames, HEIGHT, WIDTH, FPS, "none stated", [v.action])
        for folder, v in found.videos.items()
    ]
    clips = Clips(pd.DataFrame(rows, columns=list(Clips.COLUMNS)))
    return clips, boxes_table(found.videos.values())


def annotated_key_frames(clips: Clips, boxes: Boxes) -> KeyFrames:
    """Every annotated frame."""
    rule = AnnotatedFrames(rule="annotated")
    return make_key_frames(rule, clips=clips, boxes=boxes, test_split="test")


def filled_split(name: str, clips: Clips) -> LabelSplit:
    """A label split of the paper with its clips."""
    split = LabelSplit.read(SPLITS / f"{name}.json")
    table = clips.table.assign(action=clips.table["actions"].str[0])

    def named(official: str, labels: tuple[str, ...]) -> tuple[str, ...]:
        own = (table["official_split"] == official) & table["action"].isin(labels)
        return tuple(table.loc[own, "clip"])

    return replace(
        split,
        train_clips=named("train", split.base),
        unseen_clips=named("test", split.unseen),
        base_clips=named("test", split.base),
    )


def draw_detections(frames: pd.DataFrame, boxes: Boxes, num_boxes: int) -> Detections:
    """`num_boxes` a frame: the people a few pixels off, and others that drift through the video.

    Args:
        frames: columns clip and frame, of the frames that are looked at.
        boxes: ground truth.
        num_boxes: of a frame.
    """
    rng = np.random.default_rng(0)
    keys = frames[["clip", "frame"]].drop_duplicates()
    people = boxes.table[["clip", "frame", *BOX_COLUMNS]].merge(keys, on=["clip", "frame"])
    shown = people.groupby(["clip", "frame"]).cumcount().to_numpy()
    people = people.assign(score=rng.beta(5, 2, len(people)))[shown < num_boxes]
    people[BOX_COLUMNS] += rng.normal(0, 4, (len(people), 4))
    clip, _ = pd.factorize(keys["clip"])
    others = []
    for _ in range(num_boxes):
        start, speed = rng.uniform(0, 200, (2, clip.max() + 1, 2)) * [[[1]], [[0.002]]]
        corner = start[clip] + speed[clip] * keys["frame"].to_numpy()[:, None]
        corners = np.hstack([corner, corner + rng.uniform(30, 100, (len(keys), 2))])
        part = pd.DataFrame(corners, columns=BOX_COLUMNS)
        others.append(
            part.assign(
                clip=keys["clip"].to_numpy(),
                frame=keys["frame"].to_numpy(),
                score=rng.beta(2, 5, len(keys)),
            )
        )
    every = pd.concat([people, *others], ignore_index=True)
    every = every[every.groupby(["clip", "frame"]).cumcount() < num_boxes]
    every[BOX_COLUMNS] = every[BOX_COLUMNS].clip(0, [WIDTH - 1, HEIGHT - 1] * 2)
    return Detections(every.sort_values(["clip", "frame", "score"], ascending=[True, True, False]))


def draw_scores(detections: Detections, clips: Clips, labels: tuple[str, ...]) -> Scores:
    """Random class probabilities, the video's class likelier."""
    rng = np.random.default_rng(1)
    table = detections.table.rename(columns={"score": "detector_score"})
    action = clips.table.set_index("clip")["actions"].str[0]
    right = pd.Index(labels).get_indexer(pd.Index(table["clip"].map(action)))
    chance = rng.dirichlet(np.ones(len(labels)), len(table))
    chance[np.arange(len(table)), right] += rng.random(len(table))
    return Scores.from_parts(table, chance / chance.sum(1, keepdims=True), labels)
