"""The J-HMDB annotations released with ST-CLIP (Huang et al. 2025) with the official frames.

Two COCO-like JSON files (gzip allowed), one per side of official split 1:

    jhmdb_test_gt_min.json    `images`: id, movie (the bare video name), timestamp (frame from 1)
    jhmdb_train_gt_min.json   `annotations`: image_id, person_id, action_ids, bbox

`bbox` holds the corners x1, y1, x2, y2, not COCO's width and height; `area` was computed as if it
did and is ignored. `action_ids` count from 1 through the alphabetical class names, which are those
of the class folders.
"""

import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import PositiveFloat

from stclip.errors import DataError
from stclip.prepare.store import FRAME_FILE, FrameStore, video_of, write_prepared
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.archives import locate, matching_members
from stclip.storage.clip_files import StoredClip
from stclip.storage.frame_store import StoreName
from stclip.storage.numbers import as_id, as_numbers, as_whole, whole
from stclip.storage.outside_files import read_json_file

logger = logging.getLogger(__name__)
_OF_ANNOTATION = ("image_id", "action_ids", "bbox")
Side = Literal["train", "test"]


def prepare(
    raw: Path,
    out: Path,
    *,
    frames: str,
    annotations: dict[Side, str],
    licence: str,
    fps: PositiveFloat,
    frame_store: StoreName = "decoded",
) -> None:
    """Write `out`/frames, boxes.parquet and, last, clips.parquet of the annotated videos.

    Videos without annotation are left out, their frames are not stored; both are counted in the
    log. So only what the given files list is trained or tested on.

    Args:
        raw: Folder of the annotations and of the pictures' archive (or folder).
        out: Folder of the prepared data; other files in it are left alone.
        frames: File name of the pictures' archive.
        annotations: "train" and "test" -> file name; a file that is not there is passed over, but
            one has to be.
        licence: Written into every row of clips.parquet.
        fps: Frames per second of the videos.
        frame_store: How the frames are stored (`stclip.storage.frame_store`).

    Raises:
        DataError: a file is missing, damaged or not of its form, or pictures and annotations do not
            fit together.
    """
    boxes, sizes, official_split = _read_annotations(raw, annotations)
    archive = locate(raw, frames)

    def build(folder: Path) -> tuple[Clips, Boxes]:
        store, without, actions = FrameStore(archive, folder, frame_store), set(), set()
        for name, match, content in matching_members(archive, FRAME_FILE):
            video = video_of(archive, name)
            actions.add(video.split("/")[0])
            if name.parent.name in official_split:
                store.add(name, match["number"], content)
            else:
                without.add(video)
        found = store.finish()
        folders = {PurePosixPath(video).name: video for video in sorted(found)}
        missing = sorted(official_split.keys() - folders.keys())
        if missing:
            raise DataError(
                f"{archive}: {len(missing)} annotated videos without frames, the first: "
                f"{', '.join(missing[:3])}."
            )
        _check_sizes(sizes, {clip: found[video] for clip, video in folders.items()}, archive)
        table = _with_actions(boxes, sorted(actions), folders, archive)
        order = {clip: number for number, clip in enumerate(folders)}
        table = table.assign(order=table["clip"].map(order))
        table = table.sort_values(["order", "frame", "person_id"], kind="stable")
        table["tube"] = table.groupby("clip")["person_id"].rank("dense").astype(int) - 1
        stored = [found[video] for video in folders.values()]
        num_frames = dict(zip(folders, (len(s.numbers) for s in stored), strict=True))
        outside = table[table["frame"] >= table["clip"].map(num_frames)]
        if len(outside):
            row = outside.iloc[0]
            raise DataError(
                f"{archive}: {row['clip']}: frame {row['frame'] + 1} is annotated, the video has "
                f"{num_frames[row['clip']]}."
            )
        clips = pd.DataFrame(
            {
                "clip": list(folders),
                "official_split": [official_split[clip] for clip in folders],
                "num_frames": list(num_frames.values()),
                "height": [s.height for s in stored],
                "width": [s.width for s in stored],
                "fps": fps,
                "licence": licence,
                "actions": [[video.split("/")[0]] for video in folders.values()],
            }
        )
        total = sum(num_frames.values())
        logger.info(
            "J-HMDB: %d annotated videos, %d frames, %d boxes (%d frames have none); %d videos "
            "without annotation left out",
            *(len(folders), total, len(table)),
            *(total - len(table[["clip", "frame"]].drop_duplicates()), len(without)),
        )
        return Clips(clips), Boxes(table[list(Boxes.COLUMNS)])

    write_prepared(out, build)


def _with_actions(
    boxes: pd.DataFrame, actions: list[str], folders: dict[str, str], archive: Path
) -> pd.DataFrame:
    """Name the actions; they have to be those of the class folders."""
    names = dict(enumerate(actions, start=1))
    named = boxes["action_ids"].map(lambda numbers: [names.get(n, "?") for n in numbers])
    table = boxes.assign(actions=named)
    expected = table["clip"].map(lambda clip: folders[clip].split("/")[0])
    wrong = [a != [e] for a, e in zip(table["actions"], expected, strict=True)]
    if any(wrong):
        row = table[wrong].iloc[0]
        raise DataError(
            f"{archive}: the annotations give {row['clip']} the action_ids {row['action_ids']}, "
            f"its folder is {folders[row['clip']]}; the {len(actions)} class folders are numbered "
            f"from 1 in the order of their names, are some missing? They are {actions}."
        )
    return table


