"""Ground truth as the ACT detector published it (JHMDB-GT.pkl, UCF101v2-GT.pkl), and its archives.

A dict of `labels` (names), `gttubes` (video -> label index -> tubes, each rows of frame, x1, y1,
x2, y2), `nframes`, `resolution` (height, width) and, per official split, `train_videos` and
`test_videos`. Videos are called `<class>/<video>`, frames count from 1, corners are 0-based. The
same dict travels as JSON. The repackaged archives hold it beside the frames:

    Frames/<class>/<video>/00001.png   pictures, numbered from 1 without gap
    JHMDB-GT.pkl                       the ground truth
    FlowBrox04/...                     optical flow, passed over

N: boxes of a tube.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from pydantic import PositiveFloat, PositiveInt

from stclip.errors import ConfigError, DataError
from stclip.prepare.store import FRAME_FILE, FrameStore, same_videos, write_prepared
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.archives import matching_members
from stclip.storage.name_matching import match_names
from stclip.storage.numbers import as_numbers, as_whole, whole
from stclip.storage.outside_files import parse_value

logger = logging.getLogger(__name__)

KEYS = ("labels", "gttubes", "nframes", "resolution", "train_videos", "test_videos")


def prepare(
    raw: Path,
    out: Path,
    *,
    archive: str,
    frames: str,
    ground_truth: str,
    licence: str,
    fps: PositiveFloat,
    official_split: PositiveInt = 1,
) -> None:
    """Write `out`/frames, boxes.parquet and, last, clips.parquet from a repackaged archive.

    Args:
        raw: Folder of the archive; or the unpacked archive itself, if `raw`/`frames` is a folder.
        out: Folder of the prepared data; other files in it are left alone.
        archive: File name of the archive.
        frames: Folder of the pictures in it, wherever it lies.
        ground_truth: File name of the ground truth in it.
        licence: Written into every row of clips.parquet.
        fps: Frames per second of the videos.
        official_split: Which of the official train/test splits, from 1.

    Raises:
        ConfigError: there is no such official split.
        DataError: the archive is missing or damaged, the ground truth is not in it or not of its
            form, or pictures and ground truth do not fit together.
    """
    source = raw if (raw / frames).is_dir() and not (raw / archive).exists() else raw / archive
    picture = rf"(?:.*/)?{re.escape(frames)}/(?=[^/]+/[^/]+/[^/]+$){FRAME_FILE}"
    pattern = rf"{picture}|(?:.*/)?(?P<truth>{re.escape(ground_truth)})"

    def build(folder: Path) -> tuple[Clips, Boxes]:
        store, truth = FrameStore(source, folder), None
        for name, match, content in matching_members(source, pattern):
            if match["truth"]:
                truth = parse_tubes(content, f"{source}: {name}")
            else:
                store.add(name, match["number"], content)
        if truth is None:
            raise DataError(f"{source}: has no {ground_truth}.")
        found = store.finish()
        where = f"{source}: {ground_truth}"
        clips, boxes = read_tubes(
            truth, licence=licence, fps=fps, official_split=official_split, where=where
        )
        folders = {PurePosixPath(video).name: video for video in truth["gttubes"]}
        sizes = clips.table[["num_frames", "height", "width"]].to_numpy().tolist()
        listed = dict(zip((folders[clip] for clip in clips.table["clip"]), sizes, strict=True))
        same_videos(source, found, "frames", listed=listed, by=ground_truth)
        for video, stored in found.items():
            seen = [len(stored.numbers), stored.height, stored.width]
            if seen != listed[video]:
                raise DataError(
                    f"{source}: {video}: frames, height and width are {seen}, "
                    f"{ground_truth} says {listed[video]}."
                )
        return clips, boxes

    write_prepared(out, build)


def parse_tubes(content: bytes, where: str | Path) -> dict[str, Any]:
    """Read a ground truth: a pickle or JSON, gzip allowed; told by content.

    Raises:
        DataError: it is damaged or not such a ground truth; `where` names it.
    """
    return check_keys(parse_value(content, where), where)


def check_keys(data: Any, where: str | Path) -> dict[str, Any]:
    """`data`, if it has the keys of such a ground truth.

    Raises:
        DataError: it has not.
    """
    missing = [key for key in KEYS if not isinstance(data, dict) or key not in data]
    if missing:
        found = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise DataError(f"{where}: expected a dict of {list(KEYS)}, missing {missing} in {found}.")
    return data


def read_tubes(
    data: Mapping[str, Any],
    *,
    licence: str,
    fps: float,
    official_split: int = 1,
    where: str | Path = "ground truth",
) -> tuple[Clips, Boxes]:
    """Ground truth -> Clips and Boxes, sorted by `<class>/<video>`, then frame, then tube.

    Frames become 0-based, coordinates stay as they are, clips get the bare video name. Videos that
    the official split does not list are left out; their number is logged.

    Raises:
        ConfigError: there is no such official split.
        DataError: the dict is not built as the module says, a video is trained and tested on, has
            no boxes, or a box lies in a frame that the video does not have.
    """
    try:
        return _read_tubes(data, licence, fps, official_split, where)
    except (ConfigError, DataError):
        raise
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise DataError(
            f"{where}: not built like a ground truth of tubes ({type(error).__name__}: {error})."
        ) from None


def _read_tubes(
    data: Mapping[str, Any], licence: str, fps: float, official_split: int, where: str | Path
) -> tuple[Clips, Boxes]:
    num_splits = len(data["train_videos"])
    if not 1 <= official_split <= num_splits:
        raise ConfigError(
            f"{where}: has no official split {official_split}, only 1 to {num_splits}."
        )
    train, test = (
        _listed(data, key, official_split, where) for key in ("train_videos", "test_videos")
    )
    if train & test:
        raise DataError(f"{where}: {min(train & test)} is listed for training and for testing.")
    videos = sorted(train | test)
    clips, parts = [], []
    for video in videos:
        at = f"{where}: {video}"
        num_frames, clip = whole(data["nframes"][video], "nframes", at), PurePosixPath(video).name
        tubes = _tubes(data, video, where)
        height, width = as_whole(data["resolution"][video], "resolution", at).tolist()
        actions = list(dict.fromkeys(action for action, _ in tubes))
        official = "train" if video in train else "test"
        clips.append((clip, official, num_frames, height, width, fps, licence, actions))
        for number, (action, rows) in enumerate(tubes):
            frame = as_whole(rows[:, 0], "frame", f"{at}: tube {number}")
            if not np.isin(frame, np.arange(1, num_frames + 1)).all() or len(set(frame)) < len(
                frame
            ):
                raise DataError(
                    f"{where}: {video}: tube {number} should have frames of 1 to {num_frames}, "
                    f"each once; it has {frame.tolist()}."
                )
            part = pd.DataFrame(rows[:, 1:], columns=BOX_COLUMNS)
            part.insert(0, "clip", clip)
            part.insert(1, "frame", frame - 1)
            part["tube"] = number
            part["actions"] = [[action]] * len(part)
            part["order"] = len(clips)
            parts.append(part)
    if not parts:
        raise DataError(f"{where}: official split {official_split} lists no video.")
    boxes = pd.concat(parts).sort_values(["order", "frame", "tube"], kind="stable")
    boxes = boxes.drop(columns="order")
    logger.info(
        "%s: %d videos, %d frames, %d boxes; %d videos outside official split %d left out",
        *(where, len(videos), sum(c[2] for c in clips), len(boxes)),
        *(len(data["gttubes"].keys() - train - test), official_split),
    )
    return Clips(pd.DataFrame(clips, columns=list(Clips.COLUMNS))), Boxes(boxes)


def _listed(data: Mapping[str, Any], key: str, official_split: int, where: str | Path) -> set[str]:
    """The videos of a list that are annotated; the others are counted in the log."""
    names = [str(name) for name in data[key][official_split - 1]]
    found = match_names(
        names, data["gttubes"], where=where, what=f"videos of {key}", among="annotated videos"
    )
    return {name for name, known in zip(names, found, strict=True) if known}


def _tubes(data: Mapping[str, Any], video: str, where: str | Path) -> list[tuple[str, np.ndarray]]:
    """(action, float64 (N, 5)) of every tube of a video, by label."""
    labels = [str(name) for name in data["labels"]]
    at = f"{where}: {video}"
    given = data["gttubes"][video]
    of_label = {whole(label, "label", at): tubes for label, tubes in given.items()}
    found = []
    for label in sorted(of_label):
        if not 0 <= label < len(labels):
            raise DataError(f"{where}: {video}: label {label} is not among 0 to {len(labels) - 1}.")
        for tube in of_label[label]:
            rows = np.asarray(tube)
            if rows.ndim != 2 or rows.shape[1] != 5 or not len(rows):
                raise DataError(
                    f"{where}: {video}: a tube should be rows of frame, x1, y1, x2, y2, found "
                    f"shape {rows.shape}."
                )
            numbers = as_numbers(rows.ravel(), "a tube's number", at)
            found.append((labels[label], numbers.reshape(-1, 5)))
    if not found:
        raise DataError(f"{where}: {video} has no tubes.")
    return found
