"""The J-HMDB annotations released with ST-CLIP (Huang et al. 2025) with the official frames.

Two COCO-like JSON files (gzip allowed), one per side of official split 1:

    jhmdb_test_gt_min.json    `images`: id, movie (the bare video name), timestamp (frame from 1)
    jhmdb_train_gt_min.json   `annotations`: image_id, person_id, action_ids, bbox

`bbox` holds the corners x1, y1, x2, y2, not COCO's width and height; `area` was computed as if it
did and is ignored. `action_ids` count from 1 through the alphabetical class names, which are those
of the class folders.
"""

import gzip
import json
import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pandas as pd
from pydantic import PositiveFloat

from stclip.errors import DataError
from stclip.prepare.store import FRAME_FILE, FrameStore, video_of, write_prepared
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.archives import locate, matching_members

logger = logging.getLogger(__name__)
Side = Literal["train", "test"]


def prepare(
    raw: Path,
    out: Path,
    *,
    frames: str,
    annotations: dict[Side, str],
    licence: str,
    fps: PositiveFloat,
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

    Raises:
        DataError: a file is missing, damaged or not of its form, or pictures and annotations do not
            fit together.
    """
    boxes, official_split = _read_annotations(raw, annotations)
    archive = locate(raw, frames)

    def build(folder: Path) -> tuple[Clips, Boxes]:
        store, without, actions = FrameStore(archive, folder), set(), set()
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


def _read_annotations(raw: Path, files: dict[Side, str]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Boxes of all files (clip, 0-based frame, corners, person_id, action_ids); clip -> side."""
    parts: list[pd.DataFrame] = []
    official_split: dict[str, str] = {}
    for side, name in files.items():
        path = next((p for p in (raw / name, raw / f"{name}.gz") if p.is_file()), None)
        if path is None:
            logger.info("%s: not there, so nothing is annotated for %s", raw / name, side)
            continue
        table = _read_file(path)
        for clip in table["clip"].unique():
            if official_split.setdefault(clip, side) != side:
                raise DataError(f"{path}: {clip} is annotated for training and for testing.")
        parts.append(table)
    if not parts:
        raise DataError(f"{raw}: has none of {list(files.values())}; run the download stage first.")
    return pd.concat(parts, ignore_index=True), official_split


@dataclass(frozen=True)
class Released:
    """What a released file holds; frames count from 1, as published.

    `images`: movie, frame, and height and width where the file says them. `boxes`: movie, frame,
    x1, y1, x2, y2, person_id (None where the file has none), action_ids (a list).
    """

    images: pd.DataFrame
    boxes: pd.DataFrame


def read_released(data: Any) -> Released:
    """Understand the content of a released file.

    Raises:
        KeyError, TypeError, ValueError: it is built in another way.
    """
    frames = [int(image["timestamp"]) for image in data["images"]]
    images = pd.DataFrame(data["images"]).assign(frame=frames)
    places = {i["id"]: (i["movie"], f) for i, f in zip(data["images"], frames, strict=True)}
    rows = [
        (*places[a["image_id"]], *a["bbox"], a.get("person_id"), a["action_ids"])
        for a in data["annotations"]
    ]
    columns = ["movie", "frame", *BOX_COLUMNS, "person_id", "action_ids"]
    kept = [c for c in ("movie", "frame", "height", "width") if c in images]
    return Released(images[kept], pd.DataFrame(rows, columns=columns))


def _read_file(path: Path) -> pd.DataFrame:
    content = path.read_bytes()
    try:
        data: Any = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        table = read_released(data).boxes.rename(columns={"movie": "clip"})
        table["frame"] -= 1
        if table["person_id"].isna().any():
            raise ValueError("an annotation has no person_id")
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not the annotations released with ST-CLIP ({type(error).__name__}: {error})."
        ) from None
    twice = table[table.duplicated(["clip", "frame", "person_id"])]
    if len(twice) or (table["frame"] < 0).any() or table.empty:
        raise DataError(
            f"{path}: expected annotations, frames from 1 and each person once in a frame; found "
            f"{len(table)}, {(table['frame'] < 0).sum()} below 1, {len(twice)} repeated."
        )
    return table
