"""Reads and checks a csv of detections made elsewhere; every complaint names its line."""

import logging
from pathlib import Path

import pandas as pd

from stclip.records import BOX_COLUMNS
from stclip.storage.name_matching import match_names
from stclip.storage.numbers import as_numbers, as_whole, line_of, refuse
from stclip.storage.outside_files import content_of, csv_parts

logger = logging.getLogger(__name__)
DETECTION_COLUMNS = ["video", "frame", "class", "score", *BOX_COLUMNS]


def read_rows(path: Path, videos: pd.DataFrame, labels: set[str]) -> tuple[pd.DataFrame, int]:
    """Read detections, one row per box and class.

    Args:
        path: csv, perhaps gzipped, with the columns `DETECTION_COLUMNS`.
        videos: the test videos, as in `OutsideTruth`.
        labels: all class names of the data set.

    Returns:
        The columns in that order, of rows on test videos, the index is the line number; and the
        number of rows on other videos.

    Raises:
        DataError: a missing file, column or field, a number that is none or not finite, a score
            outside 0..1, an unknown class, a frame outside the video, no row on a known video.
    """
    checked, named = [], []
    for part in csv_parts(content_of(path), path, needed=DETECTION_COLUMNS):
        named.append(part["video"])
        checked.append(_checked(part, path, videos, sorted(labels)))
        logger.info("%s: %d rows read and checked", path, sum(map(len, checked)))
    names = pd.concat(named)
    known = match_names(
        names, videos.index, where=path, what="rows",
        among=f"{len(videos)} test videos of the ground truth",
    )  # fmt: skip
    return pd.concat(checked), int((~known).sum())


def _checked(
    table: pd.DataFrame, path: Path, videos: pd.DataFrame, known: list[str]
) -> pd.DataFrame:
    """Some lines of the file as they should be, without those of other videos."""
    at = line_of(path, table)
    unknown = ~table["class"].isin(known).to_numpy()
    refuse(unknown, table["class"], "class", at, f"is unknown; known are {known}")
    rows = table[["video", "class"]].copy()
    for column in ("score", *BOX_COLUMNS):
        rows[column] = as_numbers(table[column], column, at)
    rows["frame"] = as_whole(table["frame"], "frame", at)
    score = rows["score"].to_numpy()
    refuse(
        (score < 0) | (score > 1), table["score"], "score", at,
        "is outside 0..1; squash the scores (only their order matters)",
    )  # fmt: skip
    rows = rows[rows["video"].isin(videos.index)]
    at, frame, given = line_of(path, rows), rows["frame"].to_numpy(), table.loc[rows.index, "frame"]
    first, last = (videos.loc[rows["video"], end].to_numpy() for end in ("first", "last"))
    starts = sorted(set(videos["first"].tolist()))
    told = f"is below {starts[0]}: frames count from {starts[0]}"
    refuse(frame < first, given, "frame", at, told)
    refuse(frame > last, given, "frame", at, "is beyond the end of the video")
    return rows[DETECTION_COLUMNS]
