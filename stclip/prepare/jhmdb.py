"""J-HMDB (Jhuang et al. 2013): three published archives -> frames, Boxes, Clips.

Each archive may also lie there unpacked, as a folder of its name. Layout inside (the top folder's
name does not matter):
    Rename_Images.tar.gz  Rename_Images/<class>/<video>/00001.png, numbered from 1 without gap
    splits.zip            splits/<class>_test_split<1|2|3>.txt, lines `<video>.avi <1 train|2 test>`
    puppet_mask.zip       puppet_mask/<class>/<video>/puppet_mask.mat, `part_mask` uint8 (H, W, T),
                          person non-zero; T may be smaller than the number of frames

H, W: picture size; T: frames of a mask; N: frames of a video.
"""

import logging
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field, PositiveFloat
from scipy.io import loadmat

from stclip.errors import ConfigError, DataError
from stclip.prepare.store import same_videos, store_frames, video_of, write_prepared
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.archives import locate, matching_members
from stclip.storage.clip_files import StoredClip
from stclip.storage.frame_store import StoreName

logger = logging.getLogger(__name__)

# Whole names of the files to read; a leading dot is what file managers leave behind (._x).
_SPLIT_FILE = r"(?:.*/)?(?P<action>[^./][^/]*)_test_split(?P<number>\d+)\.txt"
_MASK_FILE = r"(?:.*/)?puppet_mask\.mat"
_SPLIT_LINE = r"(?P<clip>\S+)\.avi\s+(?P<code>[12])"
_OFFICIAL = {"1": "train", "2": "test"}
_BY = "the official split"


@dataclass(frozen=True)
class _Video:
    action: str
    clip: str  # the bare video name
    official_split: str

    @property
    def folder(self) -> str:
        """`<class>/<video>`, the video's name in the archives."""
        return f"{self.action}/{self.clip}"


@dataclass(frozen=True)
class _Mask:
    boxes_xyxy: np.ndarray  # float32 (T, 4), NaN where the mask is empty
    height: int
    width: int


def prepare(
    raw: Path,
    out: Path,
    *,
    licence: str,
    fps: PositiveFloat,
    official_split: Annotated[int, Field(ge=1, le=3)] = 1,
    frame_store: StoreName = "decoded",
) -> None:
    """Write `out`/frames, boxes.parquet and, last, clips.parquet.

    Boxes follow the ACT convention: the tight box of the mask's non-zero pixels, 0-based inclusive
    corners (x2 is the last non-zero column). A frame without mask, because the mask ends early or
    is empty there, repeats the box before it (the one after it at the start of a video); such boxes
    are counted and logged.

    Args:
        raw: Folder of Rename_Images.tar.gz, splits.zip and puppet_mask.zip, or of Rename_Images/,
            splits/ and puppet_mask/; other files and folders in it are not looked at.
        out: Folder of the prepared data; other files in it are left alone.
        licence: Written into every row of clips.parquet.
        fps: Frames per second of the videos; the archives do not say it.
        official_split: Which of the three official train/test splits, 1 to 3.
        frame_store: How the frames are stored (`stclip.storage.frame_store`).

    Raises:
        ConfigError: there is no such official split.
        DataError: an archive is missing or damaged, a video lacks frames, mask or split, frames are
            not 1..N, a picture or mask cannot be read, or a video's masks are all empty.
    """
    pictures = locate(raw, "Rename_Images.tar.gz")
    mask_archive = locate(raw, "puppet_mask.zip")
    videos = _read_splits(locate(raw, "splits.zip"), official_split)
    masks = _read_masks(mask_archive)
    same_videos(mask_archive, masks, "mask", listed=videos, by=_BY)

    def build(folder: Path) -> tuple[Clips, Boxes]:
        frames = store_frames(pictures, folder, frame_store)
        same_videos(pictures, frames, "frames", listed=videos, by=_BY)
        boxes = _boxes_table(videos, masks, frames, mask_archive)
        clips = pd.DataFrame(
            {
                "clip": [v.clip for v in videos.values()],
                "official_split": [v.official_split for v in videos.values()],
                "num_frames": [len(frames[name].numbers) for name in videos],
                "height": [frames[name].height for name in videos],
                "width": [frames[name].width for name in videos],
                "fps": fps,
                "licence": licence,
                "actions": [[v.action] for v in videos.values()],
            }
        )
        return Clips(clips), boxes

    write_prepared(out, build)


