"""A csv as AVA has it, without header: a row is one action of one person in one second.

    video,second,x1,y1,x2,y2,action[,person]

Corners are fractions of the picture, unless somebody says otherwise; actions are numbers of the
label list, or names. A line `video,second` alone is a second without a person.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from stclip.errors import DataError
from stclip.prepare.annotations.found import COLUMNS, Format, Found, ReadAs
from stclip.records import BOX_COLUMNS
from stclip.storage.numbers import as_numbers, line_of, refuse
from stclip.storage.outside_files import csv_table

_FIELDS = ["video", "second", *BOX_COLUMNS, "label", "person"]
_FEWEST = len(_FIELDS) - 1  # the person may be missing


def _looks_like(content: bytes) -> bool:
    """Whether the second to sixth field of the first line are numbers."""
    fields = content.split(b"\n", 1)[0].strip().split(b",")
    if len(fields) not in (2, _FEWEST, _FEWEST + 1):
        return False
    try:
        return all(np.isfinite(float(field)) for field in fields[1:6])
    except ValueError:
        return False


def _read(content: bytes, path: Path, read_as: ReadAs) -> Found:
    table = csv_table(content, path, columns=_FIELDS)
    at = line_of(path, table)
    refuse((table["video"] == "").to_numpy(), table["video"], "video", at, "is no name")
    alone = (table[[*BOX_COLUMNS, "label", "person"]] == "").all(axis=1)
    rows = table[~alone].copy()
    if rows.empty:
        raise DataError(f"{path}: none of its {len(table)} lines has a person.")
    at = line_of(path, rows)
    for name in ("second", *BOX_COLUMNS):
        rows[name] = as_numbers(rows[name], name, at)
    refuse(
        (rows["second"] < 0).to_numpy(), rows["second"], "second", at, "is before the video begins"
    )
    rows = rows.assign(frame=np.nan, place=[f"{path}: line {number}" for number in rows.index])
    return Found(
        rows[COLUMNS].reset_index(drop=True),
        unit=read_as.unit or "fractions",
        box_format=read_as.box_format or "xyxy",
        first_frame=0,
        passed_over=Counter({"seconds without a person": int(alone.sum())}),
    )


FORMAT = Format(
    "ava",
    "AVA's csv: video,second,x1,y1,x2,y2,action[,person], no header",
    frozenset({"unit", "box_format"}),
    _looks_like,
    _read,
)
