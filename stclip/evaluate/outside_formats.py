"""The formats in which ground truth is passed around: each read to one table of boxes by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stclip.errors import ConfigError, DataError
from stclip.prepare.authors import read_released
from stclip.prepare.gttubes import KEYS, read_tubes
from stclip.prepare.pyannot import KEYS as PYANNOT_KEYS
from stclip.prepare.pyannot import AnnotatedTube, read_video
from stclip.records import BOX_COLUMNS, Boxes, Clips, LabelSplit
from stclip.storage.name_matching import match_names
from stclip.storage.numbers import as_numbers, as_whole, line_of, refuse

AVA_COLUMNS = ["video", "frame", *BOX_COLUMNS, "action", "person"]
YOWO_COLUMNS = ["file_stem", "class_id", *BOX_COLUMNS]
_AVA_SECONDS = (902, 1798)


@dataclass(frozen=True)
class OutsideTruth:
    """Ground truth of the official test videos; frames count as published.

    `boxes`: video, frame, class, x1..y2, tube (number of the person in the video, -1 if the format
    has none). `videos`: by name, `first` and `last` frame that detections may name, `width` and
    `height` (NaN where the format does not say). `listed`: (video, frame) of all frames that occur
    in the file, those without a box of these classes too; None where they are those of `boxes`.
    `unlisted_rows`: rows of actions that the label map lacks.
    """

    boxes: pd.DataFrame
    videos: pd.DataFrame
    listed: pd.MultiIndex | None = None
    unlisted_rows: int = 0

    @property
    def frames(self) -> pd.MultiIndex:
        """(video, frame) of all frames that occur in the file."""
        return frames_of(self.boxes) if self.listed is None else self.listed


def frames_of(table: pd.DataFrame) -> pd.MultiIndex:
    """(video, frame) of every row."""
    return pd.MultiIndex.from_frame(table[["video", "frame"]])


@dataclass(frozen=True)
class Classes:
    """Names of numbered classes: those of the label map, else the split's in alphabetical order."""

    split: LabelSplit
    label_map: Mapping[int, str] | None = None

    @property
    def names(self) -> Mapping[int, str]:
        """Name by number."""
        if self.label_map is not None:
            return self.label_map
        return dict(enumerate(sorted((*self.split.base, *self.split.unseen)), 1))

    def named(self, numbers: pd.Series, where: Callable[[int], str]) -> pd.Series:
        """The name of each number, NaN where the label map leaves it out.

        Args:
            numbers: whole numbers.
            where: the place of a position, for messages.

        Raises:
            DataError: a number below 1, or one of no class although all classes are numbered.
        """
        names = dict(self.names)
        known = numbers.isin(list(names)).to_numpy()
        complete = {*self.split.base, *self.split.unseen} <= set(names.values())
        bad = ~known if complete else (numbers < 1).to_numpy()
        first, last = min(names), max(names)
        by = "of the label map"
        if self.label_map is None:
            by = "as the split's are numbered by name (--label-map FILE names them otherwise)"
        ends = f"{first} is {names[first]!r}, {last} is {names[last]!r}"
        refuse(bad, numbers, "class", where, f"is the number of no class {by}: {ends}")
        if len(numbers) and not known.any():
            raise DataError(f"{where(0)}: none of the {len(numbers)} rows is of a class {by}.")
        return numbers.map(names)


@dataclass(frozen=True)
class Reader:
    """A format: what it is called, the keys (or columns) it has, how it is read."""

    title: str
    keys: frozenset[str]
    read: Callable[[Any, Path, Classes], OutsideTruth]


def _videos(first: Any, last: Any, *, width: Any = np.nan, height: Any = np.nan) -> pd.DataFrame:
    return pd.DataFrame({"first": first, "last": last}).assign(width=width, height=height)


def _read_tubes(data: Any, path: Path, classes: Classes) -> OutsideTruth:
    return _from_tables(*read_tubes(data, licence="", fps=0, where=path))


