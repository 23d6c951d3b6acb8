"""Rows of annotations -> boxes in pixels on frames of videos; what does not fit is told.

What shows that a file is read wrongly as a whole is an error: a unit or order of the numbers that
nearly all boxes speak against, frames before the first one, a label that the list lacks. Single bad
rows are dropped, each with its reason and place.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from stclip.boxes.looks import Looked, look
from stclip.errors import DataError
from stclip.prepare.annotations.found import Found
from stclip.prepare.import_record import Dropped, dropped
from stclip.prepare.named_labels import LabelList
from stclip.prepare.survey import SUFFIXES, Surveyed
from stclip.records import BOX_COLUMNS
from stclip.storage.name_matching import match_names

_SLACK = 1e-6  # of a side: what rounding of fractions costs


def clip_named(video: str) -> str:
    """The clip that a video is, as annotations name it: with or without folder and suffix.

    >>> [clip_named(name) for name in ("a/b.mp4", "b", "v1.2")]
    ['b', 'b', 'v1.2']
    """
    path = PurePosixPath(video.replace("\\\\", "/"))
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


@dataclass
class Placing:
    """The rows of one file on their way; `reasons` and `missing` tell what happened to them.

    `surveyed`: the videos, by clip; `ignored`: labels whose rows are left out; `without`: clips
    whose rows are; `as_they_are`: odd looks of the boxes are no error.
    """

    found: Found
    path: Path
    surveyed: Mapping[str, Surveyed]
    labels: LabelList
    ignored: Collection[str] = ()
    without: Collection[str] = ()
    as_they_are: bool = False
    reasons: list[Dropped] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    num_whole: int = 0

    def boxes(self) -> pd.DataFrame:
        """Columns clip, frame, x1 to y2 (pixels), person, label, place; a row a box and label.

        Raises:
            DataError: the file is read wrongly as a whole.
        """
        for why, count in self.found.passed_over.items():
            if count:
                self.reasons.append(Dropped(why=f"{why}, in {self.path}", count=count))
        rows = self._labelled(self._of_videos(self.found.rows))
        rows = self._spread(self._on_frames(rows))
        rows = self._in_pictures(self._in_pixels(rows))
        again = ["clip", "frame", *BOX_COLUMNS, "person", "label"]
        return self._without(rows, rows.duplicated(again), "rows that are there twice")

    def _without(self, rows: pd.DataFrame, bad: pd.Series, why: str) -> pd.DataFrame:
        if bad.any():
            self.reasons.append(dropped(why, rows.loc[bad, "place"]))
        return rows[~bad]

    def _sizes(self, rows: pd.DataFrame) -> np.ndarray:
        """Width and height of each row's picture, (N, 2)."""
        sizes = {clip: (its.width, its.height) for clip, its in self.surveyed.items()}
        return np.array([sizes[clip] for clip in rows["clip"]], np.float64).reshape(-1, 2)

    def _of_videos(self, rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.assign(clip=[clip_named(name) for name in rows["video"]])
        if rows.empty:
            raise DataError(f"{self.path}: has no annotations.")
        left_out = rows["clip"].isin([*self.without])
        rows = self._without(rows, left_out, "rows of videos that --without leaves out")
        if rows.empty:
            return rows
        known = pd.Series(
            match_names(
                rows["clip"], self.surveyed, where=self.path, what="rows",
                among=f"{len(self.surveyed)} videos of the folder",
            ),
            index=rows.index,
        )  # fmt: skip
        self.missing.update(rows.loc[~known, "video"])
        return self._without(rows, ~known, "rows of videos that the folder lacks")

    def _labelled(self, rows: pd.DataFrame) -> pd.DataFrame:
        ignored = rows["label"].isin([*self.ignored])
        rows = self._without(rows, ignored, f"rows of ignored labels ({', '.join(self.ignored)})")
        names = {text: self.labels.name_of(text) for text in rows["label"].unique() if text}
        unknown = [text for text, name in names.items() if name is None]
        if unknown:
            first = rows[rows["label"] == unknown[0]].iloc[0]
            raise DataError(
                f"{first['place']}: labels that are not in the label list: "
                f"{self.labels.unknown(unknown)} Add them to the list, correct them, or leave "
                f"their rows out: --ignore-label {unknown[0]!r}."
            )
        return rows.assign(label=[names.get(text) or "" for text in rows["label"]])

    def _on_frames(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Frames from 0; NaN stays where a label is of a whole video."""
        frames = rows["frame"] - self.found.first_frame
        for clip, seconds in rows["second"].dropna().groupby(rows["clip"]):
            frames[seconds.index] = self.surveyed[str(clip)].frame_at(seconds.to_numpy())
        early = frames < 0
        if early.any():
            row = rows[early].iloc[0]
            raise DataError(
                f"{row['place']}: frame {row['frame']:g} is before the first one, which is "
                f"{self.found.first_frame}; {early.sum()} like this. --first-frame says how the "
                "first frame of a video is numbered."
            )
        length = rows["clip"].map({clip: its.num_frames for clip, its in self.surveyed.items()})
        beyond = frames >= length
        why = "rows of frames beyond the end of their video"
        counted = rows["second"].isna()
        by_one = (frames[beyond] == length[beyond]) & counted[beyond]
        if beyond.any() and by_one.all() and (frames != 0).all():
            why += "; each by one, and no row is of the first frame: is that number 1? Then"
            why += f" --first-frame {self.found.first_frame + 1}"
        return self._without(rows.assign(frame=frames), beyond, why)

    def _spread(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Labels without box: the whole picture; without frame: one frame a second."""
        whole = rows["x1"].isna()
        timeless = rows["frame"].isna()
        frames: list[np.ndarray] = []
        for clip in rows.loc[timeless, "clip"]:
            its = self.surveyed[clip]
            frames.append(np.unique(its.frame_at(np.arange(0, its.length_s - 0.5 / its.fps))))
        repeats = np.ones(len(rows), int)
        repeats[timeless.to_numpy()] = [len(own) for own in frames]
        many = rows.loc[rows.index.repeat(repeats)].reset_index(drop=True)
        if frames:
            many.loc[many["frame"].isna(), "frame"] = np.concatenate(frames)
        self.num_whole += int(repeats[whole.to_numpy()].sum())
        return many.astype({"frame": "int64"})

    def _in_pixels(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Corners in pixels; refuse numbers that look like another unit or order."""
        sizes = self._sizes(rows)
        whole = rows["x1"].isna().to_numpy()
        boxes = rows[BOX_COLUMNS].to_numpy(np.float64, copy=True)
        if self.found.box_format == "xywh":
            boxes[:, 2:] += boxes[:, :2]
        fractions = self.found.unit == "fractions"
        scale = np.ones_like(sizes) if fractions else sizes
        looks = look(Looked(boxes[~whole], scale[~whole]))
        if looks and not self.as_they_are:
            raise DataError(
                f"{self.path}: nearly all of the {(~whole).sum()} boxes look like {looks}. They "
                f"were read as {self.found.unit}, {self.found.box_format}; the first is "
                f"{rows.loc[~whole, 'place'].iloc[0]}. Say what they are (--unit, --box-format) "
                "where the format leaves it open, correct the file, or take them all the same: "
                "--as-they-are."
            )
        if fractions:
            boxes *= np.tile(sizes, 2)
        boxes[whole] = np.hstack([np.zeros_like(sizes), sizes])[whole]
        return rows.assign(**dict(zip(BOX_COLUMNS, boxes.T, strict=True)))

    def _in_pictures(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Boxes with an area, inside their pictures."""
        empty = (rows["x2"] <= rows["x1"]) | (rows["y2"] <= rows["y1"])
        rows = self._without(rows, empty, "boxes without area (x2 <= x1 or y2 <= y1)")
        sizes = self._sizes(rows)
        boxes = rows[BOX_COLUMNS].to_numpy(np.float64)
        clipped = np.clip(boxes, 0, np.tile(sizes, 2))
        out = pd.Series((clipped[:, 2:] <= clipped[:, :2]).any(axis=1), index=rows.index)
        moved = (np.abs(clipped - boxes) > _SLACK * np.tile(sizes, 2)).any(axis=1) & ~out
        if moved.any():
            why = "boxes that leave the picture, cut at its border"
            self.reasons.append(dropped(why, rows.loc[moved, "place"], kept=True))
        rows = rows.assign(**dict(zip(BOX_COLUMNS, clipped.T, strict=True)))
        return self._without(rows, out, "boxes outside the picture")