def _check_sizes(sizes: pd.DataFrame, stored: dict[str, StoredClip], archive: Path) -> None:
    """The sizes that the annotations state are those of the pictures: boxes are in their pixels."""
    for clip, width, height in sizes.itertuples(index=False, name=None):
        known = stored.get(clip)  # a video may be listed without any annotation
        if known and (width, height) != (known.width, known.height):
            raise DataError(
                f"{archive}: the annotations say that {clip} is {width}x{height}, its pictures are "
                f"{known.width}x{known.height}: the boxes are of pictures of another size."
            )


def _read_annotations(
    raw: Path, files: dict[Side, str]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """All files' boxes (clip, 0-based frame, corners, person_id, action_ids); sizes; clip -> side.

    Sizes are clip, width, height, of the files that state them.
    """
    parts: list[pd.DataFrame] = []
    sizes = [pd.DataFrame(columns=["clip", "width", "height"])]
    official_split: dict[str, str] = {}
    for side, name in files.items():
        path = next((p for p in (raw / name, raw / f"{name}.gz") if p.is_file()), None)
        if path is None:
            logger.info("%s: not there, so nothing is annotated for %s", raw / name, side)
            continue
        table, images = _read_file(path)
        if {"width", "height"} <= set(images):
            sizes.append(images[["clip", "width", "height"]].drop_duplicates())
        for clip in table["clip"].unique():
            if official_split.setdefault(clip, side) != side:
                raise DataError(f"{path}: {clip} is annotated for training and for testing.")
        parts.append(table)
    if not parts:
        raise DataError(f"{raw}: has none of {list(files.values())}; run the download stage first.")
    return pd.concat(parts, ignore_index=True), pd.concat(sizes), official_split


@dataclass(frozen=True)
class Released:
    """What a released file holds; frames count from 1, as published.

    `images`: movie, frame, and height and width where the file says them. `boxes`: movie, frame,
    x1, y1, x2, y2, person_id (None where the file has none), action_ids (a list).
    """

    images: pd.DataFrame
    boxes: pd.DataFrame


def read_released(data: Any, where: str | Path) -> Released:
    """Understand the content of a released file; `where` is for messages.

    Raises:
        DataError: it is built in another way, or a number is none; says which entry.
    """
    listed, annotations = (_entries(data, key, where) for key in ("images", "annotations"))
    for key, entries in (("images", listed), ("annotations", annotations)):
        needed = ("id", "movie", "timestamp") if key == "images" else _OF_ANNOTATION
        for number, entry in enumerate(entries):
            lacking = [k for k in needed if not isinstance(entry, dict) or k not in entry]
            if lacking:
                raise DataError(
                    f"{where}: {key}[{number}]: has no {lacking}; found {entry!r:.200}."
                )
    images = pd.DataFrame({"movie": [str(image["movie"]) for image in listed]})
    images["frame"] = _whole(listed, "images", "timestamp", where)
    for side in ("height", "width"):
        if listed and all(side in image for image in listed):
            images[side] = _whole(listed, "images", side, where)
    places: dict[int | str, tuple[str, int]] = {}
    pairs = zip(images["movie"], images["frame"].tolist(), strict=True)
    for number, (image, place) in enumerate(zip(listed, pairs, strict=True)):
        if places.setdefault(as_id(image["id"], f"{where}: images[{number}]"), place) != place:
            raise DataError(f"{where}: images[{number}]: id {image['id']!r} is there twice.")
    rows = []
    for number, annotation in enumerate(annotations):
        entry = f"{where}: annotations[{number}]"
        of_image = as_id(annotation["image_id"], entry)
        if of_image not in places:
            raise DataError(f"{entry}: image_id {of_image!r} is the id of no image.")
        box, actions = annotation["bbox"], annotation["action_ids"]
        if not isinstance(box, list) or len(box) != 4:
            raise DataError(f"{entry}: bbox {box!r} is not four numbers x1, y1, x2, y2.")
        if not isinstance(actions, list):
            raise DataError(f"{entry}: action_ids {actions!r} is no list.")
        corners = as_numbers(box, "bbox", entry).tolist()
        numbers = as_whole(actions, "action_ids", entry).tolist()
        person = annotation.get("person_id")
        person = None if person is None else whole(person, "person_id", entry)
        rows.append((*places[of_image], *corners, person, numbers))
    columns = ["movie", "frame", *BOX_COLUMNS, "person_id", "action_ids"]
    return Released(images, pd.DataFrame(rows, columns=columns))


def _entries(data: Any, key: str, where: str | Path) -> list[Any]:
    entries = data.get(key) if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise DataError(
            f"{where}: not the annotations released with ST-CLIP, or like them: expected lists "
            f"`images` and `annotations`, `{key}` is {type(entries).__name__}."
        )
    return entries


def _whole(entries: list[Any], key: str, name: str, where: str | Path) -> np.ndarray:
    values = [entry[name] for entry in entries]
    return as_whole(values, name, lambda number: f"{where}: {key}[{number}]")


def _read_file(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Boxes with 0-based frames, and the images; both with the column clip."""
    released = read_released(read_json_file(path), path)
    table = released.boxes.rename(columns={"movie": "clip"})
    table["frame"] -= 1
    if table["person_id"].isna().any():
        raise DataError(f"{path}: an annotation has no person_id.")
    twice = table[table.duplicated(["clip", "frame", "person_id"])]
    if len(twice) or (table["frame"] < 0).any() or table.empty:
        raise DataError(
            f"{path}: expected annotations, frames from 1 and each person once in a frame; found "
            f"{len(table)}, {(table['frame'] < 0).sum()} below 1, {len(twice)} repeated."
        )
    return table, released.images.rename(columns={"movie": "clip"})