def _from_tables(clips: Clips, boxes: Boxes) -> OutsideTruth:
    test = clips.table[clips.table["official_split"] == "test"].set_index("clip")
    table = boxes.table[["clip", "frame", "actions", "tube", *BOX_COLUMNS]]
    table = table[table["clip"].isin(test.index)].explode("actions")
    table = table.rename(columns={"clip": "video", "actions": "class"}).reset_index(drop=True)
    videos = _videos(1, test["num_frames"], width=test["width"], height=test["height"])
    return OutsideTruth(table.assign(frame=table["frame"] + 1), videos)


def _read_coco(data: Any, path: Path, classes: Classes) -> OutsideTruth:
    released = read_released(data, path)
    several = released.boxes["action_ids"].map(len) > 1
    if classes.label_map is None and several.any():
        raise ConfigError(
            f"{path}: annotations[{several.to_numpy().argmax()}]: has several action_ids, so they "
            "may be numbered as AVA's are and not in alphabetical order; give the label map "
            "(--label-map FILE, such as ava_action_list_v2.2.pbtxt)."
        )
    boxes = released.boxes.explode("action_ids").dropna(subset="action_ids")
    numbers = boxes["action_ids"].astype("int64")
    named = classes.named(numbers, lambda row: f"{path}: annotations[{numbers.index[row]}]")
    boxes = boxes.rename(columns={"movie": "video"}).assign(
        **{"class": named}, tube=boxes["person_id"].fillna(1).infer_objects()
    )
    boxes = boxes[named.notna()].reset_index(drop=True)
    videos = released.images.groupby("movie")
    video = videos.agg(last=("frame", "max"))
    for side in ("width", "height"):
        video[side] = videos[side].first() if side in released.images else np.nan
        sizes = videos[side].nunique() if side in released.images else pd.Series(dtype=int)
        if (sizes > 1).any():
            raise DataError(f"{path}: images of {sizes.idxmax()!r} have several {side}s.")
    columns = ["video", "frame", "class", "tube", *BOX_COLUMNS]
    listed = frames_of(released.images.rename(columns={"movie": "video"})).unique()
    unlisted = int(named.isna().sum())
    return OutsideTruth(boxes[columns], video.assign(first=1), listed, unlisted)


def _read_boxes(data: Any, path: Path, classes: Classes) -> OutsideTruth:
    return _from_tables(Clips.read(path.with_name("clips.parquet")), Boxes(data))


def _read_ucf(data: Any, path: Path, classes: Classes) -> OutsideTruth:
    names = list(data["trainvideos"])
    match_names(
        names, data["db"], where=path, what="videos of trainvideos", among="annotated videos"
    )
    train, labels = set(names), dict(enumerate(map(str, data["classes"])))
    tubes: list[tuple[str, int, AnnotatedTube]] = []  # video, number, tube
    lengths = {}
    for key, content in data["db"].items():
        if key in train:
            continue
        video = read_video(key, content, labels, where=path)
        lengths[video.clip] = video.num_frames
        tubes += [(video.clip, number, tube) for number, tube in enumerate(video.tubes)]
    if not tubes:
        raise DataError(f"{path}: all {len(data['db'])} videos are of trainvideos, none is tested.")
    sizes = [len(tube.frames) for *_, tube in tubes]
    corners = np.concatenate([tube.boxes_xyxy for *_, tube in tubes])
    boxes = pd.DataFrame(corners, columns=BOX_COLUMNS).assign(
        video=np.repeat(np.array([clip for clip, *_ in tubes], object), sizes),
        frame=np.concatenate([tube.frames + 1 for *_, tube in tubes]),
        tube=np.repeat([number for _, number, _ in tubes], sizes),
        **{"class": np.repeat(np.array([tube.action for *_, tube in tubes], object), sizes)},
    )
    return OutsideTruth(boxes, _videos(1, pd.Series(lengths, dtype="int64")))


