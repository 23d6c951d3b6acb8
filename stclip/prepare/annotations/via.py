"""The csv files of the VGG Image Annotator: rectangles of pictures (VIA 2), or of videos (VIA 3).

    filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes
    metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata

Shapes and attributes are JSON in a field; rectangles are x, y, width, height in pixels. VIA 2 names
pictures (`picture_names` says how), VIA 3 a video and a second. The label is the only attribute of
a region, or the one that somebody names; an attribute of check boxes may hold several.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stclip.errors import DataError
from stclip.prepare.annotations.found import (
    Format,
    Found,
    ReadAs,
    box_of,
    picture_place,
    rows_from,
)
from stclip.storage.numbers import as_numbers
from stclip.storage.outside_files import csv_parts, csv_table, parse_json

_OF_PICTURES = ["filename", "region_shape_attributes", "region_attributes"]
_OF_VIDEOS = ["file_list", "temporal_coordinates", "spatial_coordinates", "metadata"]
_ALL_OF_VIDEOS = ["metadata_id", "file_list", "flags", *_OF_VIDEOS[1:]]
_RECTANGLE = 2  # VIA 3's number of that shape
Row = tuple[str, float, float, list[float], str, str, str]


def _looks_like(content: bytes) -> bool:
    start = content[:4096]
    return b"region_shape_attributes" in start or b"temporal_coordinates" in start


def _read(content: bytes, path: Path, read_as: ReadAs) -> Found:
    passed: Counter[str] = Counter()
    of_pictures = b"region_shape_attributes" in content[:4096]
    read = _of_pictures if of_pictures else _of_videos
    rows = list(read(content, path, read_as, passed))
    return Found(
        rows_from(rows),
        unit="pixels",
        box_format="xywh",
        first_frame=0 if read_as.first_frame is None else read_as.first_frame,
        passed_over=passed,
    )


def _of_pictures(
    content: bytes, path: Path, read_as: ReadAs, passed: Counter[str]
) -> Iterator[Row]:
    table = pd.concat(csv_parts(content, path, needed=_OF_PICTURES))
    for line, name, shape, attributes in table.itertuples():
        where = f"{path}: line {line}"
        outline = _object(shape, "region_shape_attributes", where)
        if not outline:
            passed["pictures without a region"] += 1
            continue
        if outline.get("name") != "rect":
            passed["regions that are no rectangles"] += 1
            continue
        video, frame = picture_place(name, read_as, where)
        box = box_of([outline.get(key) for key in ("x", "y", "width", "height")], where)
        for label in _labels(_object(attributes, "region_attributes", where), read_as, where):
            yield video, frame, float("nan"), box, "", label, where


def _of_videos(content: bytes, path: Path, read_as: ReadAs, passed: Counter[str]) -> Iterator[Row]:
    lines = content.split(b"\n")  # notes, of any number of commas, become empty lines
    content = b"\n".join(b"" if line.lstrip()[:1] == b"#" else line for line in lines)
    table = csv_table(content, path, columns=_ALL_OF_VIDEOS)
    table = table[table["metadata_id"] != "metadata_id"]
    for line, files, times, shape, attributes in table[_OF_VIDEOS].itertuples():
        where = f"{path}: line {line}"
        seconds = _list(times, "temporal_coordinates", where)
        outline = _list(shape, "spatial_coordinates", where)
        if not outline:
            passed["stretches of time without a box"] += 1
            continue
        if outline[0] != _RECTANGLE:
            passed["regions that are no rectangles"] += 1
            continue
        if len(seconds) != 1:
            raise DataError(f"{where}: temporal_coordinates is {times!r}; a box has one second.")
        second = float(as_numbers(seconds, "second", where)[0])
        names = _list(files, "file_list", where)
        if len(names) != 1 and not read_as.video:
            raise DataError(f"{where}: file_list is {files!r}; expected is one video.")
        video = read_as.video or str(names[0])
        box = box_of(outline[1:], where)
        for label in _labels(_object(attributes, "metadata", where), read_as, where):
            yield video, float("nan"), second, box, "", label, where


def _object(text: str, what: str, where: str) -> dict[str, Any]:
    value = parse_json(text.encode(), f"{where}: {what}") if text.strip() else {}
    if not isinstance(value, dict):
        raise DataError(f"{where}: {what} is {text!r}; an object is expected.")
    return value


def _list(text: str, what: str, where: str) -> list[Any]:
    value = parse_json(text.encode(), f"{where}: {what}") if text.strip() else []
    if not isinstance(value, list):
        raise DataError(f"{where}: {what} is {text!r}; a list is expected.")
    return value


def _labels(attributes: Mapping[str, Any], read_as: ReadAs, where: str) -> list[str]:
    """What the attribute says; of check boxes those that are set; "" for none."""
    wanted = read_as.label_attribute
    if wanted is None and len(attributes) > 1:
        raise DataError(
            f"{where}: has the attributes {sorted(attributes)}; say which holds the label: "
            "--label-attribute NAME."
        )
    value = attributes.get(wanted or next(iter(attributes), ""))
    if isinstance(value, Mapping):
        return [str(name).strip() for name, is_set in value.items() if is_set] or [""]
    return ["" if value is None else str(value).strip()]


FORMAT = Format(
    "via",
    "csv of the VGG Image Annotator, of pictures (VIA 2) or videos (VIA 3)",
    frozenset({"first_frame", "label_attribute", "picture_names", "video"}),
    _looks_like,
    _read,
)