def _read_splits(archive: Path, official_split: int) -> dict[str, _Video]:
    """The videos of one official split, `<class>/<video>` -> video, sorted by that name."""
    videos: dict[str, _Video] = {}
    found = set()
    for name, match, content in matching_members(archive, _SPLIT_FILE):
        found.add(int(match["number"]))
        if int(match["number"]) != official_split:
            continue
        for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), start=1):
            if not line.strip():
                continue
            entry = re.fullmatch(_SPLIT_LINE, line.strip())
            if not entry:
                raise DataError(
                    f"{archive}: {name}, line {number}: expected `<video>.avi <1 or 2>`, "
                    f"found {line!r}."
                )
            if entry["clip"] in videos:
                raise DataError(
                    f"{archive}: video {entry['clip']!r} is listed twice, under "
                    f"{videos[entry['clip']].action} and {match['action']}."
                )
            videos[entry["clip"]] = _Video(match["action"], entry["clip"], _OFFICIAL[entry["code"]])
    if not videos and found:
        raise ConfigError(
            f"{archive}: has no official split {official_split}, only {sorted(found)}."
        )
    if not videos:
        raise DataError(f"{archive}: has no <class>_test_split<number>.txt.")
    return {v.folder: v for v in sorted(videos.values(), key=lambda v: v.folder)}


def _read_masks(archive: Path) -> dict[str, _Mask]:
    """`<class>/<video>` -> boxes of its mask."""
    files = matching_members(archive, _MASK_FILE)
    return {
        video_of(archive, name): _mask_boxes(content, f"{archive}: {name}")
        for name, _, content in files
    }


def _mask_boxes(content: bytes, where: str) -> _Mask:
    try:
        mat = loadmat(BytesIO(content), variable_names=["part_mask"])
    except Exception as error:  # a damaged .mat raises almost anything
        raise DataError(
            f"{where}: not a readable MATLAB file ({type(error).__name__}: {error})."
        ) from None
    if "part_mask" not in mat:
        raise DataError(f"{where}: has no variable part_mask.")
    mask = mat["part_mask"]
    if mask.ndim == 2:  # MATLAB drops the last axis of a mask of one frame
        mask = mask[:, :, None]
    if mask.ndim != 3 or not mask.size or mask.dtype.kind not in "bui":
        raise DataError(
            f"{where}: part_mask should be whole numbers of shape (height, width, frames), found "
            f"{mask.dtype} {mask.shape}."
        )
    height, width, _ = mask.shape
    person = mask != 0
    columns, rows = person.any(0), person.any(1)  # (W, T), (H, T)
    x1, x2 = columns.argmax(0), width - 1 - columns[::-1].argmax(0)
    y1, y2 = rows.argmax(0), height - 1 - rows[::-1].argmax(0)
    boxes_xyxy = np.stack([x1, y1, x2, y2], axis=1).astype(np.float32)  # (T, 4)
    boxes_xyxy[~columns.any(0)] = np.nan
    return _Mask(boxes_xyxy, height, width)


def _boxes_table(
    videos: dict[str, _Video],
    masks: dict[str, _Mask],
    frames: dict[str, StoredClip],
    archive: Path,
) -> Boxes:
    """One box per frame; logs how many are repeated and how many masks were left over."""
    parts, late, empty, surplus = [], 0, 0, 0
    for name in videos:
        mask, size = masks[name], frames[name]
        if (mask.height, mask.width) != (size.height, size.width):
            raise DataError(
                f"{archive}: {name}: the mask is {mask.width}x{mask.height}, the pictures are "
                f"{size.width}x{size.height}."
            )
        num_frames = len(size.numbers)
        own = mask.boxes_xyxy[:num_frames]
        surplus += len(mask.boxes_xyxy) - len(own)
        late += num_frames - len(own)
        empty += int(np.isnan(own[:, 0]).sum())
        parts.append(_box_of_every_frame(own, num_frames, f"{archive}: {name}"))
    counts = [len(part) for part in parts]
    table = pd.DataFrame(np.concatenate(parts), columns=BOX_COLUMNS)
    table.insert(0, "clip", np.repeat([v.clip for v in videos.values()], counts))
    table.insert(1, "frame", np.concatenate([np.arange(n) for n in counts]))
    table["tube"] = 0  # one person is annotated
    actions = zip(videos.values(), counts, strict=True)
    table["actions"] = [[video.action] for video, n in actions for _ in range(n)]
    boxes = Boxes(table)
    logger.info(
        "J-HMDB: %d videos, %d frames, %d boxes; %d boxes repeat a neighbour's (%d past the end of "
        "the mask, %d where it is empty); %d masks past the last frame ignored",
        *(len(videos), sum(counts), len(boxes), late + empty, late, empty, surplus),
    )
    return boxes


def _box_of_every_frame(boxes_xyxy: np.ndarray, num_frames: int, where: str) -> np.ndarray:
    """(T, 4) with NaN rows -> (N, 4): a missing box is the last one before it, else the first."""
    present = np.flatnonzero(~np.isnan(boxes_xyxy[:, 0]))
    if not len(present):
        raise DataError(f"{where}: the mask is empty in all frames, so there is no box to draw.")
    latest = np.searchsorted(present, np.arange(num_frames), side="right") - 1
    return boxes_xyxy[present[latest.clip(min=0)]]
