"""The corrected annotations of UCF101-24 (Singh et al., ICCV 2017): pyannot.pkl, or it as JSON.

    {"<Class>/<video>": {"numf": frames, "label": class, "annotations": [tube, ...]}, ...}
    tube: {"label": class, "sf": first frame, "ef": end, "boxes": [[x, y, width, height], ...]}

Labels count the classes' names in alphabetical order from 0, frames count from 0 and `ef` is past
the last one, x and y count from 1. Numbers are of uint8 or uint16, in which x + width runs over:
all are converted first. pyannot_with_class_names.pkl holds the same as `db`, beside `classes`
(names) and `trainvideos`; pyannot.pkl alone needs the list of test videos (testlist01.txt).

N: boxes of a tube.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from stclip.errors import DataError
from stclip.records import BOX_COLUMNS, Boxes
from stclip.storage.name_matching import match_names
from stclip.storage.numbers import as_whole, plain, whole
from stclip.storage.outside_files import text_of

logger = logging.getLogger(__name__)

KEYS = ("db", "classes", "trainvideos")  # of the file that names its classes


@dataclass(frozen=True)
class AnnotatedTube:
    """A person's boxes in consecutive frames, corners from 0."""

    action: str
    start: int  # 0-based frame of the first box
    boxes_xyxy: Int64[np.ndarray, "N 4"]

    @property
    def frames(self) -> Int64[np.ndarray, " N"]:
        """0-based frame of each box."""
        return self.start + np.arange(len(self.boxes_xyxy))


@dataclass(frozen=True)
class AnnotatedVideo:
    """The tubes of a video; `num_frames` is what the annotators counted."""

    folder: str  # <Class>/<video>
    num_frames: int
    tubes: tuple[AnnotatedTube, ...]

    @property
    def clip(self) -> str:
        """The bare video name."""
        return PurePosixPath(self.folder).name

    @property
    def action(self) -> str:
        """The class."""
        return PurePosixPath(self.folder).parent.name

    @property
    def last_frame(self) -> int:
        """0-based number of the last frame with a box."""
        return max(int(tube.frames[-1]) for tube in self.tubes)


@dataclass(frozen=True)
class Annotations:
    """All annotated videos by `<Class>/<video>`, sorted; `train` where the file lists them."""

    videos: dict[str, AnnotatedVideo]
    train: frozenset[str] | None

    @property
    def actions(self) -> list[str]:
        """The classes, sorted."""
        return sorted({video.action for video in self.videos.values()})


def read_video(
    folder: str, content: Mapping[str, Any], labels: list[str], *, where: str | Path
) -> AnnotatedVideo:
    """One entry of the annotations.

    Args:
        folder: `<Class>/<video>`, its key.
        content: its value.
        labels: the names that labels number.
        where: the file, for messages.

    Raises:
        DataError: a number is no whole one, a label has no name, a tube has no boxes or another
            number of them than frames.
        KeyError, TypeError, ValueError: it is not built as the module says.
    """
    num_frames = whole(content["numf"], "numf", f"{where}: {folder}")
    tubes = []
    for number, tube in enumerate(content["annotations"]):
        at = f"{where}: {folder}: annotations[{number}]"
        # whole numbers of uint8 and uint16, in which x + width would run over
        sides = as_whole(np.asarray(tube["boxes"]).ravel(), "a box's number", at).reshape(-1, 4)
        label, start = (whole(tube[key], key, at) for key in ("label", "sf"))
        if not 0 <= label < len(labels):
            raise DataError(f"{at}: label {label} is not among 0 to {len(labels) - 1}.")
        if "ef" in tube and whole(tube["ef"], "ef", at) - start != len(sides):
            raise DataError(f"{at}: {len(sides)} boxes, but frames {start} to {tube['ef']}.")
        if not len(sides):
            raise DataError(f"{at}: the tube has no boxes; leave it out.")
        x, y, width, height = sides.T
        corners = np.stack([x - 1, y - 1, x + width - 1, y + height - 1], axis=1)
        tubes.append(AnnotatedTube(labels[label], start, corners))
    return AnnotatedVideo(folder, num_frames, tuple(tubes))


def read_annotations(data: Any, where: str | Path) -> Annotations:
    """All videos of the annotations, with or without names of the classes.

    Raises:
        DataError: it is not built as the module says, a video has no tubes, is in a folder of
            another class than its labels, or a box is none: below 1 or without width or height.
    """
    try:
        return _read_annotations(data, where)
    except DataError:
        raise
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise DataError(
            f"{where}: not built like the corrected annotations of UCF101-24 "
            f"({type(error).__name__}: {error})."
        ) from None


