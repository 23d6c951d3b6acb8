"""Which frames of a clip are key frames: those that are tested, and those that are trained on."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stclip.config import AnnotatedFrames, EveryFrames, KeyFrameRule, Seconds
from stclip.errors import DataError
from stclip.records import Boxes, Clips, KeyFrames
from stclip.storage.archives import content_in
from stclip.storage.name_matching import match_names
from stclip.storage.numbers import as_whole, line_of, refuse
from stclip.storage.outside_files import content_of, csv_table

logger = logging.getLogger(__name__)


def make_key_frames(
    rule: KeyFrameRule,
    *,
    clips: Clips,
    boxes: Boxes,
    test_split: str,
    excluded: pd.DataFrame | None = None,
) -> KeyFrames:
    """The key frames of tested clips by the rule, and of training clips all annotated frames.

    Args:
        rule: of the data set.
        clips: all of the data set.
        boxes: its ground truth.
        test_split: the official split that is tested.
        excluded: columns clip and second, of what counts on neither side; rule `seconds` alone.

    Returns:
        Rows by clip, in the order of `clips`, and frame.

    Raises:
        DataError: nothing is tested, or what is excluded lies in no clip.
    """
    about = clips.table[clips.table["official_split"].isin([test_split, "train"])]
    of_training = rule if isinstance(rule, Seconds) else AnnotatedFrames(rule="annotated")
    tested = (about["official_split"] == test_split).to_numpy()
    if not tested.any():
        raise DataError(f"no clip of the official split {test_split!r} to test; run prepare.")
    places = []  # of each clip: numbers, frames, step
    for is_tested, length, fps in zip(tested, about["num_frames"], about["fps"], strict=True):
        own = rule if is_tested else of_training
        places.append(_PLACES[type(own)](own, int(length), fps))
    numbers, frames, steps_s = zip(*places, strict=True)
    counts = [len(of_clip) for of_clip in frames]
    table = pd.DataFrame({"frame": np.concatenate(frames), "number": np.concatenate(numbers)})
    table = table.assign(
        clip=about["clip"].array.repeat(counts),
        step_s=np.repeat(steps_s, counts),
        tested=np.repeat(tested, counts),
    )
    annotated = pd.MultiIndex.from_frame(boxes.table[["clip", "frame"]])
    shown = pd.MultiIndex.from_frame(table[["clip", "frame"]]).isin(annotated)
    kept = table["tested"] & (not isinstance(rule, AnnotatedFrames)) | shown
    out = np.zeros(len(table), bool) if excluded is None else _excluded(table, excluded)
    made = KeyFrames(table[kept & ~out])
    logger.info(
        "key frames: %d of %d tested clips, %d of %d training clips; %d excluded, %d of them "
        "annotated",
        *(of for side in (True, False) for of in _counts(made, side)),
        *(out.sum(), (out & shown).sum()),
    )  # fmt: skip
    return made


def _counts(made: KeyFrames, tested: bool) -> tuple[int, int]:
    own = made.table[made.table["tested"] == tested]
    return len(own), own["clip"].nunique()


def _excluded(table: pd.DataFrame, excluded: pd.DataFrame) -> np.ndarray:
    """Whether each key frame is among the excluded (clip, second)."""
    match_names(
        excluded["clip"], set(table["clip"]), where="key frames", what="excluded seconds",
        among="clips of the data set",
    )  # fmt: skip
    places = pd.MultiIndex.from_frame(table[["clip", "number"]])
    return places.isin(pd.MultiIndex.from_frame(excluded[["clip", "second"]]))


def _every(
    rule: EveryFrames | AnnotatedFrames, num_frames: int, fps: float
) -> tuple[np.ndarray, np.ndarray, float]:
    numbers = np.arange(-(-num_frames // rule.frames))
    return numbers, numbers * rule.frames, rule.frames / fps


def _seconds(rule: Seconds, num_frames: int, fps: float) -> tuple[np.ndarray, np.ndarray, float]:
    numbers = np.arange(rule.first, rule.last + 1)
    frames = np.rint((numbers - rule.start) * fps).astype(int)
    inside = frames < num_frames
    return numbers[inside], frames[inside], 1.0


_PLACES: dict[type, Any] = {EveryFrames: _every, AnnotatedFrames: _every, Seconds: _seconds}


def read_all_excluded(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """Columns clip and second of csv files that settings name, found by `content_in`.

    Raises:
        DataError: one is missing, or not built as `read_excluded` says.
    """
    return pd.concat([parse_excluded(*content_in(folder, name)) for name in names])


def read_excluded(path: Path) -> pd.DataFrame:
    """Columns clip and second of a csv `video,second` without header.

    Raises:
        DataError: missing, or not built like that.
    """
    return parse_excluded(content_of(path), path)


def parse_excluded(content: bytes, where: str | Path) -> pd.DataFrame:
    """`read_excluded` of a file's content; `where` is for messages."""
    table = csv_table(content, where, columns=["clip", "second"])
    at, given = line_of(where, table), table["second"]
    alone = (given == "").to_numpy()
    refuse(alone, table["clip"], "video", at, "stands alone; expected are lines `video,second`")
    seconds = as_whole(given, "second", at)
    return pd.DataFrame({"clip": table["clip"], "second": seconds})
