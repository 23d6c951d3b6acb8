"""What travels between stages: Data (Clips, Boxes, KeyFrames, Detections), LabelSplit, Scores.

Everywhere: boxes are xyxy in pixels, float32, corners as published; frames are 0-based; actions are
the data set's official names. Tables travel as parquet, splits as JSON; a table is a pandas frame
whose columns are checked when the record is built.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd

from stclip.config.names import known_names
from stclip.errors import DataError
from stclip.storage.files import read_json, write_json
from stclip.storage.numbers import as_whole, refuse
from stclip.storage.parquet import read_parquet, write_parquet
from stclip.storage.seal import SEAL

BOX_COLUMNS = ["x1", "y1", "x2", "y2"]
_KEY_TYPES = {"clip": "str", "frame": "int32"}
_BOX_TYPES = _KEY_TYPES | dict.fromkeys(BOX_COLUMNS, "float32")
LABEL_GROUPS = ("unseen", "base")
_ROUNDING = 1e-5  # how far float32 may carry a probability past 1
SCORE_PREFIX = "score:"  # keeps a label called "frame" apart from the column


@dataclass(frozen=True)
class Table:
    """A pandas frame with the columns and types its subclass declares."""

    table: pd.DataFrame
    COLUMNS: ClassVar[dict[str, str]]

    def __post_init__(self) -> None:
        """Check the columns; cast to the declared types."""
        name = type(self).__name__
        missing = [c for c in self.COLUMNS if c not in self.table]
        if missing:
            raise DataError(f"{name}: columns {missing} are missing; found {list(self.table)}.")
        self._check_whole()
        try:
            table = self.table.astype({c: t for c, t in self.COLUMNS.items() if t != "list"})
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{name}: a column does not have its type {self.COLUMNS} ({error})."
            ) from None
        object.__setattr__(self, "table", table.reset_index(drop=True))
        if "x1" in self.COLUMNS and not np.isfinite(self.boxes_xyxy).all():
            bad = self.table.loc[~np.isfinite(self.boxes_xyxy).all(1)].iloc[0]
            raise DataError(
                f"{name}: box of clip {bad['clip']!r} frame {bad['frame']} is not finite."
            )

    def _check_whole(self) -> None:
        """Casting would cut fractions off, and wrap what an int32 does not hold."""
        name = type(self).__name__
        for column, kind in self.COLUMNS.items():
            values = self.table[column]
            if not kind.startswith("int") or values.dtype == kind:
                continue
            numbers = as_whole(values, column, lambda row: f"{name}: row {row}")
            limits = np.iinfo(kind)
            over = (numbers < limits.min) | (numbers > limits.max)
            refuse(over, values, column, name, f"is not in {limits.min} to {limits.max}")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.table)

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """Boxes, float32 (rows, 4), pixels."""
        return self.table[BOX_COLUMNS].to_numpy(np.float32)

    def content(self) -> str:
        """The SHA-256 of the columns and rows, in their order."""
        lists = [c for c, kind in self.COLUMNS.items() if kind == "list"]
        texts = {c: [json.dumps(list(v)) for v in self.table[c]] for c in lists}
        rows = pd.util.hash_pandas_object(self.table.assign(**texts), index=False).to_numpy()
        names = json.dumps(list(self.table.columns))
        return hashlib.sha256(names.encode() + rows.tobytes()).hexdigest()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a parquet file; a missing or damaged one is a DataError naming it."""
        try:
            table = read_parquet(path)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; run the stage that writes it.") from None
        try:
            return cls(table)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def write(self, path: Path, **metadata: str) -> None:
        """Write parquet, whole or not at all."""
        write_parquet(self.table, path, **metadata)


class Clips(Table):
    """One row per video; `official_split` is train, val or test, `actions` all that occur in it."""

    COLUMNS: ClassVar = {
        "clip": "str",
        "official_split": "str",
        "num_frames": "int32",
        "height": "int32",
        "width": "int32",
        "fps": "float32",
        "licence": "str",
        "actions": "list",
    }

    def __post_init__(self) -> None:
        """Clip names are keys."""
        super().__post_init__()
        twice = self.table["clip"][self.table["clip"].duplicated()]
        if len(twice):
            raise DataError(f"Clips: {twice.iloc[0]!r} is listed twice.")