def _read_yowo(data: Any, path: Path, classes: Classes) -> OutsideTruth:
    at = line_of(path, data)
    numbers = pd.Series(as_whole(data["class_id"], "class_id", at), data.index)
    action = classes.named(numbers, at)
    corners = {c: as_numbers(data[c], c, at) for c in BOX_COLUMNS}
    parts = data["file_stem"].str.extract(r"^(?P<video>.+)_(?P<frame>\d{5})$")
    begins = [
        isinstance(video, str) and (pd.isna(label) or video.startswith(f"{label}_"))
        for video, label in zip(parts["video"], action, strict=True)
    ]
    refuse(
        ~np.array(begins, bool), data["file_stem"], "file_stem", at,
        "is not <class>_<video>_<five digits> with the class of its number",
    )  # fmt: skip
    frames = as_whole(parts["frame"], "frame", at)
    boxes = pd.DataFrame(corners, data.index).assign(frame=frames, tube=0, **{"class": action})
    boxes = boxes[action.notna()]
    videos = parts.loc[boxes.index, "video"]
    names = [v[len(label) + 1 :] for v, label in zip(videos, boxes["class"], strict=True)]
    boxes = boxes.assign(video=names).reset_index(drop=True)
    # it leaves out annotated frames at the end of some videos: detections may name later ones
    last = pd.Series(np.inf, index=pd.unique(boxes["video"]))
    return OutsideTruth(boxes, _videos(1, last), unlisted_rows=int(action.isna().sum()))


def _read_ava(data: Any, path: Path, classes: Classes) -> OutsideTruth:
    if classes.label_map is None:
        raise ConfigError(
            f"{path}: AVA's csv numbers its actions; give the label map (--label-map FILE, such as "
            "ava_action_list_v2.2.pbtxt)."
        )
    at = line_of(path, data)
    if len(data) and not data["frame"].iloc[0].strip().replace(".", "").isdigit():
        raise DataError(
            f"{at(0)}: second {data['frame'].iloc[0]!r} is no number. AVA's csv has no header "
            "line; its lines are video,second,x1,y1,x2,y2,action and perhaps the person."
        )
    seconds = as_whole(data["frame"], "second", at)
    first, last = _AVA_SECONDS
    outside = (seconds < first) | (seconds > last)
    refuse(outside, data["frame"], "second", at, f"is not among {first} to {last}")
    listed = pd.DataFrame({"video": data["video"], "frame": seconds}, data.index)
    # rows of two fields are frames without actions
    full = data[(data[[*BOX_COLUMNS, "action"]] != "").any(axis=1)]
    at = line_of(path, full)
    numbers = {c: as_numbers(full[c], c, at) for c in BOX_COLUMNS}
    actions = pd.Series(as_whole(full["action"], "action", at), full.index)
    # corners are shares of the picture; person ids link persons over seconds, not over frames
    boxes = listed.loc[full.index].assign(**numbers, tube=-1)
    boxes["class"] = classes.named(actions, at)
    unlisted = int(boxes["class"].isna().sum())
    boxes = boxes.dropna(subset="class").reset_index(drop=True)
    names = pd.Series(last, index=pd.unique(data["video"]))
    videos = _videos(first, names, width=1, height=1)
    return OutsideTruth(boxes, videos, frames_of(listed).unique(), unlisted)


READERS = (
    Reader(
        "JHMDB-GT or UCF101v2-GT (gttubes, nframes, labels, ...) as pickle or JSON",
        frozenset(KEYS),
        _read_tubes,
    ),
    Reader(
        "ST-CLIP's test annotations (images, annotations) as JSON",
        frozenset({"images", "annotations"}),
        _read_coco,
    ),
    Reader(
        "boxes.parquet of the prepare stage, clips.parquet beside it",
        frozenset(Boxes.COLUMNS),
        _read_boxes,
    ),
    Reader(
        "corrected UCF101-24 annotations (db, classes, trainvideos) as pickle or JSON",
        frozenset(PYANNOT_KEYS),
        _read_ucf,
    ),
    Reader(
        "YOWO's ground truth joined to a csv (file_stem, class_id, x1, y1, x2, y2)",
        frozenset(YOWO_COLUMNS),
        _read_yowo,
    ),
    Reader(
        "AVA's csv (video, second, box, action, perhaps person; no header)",
        frozenset(AVA_COLUMNS),
        _read_ava,
    ),
)
