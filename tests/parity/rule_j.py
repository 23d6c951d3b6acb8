"""Rule J: detections on J-HMDB's real test frames, made from a real detector's person boxes.

The best 3 of a frame, or all within 0.001 of the best, or the ground-truth boxes; with class scores
that are either the truth (oracle) or 60% noise from a hash and 40% truth (hash).
"""

import gzip
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stclip.records import BOX_COLUMNS

SHARED = Path(__file__).parents[3] / "shared" / "data" / "j-hmdb"
if not SHARED.is_dir():
    pytest.skip(f"needs the J-HMDB annotations in {SHARED}", allow_module_level=True)

SPLITS = ["1", "2", "3", "4"]
RULES = ["top3_oracle", "top3_hash", "within_oracle", "within_hash", "gt_hash"]


def _json(name: str) -> Any:
    return json.loads(gzip.decompress((SHARED / name).read_bytes()))


@cache
def labels(split: str) -> tuple[str, ...]:
    folder = SHARED / f"label_split_{split}"
    return tuple((folder / "test_label.txt").read_text("utf-8").split())


@cache
def truth() -> pd.DataFrame:
    """One row per frame of the official test split 1: video, frame (1-based), class, box."""
    data = _json("JHMDB-GT.json.gz")
    rows = [
        (key.split("/")[1], int(box[0]), data["labels"][int(label)], *box[1:])
        for key in data["test_videos"][0]
        for label, tubes in data["gttubes"][key].items()
        for box in tubes[0]
    ]
    return pd.DataFrame(rows, columns=["video", "frame", "class", *BOX_COLUMNS])


@cache
def persons() -> pd.DataFrame:
    """Detected persons with k, their place in the frame, and the true class of the video."""
    images = {
        image["id"]: (image["movie"], int(image["timestamp"]))
        for image in _json("jhmdb_test_gt_min.json.gz")["images"]
    }
    rows = [
        (*images[row["image_id"]], float(row["score"]), *row["bbox"])
        for row in _json("jhmdb_faster_RCNN_person.json.gz")
    ]
    table = pd.DataFrame(rows, columns=["video", "frame", "detector_score", *BOX_COLUMNS])
    groups = table.groupby(["video", "frame"])["detector_score"]
    table["k"] = groups.cumcount()
    table["best"] = groups.transform("first")
    return table.merge(truth().groupby("video")["class"].first().rename("true"), on="video")


def chance(video: str, frame: int, k: int, label: str) -> float:
    digest = hashlib.sha256(f"{video}|{frame}|{k}|{label}".encode()).hexdigest()
    return int(digest[:12], 16) / 2**48


@cache
def detections(split: str, rule: str) -> pd.DataFrame:
    """The rows of one rule in document order: video, frame, class, score, box."""
    boxes, score = rule.split("_")
    if boxes == "gt":
        table = truth().rename(columns={"class": "true"}).assign(k=0, detector_score=1.0)
    elif boxes == "top3":
        table = persons()[persons()["k"] < 3]
    else:
        near = persons()["detector_score"] > persons()["best"] - 0.001
        table = persons()[(persons()["k"] == 0) | near]
    table = table[table["true"].isin(labels(split))]
    if score == "oracle":
        return table.rename(columns={"true": "class", "detector_score": "score"})
    rows = table.merge(pd.DataFrame({"class": labels(split)}), how="cross")
    keys = rows[["video", "frame", "k", "class"]].itertuples(index=False)
    noise = [chance(*key) for key in keys]
    rows["score"] = rows["detector_score"] * (
        0.6 * np.array(noise) + 0.4 * (rows["class"] == rows["true"])
    )
    return rows
