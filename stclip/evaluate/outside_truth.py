"""Reads published ground truth in the formats it is passed around in; told apart by content."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stclip.boxes.looks import Looked, look, warn_look
from stclip.errors import ConfigError, DataError
from stclip.evaluate.outside_formats import (
    AVA_COLUMNS,
    READERS,
    YOWO_COLUMNS,
    Classes,
    OutsideTruth,
    Reader,
)
from stclip.records import BOX_COLUMNS, LabelSplit
from stclip.storage.name_matching import match_names
from stclip.storage.numbers import plain
from stclip.storage.outside_files import content_of, csv_parts, csv_table, is_json, parse_json
from stclip.storage.restricted_pickle import is_pickle, load_pickle
from stclip.storage.seal import check_seal

logger = logging.getLogger(__name__)


def read_truth(
    path: Path, split: LabelSplit, label_map: dict[int, str] | None = None
) -> tuple[Reader, OutsideTruth]:
    """Read the test ground truth of a data set.

    Args:
        path: a file in one of the formats of `READERS`, perhaps gzipped.
        split: its labels are the official names; needed where a format has only numbers.
        label_map: names by number, where the file has numbers; else they are the split's labels
            in alphabetical order.

    Raises:
        ConfigError: AVA's annotations without a label map.
        DataError: missing, damaged or unknown format, a number that is none or of no class, a box
            that is no box or lies in a frame that its video does not have.
    """
    data, classes = _parse(content_of(path), path), Classes(split, label_map)
    keys = set(map(str, data)) if isinstance(data, dict | pd.DataFrame) else set()
    for reader in READERS:
        if reader.keys <= keys:
            try:
                truth = reader.read(data, path, classes)
            except DataError as error:
                named = str(path) in str(error)  # a table does not know its file
                raise error if named else DataError(f"{path}: {error}") from None
            except ConfigError:
                raise
            except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
                raise DataError(
                    f"{path}: looks like {reader.title} but is not built like it "
                    f"({type(error).__name__}: {error})."
                ) from None
            _check_boxes(truth, path)
            _check_classes(truth, path, classes)
            return reader, truth
    raise DataError(
        f"{path}: unknown ground-truth format with keys {sorted(keys)[:12]}; accepted are "
        f"{_accepted()}."
    )


def _parse(content: bytes, path: Path) -> Any:
    if content[:4] == b"PAR1":
        check_seal(content, path, foreign=True)
        try:
            return pd.read_parquet(io.BytesIO(content))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: damaged parquet ({error}).") from None
    if is_json(content):
        return parse_json(content, path)
    if is_pickle(content):
        return load_pickle(content, path)
    if b"class_id" in content.split(b"\n", 1)[0]:
        return pd.concat(csv_parts(content, path, needed=YOWO_COLUMNS))
    try:
        table = csv_table(content, path, columns=AVA_COLUMNS)
        if len(table):
            return table
    except DataError as error:
        found = str(error).removeprefix(f"{path}: ")
    else:
        found = "it is empty"
    raise DataError(
        f"{path}: neither JSON nor pickle nor parquet nor csv ({found}); accepted are "
        f"{_accepted()}."
    )


def _check_boxes(truth: OutsideTruth, path: Path) -> None:
    """Boxes are boxes, lie in frames that there are, and look like what they should be."""
    boxes = truth.boxes
    of_video = truth.videos.loc[boxes["video"]]
    sizes = of_video[["width", "height"]].to_numpy(np.float64)
    corners = boxes[BOX_COLUMNS].to_numpy(np.float64)
    bad = ~np.isfinite(corners).all(1) | (corners[:, 2:] < corners[:, :2]).any(1)
    if bad.any():
        finite = np.isfinite(corners).all(1)
        looks = look(Looked(corners[finite], sizes[finite]))
        raise DataError(
            f"{path}: ground-truth box {plain(corners[bad][0])} of {_place(boxes[bad])} is no box "
            f"(x1 <= x2, y1 <= y2, finite); {bad.sum()} like this."
            + (f" Nearly all look like {looks}." if looks else "")
        )
    frame = boxes["frame"].to_numpy()
    beyond = (frame < of_video["first"].to_numpy()) | (frame > of_video["last"].to_numpy())
    if beyond.any():
        first, last = of_video.loc[beyond, ["first", "last"]].iloc[0].tolist()
        raise DataError(
            f"{path}: ground-truth box of {_place(boxes[beyond])} lies beyond the video, which has "
            f"frames {first} to {last} by this file; {beyond.sum()} like this."
        )
    warn_look(Looked(corners, sizes), path)


def _place(boxes: pd.DataFrame) -> str:
    row = boxes.iloc[0]
    return f"video {row['video']!r} frame {row['frame']}"


def _check_classes(truth: OutsideTruth, path: Path, classes: Classes) -> None:
    """The classes of the file are those of the split; counts what the label map leaves out."""
    if truth.unlisted_rows:
        logger.warning(
            "%s: %d rows are of actions that the label map lacks and do not count",
            path, truth.unlisted_rows,
        )  # fmt: skip
    names = sorted(map(str, truth.boxes["class"].unique()))
    known = {*classes.split.base, *classes.split.unseen, *classes.names.values()}
    match_names(names, known, where=path, what="classes", among=f"classes of {classes.split.where}")


def _accepted() -> str:
    return "; ".join(f"({n}) {r.title}" for n, r in enumerate(READERS, 1))
