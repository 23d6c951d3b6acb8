"""COCO JSON: `images`, `annotations` with a bbox of x, y, width, height, `categories`.

A picture's video and frame are told by its `video_id` and `frame_id` (or `frame_index`), as in the
COCO files of video data sets, else by its `file_name` (`picture_names` says how those are built).
The label is the category's name, or the attribute that somebody names.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stclip.errors import DataError
from stclip.prepare.annotations.found import (
    Format,
    Found,
    ReadAs,
    box_of,
    picture_place,
    rows_from,
)
from stclip.storage.numbers import as_id, whole
from stclip.storage.outside_files import is_json, parse_json

_FRAME_KEYS = ("frame_id", "frame_index")
_PERSON_KEYS = ("track_id", "instance_id", "person_id")


def _read(content: bytes, path: Path, read_as: ReadAs) -> Found:
    data = parse_json(content, path)
    parts = {key: _entries(data, key, path) for key in ("images", "annotations")}
    names = {}
    for key in ("categories", "videos"):
        listed = _entries(data, key, path) if isinstance(data, dict) and data.get(key) else []
        names[key] = {
            as_id(_given(entry, "id", f"{path}: {key}[{n}]"), f"{path}: {key}[{n}]"): str(
                _given(entry, "name" if "name" in entry else "file_name", f"{path}: {key}[{n}]")
            )
            for n, entry in enumerate(listed)
        }
    places = {}
    for number, picture in enumerate(parts["images"]):
        where = f"{path}: images[{number}]"
        own = as_id(_given(picture, "id", where), where)
        if own in places:
            raise DataError(f"{where}: id {own!r} is there twice.")
        places[own] = _place(picture, names["videos"], read_as, where)
    rows, passed = [], Counter({"crowds (iscrowd)": 0})
    for number, annotation in enumerate(parts["annotations"]):
        where = f"{path}: annotations[{number}]"
        if annotation.get("iscrowd"):
            passed["crowds (iscrowd)"] += 1
            continue
        shown = as_id(_given(annotation, "image_id", where), where)
        if shown not in places:
            raise DataError(f"{where}: image_id {shown!r} is of no image of the file.")
        video, frame = places[shown]
        person = next((str(annotation[k]) for k in _PERSON_KEYS if k in annotation), "")
        box = box_of(_given(annotation, "bbox", where), where)
        for label in _labels(annotation, names["categories"], read_as, where):
            rows.append((video, frame, float("nan"), box, person, label, where))
    return Found(
        rows_from(rows),
        unit="pixels",
        box_format=read_as.box_format or "xywh",
        first_frame=0 if read_as.first_frame is None else read_as.first_frame,
        passed_over=passed,
    )


def _entries(data: Any, key: str, path: Path) -> list[dict[str, Any]]:
    entries = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: {key}: a list of objects is needed, as COCO's files have it.")
    return entries


def _given(entry: Mapping[str, Any], key: str, where: str) -> Any:
    if entry.get(key) is None:
        raise DataError(f"{where}: has no {key}; its keys are {sorted(map(str, entry))}.")
    return entry[key]


def _place(
    picture: Mapping[str, Any], videos: Mapping[Any, str], read_as: ReadAs, where: str
) -> tuple[str, float]:
    """The video and frame of an image."""
    key = next((key for key in _FRAME_KEYS if picture.get(key) is not None), None)
    if picture.get("video_id") is None or key is None:
        return picture_place(str(_given(picture, "file_name", where)), read_as, where)
    video = as_id(picture["video_id"], where)
    if video not in videos:
        raise DataError(f"{where}: video_id {video!r} is of no video of the file.")
    return read_as.video or videos[video], float(whole(picture[key], key, where))


def _labels(
    annotation: Mapping[str, Any], categories: Mapping[Any, str], read_as: ReadAs, where: str
) -> list[str]:
    """The category's name, or what an attribute says; "" for none."""
    if read_as.label_attribute is not None:
        own = annotation.get("attributes") or annotation
        if not isinstance(own, Mapping):
            raise DataError(f"{where}: attributes is {own!r}; an object is needed.")
        value = own.get(read_as.label_attribute)
        values = value if isinstance(value, list) else [value]
        return [str(v).strip() for v in values if v not in (None, "")] or [""]
    if annotation.get("category_id") is None:
        return [""]
    category = as_id(annotation["category_id"], where)
    if category not in categories:
        raise DataError(f"{where}: category_id {category!r} is of no category of the file.")
    return [categories[category]]


FORMAT = Format(
    "coco",
    "COCO JSON: images, annotations, categories",
    frozenset({"box_format", "first_frame", "label_attribute", "picture_names", "video"}),
    is_json,
    _read,
)
