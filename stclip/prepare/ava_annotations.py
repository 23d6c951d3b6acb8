"""AVA's annotations: who does what in the key frame of every second.

    video,second,x1,y1,x2,y2,action[,person]      ava_train_v2.2.csv, ava_val_v2.2.csv; no header

A row is one action of one person; corners are shares of the picture. Rows of the same box are one
person who does several things. Person ids link a video's persons over the seconds; versions before
2.2 have none. A line `video,second` alone is a second without a person.

N: boxes.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from stclip.errors import DataError
from stclip.prepare.label_map import label_types, parse_label_map
from stclip.records import BOX_COLUMNS
from stclip.splits.key_frames import parse_excluded
from stclip.storage.archives import content_in
from stclip.storage.numbers import as_numbers, as_whole, line_of, refuse
from stclip.storage.outside_files import csv_table

logger = logging.getLogger(__name__)

Side = Literal["train", "val"]  # an official split with public annotations
POSE = "PERSON_MOVEMENT"  # the kind of action of which a person has one
_COLUMNS = ["video", "second", *BOX_COLUMNS, "action", "person"]
_VIDEO = re.compile(r"[A-Za-z0-9_-]+")  # a name of a video becomes one of files
_BEYOND = 0.01  # of the picture; a box that leaves it by more is no box in shares


@dataclass(frozen=True)
class Annotations:
    """The boxes of one csv: video, second, x1, y1, x2, y2, person, actions (numbers, rising).

    Sorted by video, second and person. Without person ids `person` numbers a second's boxes.
    """

    boxes: pd.DataFrame
    counts: dict[str, int]  # what was found and done, by what it is

    @property
    def videos(self) -> list[str]:
        """Names of the videos, sorted."""
        return sorted(self.boxes["video"].unique().tolist())


def read_annotations(
    content: bytes,
    where: str | Path,
    *,
    labels: Mapping[int, str],
    poses: Collection[int],
    seconds: Collection[int],
) -> Annotations:
    """The boxes of a csv.

    Kept and counted: persons without pose or with several, a person with two boxes in a second.
    Left out and counted: a row that is there twice, a box without area. A corner that leaves the
    picture by up to a hundredth of it is put on its border.

    Args:
        content: of the csv.
        where: for messages.
        labels: name of each action by its number.
        poses: the numbers of which a person has one.
        seconds: that have key frames.

    Raises:
        DataError: no csv of this form, a second without a key frame, an unknown action, a box that
            leaves the picture, or person ids in some lines only.
    """
    rows = _read_rows(content, where, labels=labels, seconds=seconds)
    counts = {"rows": len(rows)}

    def left_out(what: str, bad: pd.Series) -> None:
        nonlocal rows
        counts[what] = int(bad.sum())
        rows = rows[~bad]

    left_out("rows that are there twice", rows.duplicated())
    left_out("boxes without area", (rows["x2"] <= rows["x1"]) | (rows["y2"] <= rows["y1"]))
    keys = ["video", "second", "person", *BOX_COLUMNS]
    rows = rows.sort_values([*keys, "action"], kind="stable")
    boxes = rows.groupby(keys, sort=False)["action"].agg(list).rename("actions").reset_index()
    if (boxes["person"] < 0).all():
        logger.info("%s: has no person ids; tubes number the boxes of a second", where)
        boxes["person"] = boxes.groupby(["video", "second"]).cumcount()
    num_poses = np.array([len(set(poses).intersection(a)) for a in boxes["actions"]], int)
    counts |= {
        "boxes": len(boxes),
        "boxes without pose": int((num_poses == 0).sum()),
        "boxes with several poses": int((num_poses > 1).sum()),
        "persons with two boxes in a second": int(
            boxes.duplicated(["video", "second", "person"]).sum()
        ),
    }
    videos = boxes["video"].nunique()
    annotated = len(boxes[["video", "second"]].drop_duplicates())
    counts |= {
        "videos": videos,
        "annotated seconds": annotated,
        "seconds without a person": videos * len(seconds) - annotated,
    }
    logger.info("%s: %s", where, ", ".join(f"{what} {n}" for what, n in counts.items()))
    for what in ("rows that are there twice", "boxes without area"):
        if counts[what]:
            logger.warning("%s: %d %s, left out", where, counts[what], what)
    return Annotations(boxes[["video", "second", *BOX_COLUMNS, "person", "actions"]], counts)


def _read_rows(
    content: bytes, where: str | Path, *, labels: Mapping[int, str], seconds: Collection[int]
) -> pd.DataFrame:
    """The rows, as numbers; person -1 where the file has none."""
    table = csv_table(content, where, columns=_COLUMNS)
    table = table[(table[_COLUMNS[2:]] != "").any(axis=1)]
    at = line_of(where, table)
    if table.empty:
        raise DataError(f"{where}: has no lines with a person.")
    no_name = ~table["video"].str.fullmatch(_VIDEO).to_numpy(bool)
    refuse(no_name, table["video"], "video", at, "is no name of a video of AVA")
    whole: dict[str, np.ndarray] = {
        column: as_whole(table[column], column, at) for column in ("second", "action")
    }
    named = (table["person"] != "").to_numpy()
    if named.any():
        refuse(~named, table["person"], "person id", at, "is missing; other lines have one")
        whole["person"] = as_whole(table["person"], "person id", at)
        refuse(whole["person"] < 0, table["person"], "person id", at, "is negative")
    else:
        whole["person"] = np.full(len(table), -1)
    given = table["second"]
    out = ~np.isin(whole["second"], list(seconds))
    refuse(
        out, given, "second", at, f"has no key frame; those are {min(seconds)} to {max(seconds)}"
    )
    unknown = ~np.isin(whole["action"], list(labels))
    refuse(
        unknown, table["action"], "action", at,
        f"is not among the {len(labels)} of the label map; take the one of all 80 actions",
    )  # fmt: skip
    corners = np.stack([as_numbers(table[c], c, at) for c in BOX_COLUMNS], axis=1)  # (N, 4)
    beyond = np.abs(corners - 0.5).max(axis=1) > 0.5 + _BEYOND
    refuse(beyond, list(corners), "box", at, "leaves the picture; corners are shares of it, 0 to 1")
    clipped = corners.clip(0, 1)
    moved = (clipped != corners).any(axis=1)
    if moved.any():
        logger.warning(
            "%s: %d corners outside the picture were put on its border", where, moved.sum()
        )
    boxes = pd.DataFrame(clipped, columns=BOX_COLUMNS, index=table.index)
    return boxes.assign(video=table["video"], **whole)


@dataclass(frozen=True)
class Truth:
    """What all files of annotations say."""

    boxes: pd.DataFrame  # as of `Annotations`, of all videos
    official: dict[str, str]  # video -> official split
    labels: dict[int, str]
    seconds: list[int]  # that have key frames, rising
    counts: dict[str, int]


def read_truth(
    raw: Path,
    annotations: Mapping[Side, str],
    *,
    label_map: str,
    included: str,
    excluded: Sequence[str],
    sha256: Mapping[str, str] | None = None,
) -> Truth:
    """Read the files of annotations in a folder; as `stclip.prepare.ava.prepare` names them.

    Raises:
        DataError: one is missing, not of its form, or not the one that is known by its SHA-256; or
            a video is in two official splits.
    """

    def read(name: str) -> tuple[bytes, str]:
        content, where = content_in(raw, name)
        known = (sha256 or {}).get(PurePosixPath(name).name)
        found = hashlib.sha256(content).hexdigest()
        if known is not None and found != known:
            raise DataError(
                f"{where}: its sha256 is {found}, expected {known}. Get it again; if it is another "
                "version on purpose, change `sha256` in the params of the data set."
            )
        return content, where

    labels_file = read(label_map)
    labels, kinds = parse_label_map(*labels_file), label_types(*labels_file)
    seconds = _read_seconds(*read(included))
    poses = [number for number, kind in kinds.items() if kind == POSE]
    counts = {"seconds with key frames": len(seconds), "labels": len(labels)}
    counts |= {f"labels, {kind}": n for kind, n in sorted(Counter(kinds.values()).items())}
    official: dict[str, str] = {}
    parts = []
    for side, name in annotations.items():
        content, where = read(name)
        part = read_annotations(content, where, labels=labels, poses=poses, seconds=seconds)
        for video in part.videos:
            if official.setdefault(video, side) != side:
                raise DataError(f"{where}: video {video!r} is of {official[video]} too.")
        counts |= {f"{side}: {what}": number for what, number in part.counts.items()}
        parts.append(part.boxes)
    boxes = pd.concat(parts, ignore_index=True)
    counts |= _count_excluded([read(name) for name in excluded], boxes, official)
    return Truth(boxes, official, labels, seconds, counts)


def _read_seconds(content: bytes, where: str) -> list[int]:
    """The lines of a list of seconds."""
    table = csv_table(content, where, columns=["second"])
    seconds = sorted(as_whole(table["second"], "second", line_of(where, table)).tolist())
    if not seconds:
        raise DataError(f"{where}: lists no seconds.")
    return seconds


def _count_excluded(
    files: Sequence[tuple[bytes, str]], boxes: pd.DataFrame, official: Mapping[str, str]
) -> dict[str, int]:
    """Seconds that count on neither side, by official split, and the boxes in them."""
    counts: dict[str, int] = {}
    if not files:
        return counts
    excluded = pd.concat([parse_excluded(*file) for file in files]).drop_duplicates()
    sides = excluded["clip"].map(dict(official))
    places = pd.MultiIndex.from_frame(excluded[["clip", "second"]])
    within = pd.MultiIndex.from_frame(boxes[["video", "second"]]).isin(places)
    for side in dict.fromkeys(official.values()):
        own = excluded[sides == side]
        counts |= {
            f"{side}: excluded seconds": len(own),
            f"{side}: videos with excluded seconds": own["clip"].nunique(),
            f"{side}: boxes in excluded seconds": int(
                (within & (boxes["video"].map(dict(official)) == side)).sum()
            ),
        }
    if within.any():
        logger.info("%d boxes are in excluded seconds; no key frame shows them", within.sum())
    return counts
