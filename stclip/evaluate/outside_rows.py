"""Reads and checks a csv of detections made elsewhere; every complaint names its line."""

import io
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from stclip.errors import DataError
from stclip.evaluate.outside_truth import content_of
from stclip.records import BOX_COLUMNS

logger = logging.getLogger(__name__)
NUMBER_COLUMNS = ["frame", "score", *BOX_COLUMNS]
_LINES = 1_000_000  # read at a time: as text a line takes ten times the memory of its numbers
DETECTION_COLUMNS = ["video", "frame", "class", "score", *BOX_COLUMNS]


def read_rows(path: Path, videos: pd.DataFrame, labels: set[str]) -> pd.DataFrame:
    """Read detections, one row per box and class.

    Args:
        path: csv, perhaps gzipped, with the columns `DETECTION_COLUMNS`.
        videos: the test videos, as in `OutsideTruth`.
        labels: all class names of the data set.

    Returns:
        The columns in that order; the index is the line number.

    Raises:
        DataError: a missing file, column or field, a number that is none or not finite, a score
            outside 0..1, an unknown class or video, a frame outside the video.
    """
    try:
        with pd.read_csv(
            io.BytesIO(content_of(path)), dtype="str", keep_default_na=False,
            skip_blank_lines=False, chunksize=_LINES,
        ) as parts:  # fmt: skip
            checked = []
            for part in parts:
                checked.append(_checked(part, path, videos, sorted(labels)))
                logger.info("%s: %d rows read and checked", path, sum(map(len, checked)))
            return pd.concat(checked)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a csv file ({error}); its first line must be "
            f"{','.join(DETECTION_COLUMNS)}."
        ) from None


def _checked(
    table: pd.DataFrame, path: Path, videos: pd.DataFrame, known: list[str]
) -> pd.DataFrame:
    """Some lines of the file as they should be."""
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes a surplus field for an index
        raise DataError(f"{path}: line 2: has more fields than the header {list(table)}.")
    missing = [c for c in DETECTION_COLUMNS if c not in table]
    if missing:
        raise DataError(
            f"{path}: columns {missing} are missing; found {list(table)}, needed are "
            f"{','.join(DETECTION_COLUMNS)}."
        )
    table = table[DETECTION_COLUMNS].fillna("")
    table.index += 2  # line 1 is the header
    table = table[(table != "").any(axis=1)]

    def refuse(bad: np.ndarray, column: str, reason: str) -> None:
        if bad.any():
            line = table.index[bad][0]
            raise DataError(
                f"{path}: line {line}: {column} {table[column].loc[line]!r} {reason}; "
                f"{bad.sum()} such rows."
            )

    refuse(~table["class"].isin(known).to_numpy(), "class", f"is unknown; known are {known}")
    refuse(
        ~table["video"].isin(videos.index).to_numpy(),
        "video",
        f"is not among the {len(videos)} test videos of the ground truth (names are without "
        f"class folder, such as {videos.index[0]!r})",
    )
    rows = table[["video", "class"]].copy()
    for column in NUMBER_COLUMNS:
        numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
        refuse(~np.isfinite(numbers), column, "is not a finite number")
        rows[column] = table[column].astype("float64")  # to_numeric may be off in the last digit
    score, frame = rows["score"].to_numpy(), rows["frame"].to_numpy()
    refuse(
        (score < 0) | (score > 1),
        "score",
        "is outside 0..1; squash the scores (only their order matters)",
    )
    refuse(frame % 1 != 0, "frame", "is not a whole number")
    first, last = (videos.loc[rows["video"], end].to_numpy() for end in ("first", "last"))
    starts = sorted(set(videos["first"].tolist()))
    refuse(frame < first, "frame", f"is below {starts[0]}: frames count from {starts[0]}")
    refuse(frame > last, "frame", "is beyond the end of the video")
    return rows.astype({"frame": "int64"})[DETECTION_COLUMNS]
