"""A csv with a header, a row a box: the columns of `stclip evaluate-file`, the score not needed.

    video,frame,class,x1,y1,x2,y2        second in place of frame; person, if it is known

An empty class is a box without label; four empty corners are a label of the whole picture, and with
an empty frame too, of the whole video.
"""

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from stclip.errors import DataError
from stclip.prepare.annotations.found import COLUMNS, Format, Found, ReadAs
from stclip.records import BOX_COLUMNS
from stclip.storage.numbers import as_numbers, as_whole, line_of, refuse
from stclip.storage.outside_files import csv_parts, text_of

_READ = ("video", "frame", "second", "class", "person", *BOX_COLUMNS)


def _header(content: bytes, where: str | Path) -> list[str]:
    return next(csv.reader(io.StringIO(text_of(content.split(b"\n", 1)[0], where))), [])


def _looks_like(content: bytes) -> bool:
    try:
        return {"video", "x1"} <= {*_header(content, "")} or {"video", "class"} <= {
            *_header(content, "")
        }
    except DataError:  # no text
        return False


def _read(content: bytes, path: Path, read_as: ReadAs) -> Found:
    header = [name.strip() for name in _header(content, path)]
    present = [name for name in _READ if name in header]
    if "video" not in present or not {"class", "x1"} & {*present}:
        raise DataError(
            f"{path}: line 1: columns are {header}; needed are video, and class or x1,y1,x2,y2 or "
            "both; frame or second says when."
        )
    if {"frame", "second"} <= {*present}:
        raise DataError(f"{path}: line 1: has both frame and second; keep one.")
    corners = [name for name in BOX_COLUMNS if name in present]
    if corners and len(corners) < len(BOX_COLUMNS):
        raise DataError(f"{path}: line 1: of x1,y1,x2,y2 only {corners} are there.")
    table = pd.concat(csv_parts(content, path, needed=present))
    for name in _READ:
        if name not in table:
            table[name] = ""
    at = line_of(path, table)
    refuse((table["video"] == "").to_numpy(), table["video"], "video", at, "is no name")
    boxless = (table[BOX_COLUMNS] == "").all(axis=1)
    timeless = (table["frame"] == "") & (table["second"] == "")
    refuse(
        (timeless & ~boxless).to_numpy(), table["frame"], "frame", at,
        "is no number, and there is no second either; a box needs one of them",
    )  # fmt: skip
    empty = boxless & (table["class"] == "")
    rows = table.assign(label=table["class"].str.strip(), person=table["person"].str.strip())
    rows["place"] = [f"{path}: line {number}" for number in rows.index]
    for name, whole in (("frame", True), ("second", False), *((c, False) for c in BOX_COLUMNS)):
        rows[name] = np.nan
        there = table[~boxless] if name in BOX_COLUMNS else table[table[name] != ""]
        read = as_whole if whole else as_numbers
        rows.loc[there.index, name] = read(there[name], name, line_of(path, there)).astype(float)
    passed = Counter({"rows with neither box nor class": int(empty.sum())})
    return Found(
        rows.loc[~empty, COLUMNS].reset_index(drop=True),
        unit=read_as.unit or "pixels",
        box_format=read_as.box_format or "xyxy",
        first_frame=0 if read_as.first_frame is None else read_as.first_frame,
        passed_over=passed,
    )


FORMAT = Format(
    "rows",
    "csv of evaluate-file: video,frame,class,x1,y1,x2,y2",
    frozenset({"unit", "box_format", "first_frame"}),
    _looks_like,
    _read,
)