def _read_annotations(data: Any, where: str | Path) -> Annotations:
    named = set(KEYS) <= data.keys()
    entries = data["db"] if named else data
    folders = sorted(map(str, entries))
    for folder in folders:
        if len(PurePosixPath(folder).parts) != 2:
            raise DataError(f"{where}: videos are called <Class>/<video>, found {folder!r}.")
    if not folders:
        raise DataError(f"{where}: has no videos.")
    labels = sorted({PurePosixPath(folder).parent.name for folder in folders})
    if named:
        labels = [str(name) for name in data["classes"]]
    videos = {
        folder: read_video(folder, entries[folder], labels, where=where) for folder in folders
    }
    clips: dict[str, str] = {}
    for video in videos.values():
        _check(video, f"{where}: {video.folder}")
        if clips.setdefault(video.clip, video.folder) != video.folder:
            raise DataError(f"{where}: {clips[video.clip]} and {video.folder} have the same name.")
    train = frozenset(map(str, data["trainvideos"])) if named else None
    return Annotations(videos, train)


def _check(video: AnnotatedVideo, at: str) -> None:
    if not video.tubes:
        raise DataError(f"{at}: has no tubes; leave the video out.")
    for number, tube in enumerate(video.tubes):
        if tube.action != video.action:
            raise DataError(
                f"{at}: annotations[{number}] are of {tube.action}, the video of {video.action}."
            )
        if tube.start < 0:
            raise DataError(f"{at}: annotations[{number}]: sf {tube.start} is before the video.")
        x1, y1, x2, y2 = tube.boxes_xyxy.T
        bad = (x1 < 0) | (y1 < 0) | (x2 < x1 + 1) | (y2 < y1 + 1)
        if bad.any():
            box = plain(np.array([x1 + 1, y1 + 1, x2 - x1, y2 - y1]).T[bad][0])
            raise DataError(
                f"{at}: annotations[{number}]: x, y, width, height {box} are no box of pixels that "
                f"count from 1; {bad.sum()} like this."
            )


def read_test_list(content: bytes, where: str | Path) -> list[str]:
    """The videos of a list, a line `<Class>/<video>` each, with or without `.avi`.

    Raises:
        DataError: no text, another line, or no line.
    """
    videos = []
    for number, line in enumerate(text_of(content, where).splitlines(), start=1):
        name = line.strip().removesuffix(".avi")
        if name and len(PurePosixPath(name).parts) != 2:
            raise DataError(f"{where}: line {number}: expected <Class>/<video>, found {line!r}.")
        if name:
            videos.append(name)
    if not videos:
        raise DataError(f"{where}: lists no videos.")
    return videos


def official_splits(
    videos: Iterable[str], listed: Collection[str], *, side: str, where: str | Path
) -> dict[str, str]:
    """The official split, train or test, of each video; those that a list lacks are of the other.

    Args:
        videos: all annotated ones.
        listed: those of one side; some may have no annotation, which is logged.
        side: which, train or test.
        where: the list stands, for messages.

    Raises:
        DataError: none of the listed videos is annotated, or all are, so that a side is empty.
    """
    known = list(videos)
    match_names(sorted(listed), known, where=where, what=f"{side} videos", among="annotated videos")
    other = {"train": "test", "test": "train"}[side]
    found = {video: side if video in listed else other for video in known}
    if other not in found.values():
        raise DataError(f"{where}: all {len(known)} annotated videos are {side} videos.")
    return found


def boxes_table(videos: Iterable[AnnotatedVideo]) -> Boxes:
    """All boxes, in the order of the videos, then by frame, then by tube."""
    parts, clips, actions = [], [], []
    for video in videos:
        numbers = [np.full(len(tube.frames), n) for n, tube in enumerate(video.tubes)]
        part = np.concatenate(
            [
                np.column_stack([tube.frames, number, tube.boxes_xyxy])
                for tube, number in zip(video.tubes, numbers, strict=True)
            ]
        )
        parts.append(part[np.lexsort((part[:, 1], part[:, 0]))])
        clips += [video.clip] * len(part)
        actions += [[video.action]] * len(part)
    table = pd.DataFrame(np.concatenate(parts), columns=["frame", "tube", *BOX_COLUMNS])
    return Boxes(table.assign(clip=clips, actions=actions)[list(Boxes.COLUMNS)])