class Boxes(Table):
    """Ground truth: one row per person box and frame; `tube` numbers a clip's persons from 0."""

    COLUMNS: ClassVar = _BOX_TYPES | {"tube": "int32", "actions": "list"}


class KeyFrames(Table):
    """One row per key frame: those that are tested, and those of training clips.

    `number` counts a clip's key frames in equal steps of `step_s` seconds: neighbours differ by 1,
    and a gap in the numbers is a gap in the video. `tested`: whether the clip is of the official
    split that is tested.
    """

    COLUMNS: ClassVar = {
        "clip": "str",
        "frame": "int32",
        "number": "int32",
        "step_s": "float32",
        "tested": "bool",
    }

    @cached_property
    def _index(self) -> pd.MultiIndex:
        return pd.MultiIndex.from_frame(self.table[["clip", "frame"]])

    def rows_of(self, table: pd.DataFrame) -> np.ndarray:
        """The row of each (clip, frame) of `table`, -1 where it is no key frame."""
        wanted = pd.MultiIndex.from_frame(table[["clip", "frame"]].astype(_KEY_TYPES))
        return self._index.get_indexer(wanted)

    def contain(self, table: pd.DataFrame) -> np.ndarray:
        """Whether each (clip, frame) of `table` is a key frame, bool (rows,)."""
        return self.rows_of(table) >= 0

    def numbers(self, table: pd.DataFrame) -> np.ndarray:
        """The number of each (clip, frame) of `table`; all must be key frames, int (rows,)."""
        rows = self.rows_of(table)
        assert (rows >= 0).all(), "only key frames have numbers"
        return self.table["number"].to_numpy(np.int64)[rows]

    @property
    def tested(self) -> pd.DataFrame:
        """Those of the clips that are tested, in order."""
        return self.table[self.table["tested"]]

    @property
    def step_s(self) -> float:
        """Seconds between neighbours of tested clips; the median where clips differ."""
        return float(self.tested["step_s"].median())


class Detections(Table):
    """Person detections, unfiltered; `score` in 0..1."""

    COLUMNS: ClassVar = _BOX_TYPES | {"score": "float32"}

    def __post_init__(self) -> None:
        """Scores are in 0..1."""
        super().__post_init__()
        wrong = ~self.table["score"].between(0, 1)  # NaN too
        if wrong.any():
            bad = self.table[wrong].iloc[0]
            raise DataError(
                f"Detections: score {bad['score']} of clip {bad['clip']!r} frame {bad['frame']} "
                "lies outside 0..1."
            )


def read_boxes(path: Path) -> pd.DataFrame:
    """Clip, frame and corners of a table of ground truth or detections, in the file's order."""
    return Corners.read(path).table


class Corners(Table):
    """What ground truth and detections share."""

    COLUMNS: ClassVar = _BOX_TYPES


class Scores(Table):
    """One row per scored box: `detector_score` (1 for ground-truth boxes) and one column per label.

    The label columns hold class probabilities in 0..1, not yet multiplied by the detector score.
    """

    COLUMNS: ClassVar = _BOX_TYPES | {"detector_score": "float32"}

    def __post_init__(self) -> None:
        """Probabilities and detector scores are finite and in 0..1, but for rounding."""
        super().__post_init__()
        if not np.isfinite(self.probabilities).all():
            raise DataError(
                "Scores: a class probability is not finite; the run that wrote it diverged."
            )
        values = np.column_stack([self.table["detector_score"], self.probabilities])
        wrong = ~((values >= -_ROUNDING) & (values <= 1 + _ROUNDING))
        if wrong.any():
            row = self.table[wrong.any(1)].iloc[0]
            raise DataError(
                f"Scores: {values[wrong][0]} of clip {row['clip']!r} frame {row['frame']} lies "
                "outside 0..1; class probabilities and detector scores do not."
            )

    @property
    def labels(self) -> list[str]:
        """Label names in column order."""
        names = map(str, self.table.columns)
        return [n.removeprefix(SCORE_PREFIX) for n in names if n.startswith(SCORE_PREFIX)]

    @property
    def probabilities(self) -> np.ndarray:
        """Class probabilities, float32 (rows, labels)."""
        return self.table[[SCORE_PREFIX + label for label in self.labels]].to_numpy(np.float32)

    @classmethod
    def from_parts(
        cls, boxes: pd.DataFrame, probabilities: np.ndarray, labels: Sequence[str]
    ) -> Self:
        """Join boxes (clip, frame, x1..y2, detector_score) and probabilities (rows, labels)."""
        columns = pd.DataFrame(
            probabilities.astype(np.float32), columns=[SCORE_PREFIX + label for label in labels]
        )
        return cls(pd.concat([boxes.reset_index(drop=True)[list(cls.COLUMNS)], columns], axis=1))


