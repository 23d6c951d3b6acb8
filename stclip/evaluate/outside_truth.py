"""Reads published ground truth in the formats it is passed around in; told apart by content."""

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from stclip.errors import ConfigError, DataError
from stclip.prepare.authors import read_released
from stclip.prepare.gttubes import KEYS, read_tubes
from stclip.records import BOX_COLUMNS, Boxes, Clips, LabelSplit
from stclip.storage.files import unique_keys
from stclip.storage.restricted_pickle import load_pickle
from stclip.storage.seal import check_seal

_AVA_COLUMNS = ["video", "frame", *BOX_COLUMNS, "action", "tube"]
_AVA_SECONDS = (902, 1798)


@dataclass(frozen=True)
class OutsideTruth:
    """Ground truth of the official test videos; frames count as published.

    `boxes`: video, frame, class, x1..y2, tube (number of the person in the video, -1 if the format
    has none). `videos`: by name, `first` and `last` frame that detections may name, `width` and
    `height` (NaN where the format does not say).
    """

    boxes: pd.DataFrame
    videos: pd.DataFrame


@dataclass(frozen=True)
class Reader:
    """A format: what it is called, the keys (or columns) it has, how it is read."""

    title: str
    keys: frozenset[str]
    read: Callable[[Any, Path, LabelSplit, dict[int, str] | None], OutsideTruth]