@dataclass(frozen=True, kw_only=True)
class Data:
    """A prepared data set, as far as a stage reads it."""

    clips: Clips
    boxes: Boxes  # ground truth
    key_frames: KeyFrames
    frames: Path  # folder of the frame store
    detections: Detections | None = None
    objects: Detections | None = None  # boxes of everything but persons
    # stored features: "frames", "objects" or a kind of boxes -> file
    features: Mapping[str, Path] = field(default_factory=dict)

    def table_of(self, kind: str) -> pd.DataFrame:
        """The boxes of a kind: "ground_truth", "detections" or "objects".

        Raises:
            DataError: they were not given.
        """
        found = {
            "ground_truth": self.boxes, "detections": self.detections, "objects": self.objects,
        }[kind]  # fmt: skip
        if found is None:
            raise DataError(f"{kind} are asked for, but none were given.")
        return found.table


@dataclass(frozen=True)
class LabelSplit:
    """A zero-shot label split and the clips it selects; its label order is the class order.

    `train_clips`: official training clips of base classes; `unseen_clips`, `base_clips`: official
    test clips with an unseen and with a base class.
    """

    dataset: str
    family: str
    name: str
    base: tuple[str, ...]
    unseen: tuple[str, ...]
    rule: str
    seed: int | None = None
    train_clips: tuple[str, ...] = ()
    unseen_clips: tuple[str, ...] = ()
    base_clips: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Every field has its type; no label twice, none on both sides."""
        for key in ("dataset", "family", "name", "rule"):
            if not isinstance(getattr(self, key), str):
                raise DataError(f"{key} is {getattr(self, key)!r}; a text is needed.")
        for key in ("base", "unseen", "train_clips", "unseen_clips", "base_clips"):
            names = getattr(self, key)
            if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
                raise DataError(f"{key} is {names!r}; a list of texts is needed.")
            object.__setattr__(self, key, tuple(names))
        if not isinstance(self.seed, int | None) or isinstance(self.seed, bool):
            raise DataError(f"seed is {self.seed!r}; a number or null is needed.")
        labels = (*self.base, *self.unseen)
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise DataError(f"{self.where}: labels {twice} are listed twice.")
        if not self.base or not self.unseen:
            raise DataError(f"{self.where}: needs base and unseen labels.")

    @property
    def where(self) -> str:
        """Names it in messages."""
        return f"split {self.name} ({self.family}) of {self.dataset}"

    def labels(self, group: str) -> tuple[str, ...]:
        """Labels of the group "unseen" or "base"."""
        return {"unseen": self.unseen, "base": self.base}[group]

    def test_clips(self, group: str) -> tuple[str, ...]:
        """Test clips of the group "unseen" or "base"."""
        return {"unseen": self.unseen_clips, "base": self.base_clips}[group]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a split file; unknown, missing or unfit keys are a DataError."""
        content = read_json(path)
        known = [f.name for f in fields(cls)]
        for key in content if isinstance(content, dict) else ():
            if key not in known:
                raise DataError(f"{path}: unknown key {key!r}; {known_names(key, known)}")
        try:
            return cls(**content)
        except TypeError as error:
            raise DataError(f"{path}: not a label split ({error}).") from None
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def write(self, path: Path) -> None:
        """Write the split as JSON."""
        write_json(path, asdict(self) | SEAL)