def content_of(path: Path) -> bytes:
    """The file's bytes, unzipped if they are gzip (told by content, not by name)."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: damaged or unreadable ({error}); get it again.") from None


def read_truth(
    path: Path, split: LabelSplit, label_map: dict[int, str] | None = None
) -> tuple[Reader, OutsideTruth]:
    """Read the test ground truth of a data set.

    Args:
        path: a file in one of the formats of `READERS`, perhaps gzipped.
        split: its labels are the official names; needed where a format has only numbers.
        label_map: names by number, for AVA's csv.

    Raises:
        ConfigError: AVA's csv without a label map.
        DataError: missing, damaged or unknown format, or a box that is no box.
    """
    content = content_of(path)
    try:
        data = _parse(content, path)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: neither JSON nor pickle nor parquet nor csv ({error}); accepted are "
            f"{_accepted()}."
        ) from None
    keys = set(map(str, data)) if isinstance(data, dict | pd.DataFrame) else set()
    for reader in READERS:
        if reader.keys <= keys:
            try:
                truth = reader.read(data, path, split, label_map)
            except ConfigError:
                raise
            except DataError as error:
                raise DataError(f"{path}: {error}") from None
            except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
                raise DataError(
                    f"{path}: looks like {reader.title} but is not built like it "
                    f"({type(error).__name__}: {error})."
                ) from None
            _check_boxes(truth.boxes, path)
            return reader, truth
    raise DataError(
        f"{path}: unknown ground-truth format with keys {sorted(keys)[:12]}; accepted are "
        f"{_accepted()}."
    )


def _parse(content: bytes, path: Path) -> Any:
    if content[:4] == b"PAR1":
        check_seal(content, path, foreign=True)
        return pd.read_parquet(io.BytesIO(content))
    if content.lstrip()[:1] in (b"{", b"["):
        return json.loads(content, object_pairs_hook=unique_keys)
    if content[:1] in (b"\x80", b"("):  # a pickle's first byte, by its protocol
        return load_pickle(content, path)
    header = content[:4096].splitlines()[:1]
    named = bool(header) and b"class_id" in header[0]
    return pd.read_csv(io.BytesIO(content), header=0 if named else None, dtype={0: "str"})


def _check_boxes(boxes: pd.DataFrame, path: Path) -> None:
    corners = boxes[BOX_COLUMNS].to_numpy(np.float64)
    bad = ~np.isfinite(corners).all(1) | (corners[:, 2:] < corners[:, :2]).any(1)
    if bad.any():
        row = boxes[bad].iloc[0]
        raise DataError(
            f"{path}: ground-truth box {row[BOX_COLUMNS].tolist()} of video {row['video']!r} frame "
            f"{row['frame']} is no box (x1 <= x2, y1 <= y2, finite); {bad.sum()} like this."
        )


def _videos(first: Any, last: Any, *, width: Any = np.nan, height: Any = np.nan) -> pd.DataFrame:
    return pd.DataFrame({"first": first, "last": last}).assign(width=width, height=height)


def _read_tubes(data: Any, path: Path, split: LabelSplit, _: Any) -> OutsideTruth:
    return _from_tables(*read_tubes(data, licence="", fps=0))


def _from_tables(clips: Clips, boxes: Boxes) -> OutsideTruth:
    test = clips.table[clips.table["official_split"] == "test"].set_index("clip")
    table = boxes.table[["clip", "frame", "actions", "tube", *BOX_COLUMNS]]
    table = table[table["clip"].isin(test.index)].explode("actions")
    table = table.rename(columns={"clip": "video", "actions": "class"}).reset_index(drop=True)
    videos = _videos(1, test["num_frames"], width=test["width"], height=test["height"])
    return OutsideTruth(table.assign(frame=table["frame"] + 1), videos)


def _read_coco(data: Any, path: Path, split: LabelSplit, _: Any) -> OutsideTruth:
    labels = dict(enumerate(sorted((*split.base, *split.unseen)), 1))  # action_ids, alphabetical
    released = read_released(data)
    boxes = released.boxes.explode("action_ids").dropna(subset="action_ids").reset_index(drop=True)
    boxes = boxes.rename(columns={"movie": "video"}).assign(
        **{"class": [labels[action] for action in boxes["action_ids"]]},
        tube=boxes["person_id"].fillna(1).infer_objects(),
    )
    videos = released.images.groupby("movie")
    video = videos.agg(last=("frame", "max"))
    for side in ("width", "height"):
        video[side] = videos[side].first() if side in released.images else np.nan
    columns = ["video", "frame", "class", "tube", *BOX_COLUMNS]
    return OutsideTruth(boxes[columns], video.assign(first=1))


def _read_boxes(data: Any, path: Path, split: LabelSplit, _: Any) -> OutsideTruth:
    return _from_tables(Clips.read(path.with_name("clips.parquet")), Boxes(data))


def _read_ucf(data: Any, path: Path, split: LabelSplit, _: Any) -> OutsideTruth:
    train = set(data["trainvideos"])
    rows, lengths = [], {}
    for key, video in data["db"].items():
        if key in train:
            continue
        name = PurePosixPath(key).name
        lengths[name] = int(video["numf"])
        for number, tube in enumerate(video["annotations"]):
            # x, y from 1, width, height -> corners from 0; frames sf.. from 0 -> from 1
            x, y, width, height = np.array(tube["boxes"], np.int64).reshape(-1, 4).T
            rows.append(
                pd.DataFrame(
                    {"x1": x - 1, "y1": y - 1, "x2": x + width - 1, "y2": y + height - 1}
                ).assign(
                    video=name,
                    frame=np.arange(len(x)) + int(tube["sf"]) + 1,
                    tube=number,
                    **{"class": data["classes"][int(tube["label"])]},
                )
            )
    boxes = pd.concat(rows, ignore_index=True)
    return OutsideTruth(boxes, _videos(1, pd.Series(lengths, dtype="int64")))


def _read_yowo(data: Any, path: Path, split: LabelSplit, _: Any) -> OutsideTruth:
    labels = np.array(["", *sorted((*split.base, *split.unseen))])
    action = pd.Series(labels[data["class_id"]], dtype="str")
    stem = data["file_stem"].astype("str")
    names = [s[len(a) + 1 : -6] for s, a in zip(stem, action, strict=True)]  # <class>_<video>_12345
    boxes = data[BOX_COLUMNS].assign(
        video=names, frame=stem.str[-5:].astype("int64"), tube=0, **{"class": action}
    )
    # it leaves out annotated frames at the end of some videos: detections may name later ones
    return OutsideTruth(boxes, _videos(1, pd.Series(np.inf, index=pd.unique(boxes["video"]))))


def _read_ava(
    data: Any, path: Path, split: LabelSplit, label_map: dict[int, str] | None
) -> OutsideTruth:
    if len(data.columns) not in (7, 8):
        raise ValueError(f"{len(data.columns)} columns instead of 7, or 8 with person ids")
    if label_map is None:
        raise ConfigError(
            f"{path}: AVA's csv numbers its actions; give the label map (--label-map FILE, such as "
            "ava_action_list_v2.2.pbtxt)."
        )
    boxes = data.set_axis(_AVA_COLUMNS[: len(data.columns)], axis=1)
    boxes = boxes[boxes["action"].isin(label_map)].reset_index(drop=True)
    boxes["class"] = boxes["action"].map(label_map)
    first, last = _AVA_SECONDS
    names = pd.Series(last, index=pd.unique(data[data.columns[0]]))
    # corners are shares of the picture; person ids link persons over seconds, not over frames
    return OutsideTruth(boxes.assign(tube=-1), _videos(first, names, width=1, height=1))


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
        frozenset({"db", "classes", "trainvideos"}),
        _read_ucf,
    ),
    Reader(
        "YOWO's ground truth joined to a csv (file_stem, class_id, x1, y1, x2, y2)",
        frozenset({"file_stem", "class_id", *BOX_COLUMNS}),
        _read_yowo,
    ),
    Reader(
        "AVA's csv (video, second, box, action, perhaps person; no header)",
        frozenset(map(str, range(7))),
        _read_ava,
    ),
)


def _accepted() -> str:
    return "; ".join(f"({n}) {r.title}" for n, r in enumerate(READERS, 1))
