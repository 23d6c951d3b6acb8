"""What the page of predictions holds: rows (a box scored for a class), boxes, persons, frames.

All are columns, as JSON has them: a row names its box and its person by number, these their frame.
Missed ground truth is a row without box and score.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stclip.errors import ConfigError, DataError
from stclip.evaluate.error_kinds import KINDS, MISSED
from stclip.evaluate.run_sides import scores_of
from stclip.evaluate.voting import ASSUMPTIONS
from stclip.records import BOX_COLUMNS
from stclip.report.browsed_run import BrowsedRun
from stclip.report.overlaps import overlaps_of

ALL_KINDS = (*KINDS, MISSED)
BEST_NAMES = 5  # of a box are listed
Frame = tuple[str, str, str, int]  # scale, dataset, clip, 0-based number


@dataclass
class BrowsedRows:
    """The page's columns while they grow. Boxes in pixels, rounded to tenths; scores in 0..1."""

    frames: dict[Frame, int] = field(default_factory=dict)  # -> its number
    columns: dict[str, dict[str, list[Any]]] = field(
        default_factory=lambda: {
            "rows": {k: [] for k in ("run", "label", "score", "rank", "kind", "box", "person")},
            "boxes": {k: [] for k in ("frame", "corners", "detector", "overlap", "best")},
            "persons": {k: [] for k in ("frame", "corners", "names")},
            "frames": {k: [] for k in ("clip", "frame", "width", "height")},
        }
    )
    names: dict[str, int] = field(default_factory=dict)  # classes -> number
    classes: list[int] = field(default_factory=list)  # those that are scored
    available: int = 0  # rows of the runs, shown or not

    def name(self, name: str) -> int:
        """The number of a class."""
        return self.names.setdefault(name, len(self.names))

    def put(self, table: str, **values: Any) -> int:
        """Append to a table; the number of what was appended."""
        columns = self.columns[table]
        for key, value in values.items():
            columns[key].append(value)
        return len(next(iter(columns.values()))) - 1

    @property
    def content(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.columns, "names": list(self.names), "classes": self.classes}


def browsed_rows(runs: Sequence[BrowsedRun], *, most: int) -> BrowsedRows:
    """Collect the best-ranked rows of every class of every run, and what nothing found.

    Args:
        runs: what is shown.
        most: rows at most; where there are more, every class of every run has as many, as far as it
            has them: its best-ranked ones, and of missed persons the first.

    Raises:
        ConfigError: `most` is less than the classes of the runs. DataError: there is no row at all.
    """
    page = BrowsedRows()
    page.classes = [page.name(n) for n in dict.fromkeys(n for r in runs for n in r.judged.errors)]
    sizes = [
        size
        for run in runs
        for label, errors in run.judged.errors.items()
        for size in (len(run.judged.result.rankings[label].scores), int(errors.missed.sum()))
    ]
    page.available = sum(sizes)
    if not page.available:
        raise DataError("nothing was scored and nobody is annotated: there is nothing to browse.")
    each = _water_level(sizes, most)
    if not each:
        raise ConfigError(
            f"--most {most}: too few for a prediction of every class and run; give at least "
            f"{sum(size > 0 for size in sizes)}."
        )
    persons: dict[tuple[str, str], dict[int, int]] = {}
    for number, run in enumerate(runs):
        dataset = (run.about["scale"], run.about["dataset"])
        _add_run(page, run, number, each, persons.setdefault(dataset, {}))
    return page


def _water_level(sizes: Sequence[int], most: int) -> int:
    """How many of each list may be taken, so that they are at most `most` together.

    >>> _water_level([2, 10, 10], 12)
    5
    """
    low, high = 0, max(sizes)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(size, middle) for size in sizes) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _add_run(
    page: BrowsedRows, run: BrowsedRun, number: int, each: int, known: dict[int, int]
) -> None:
    """Append the rows of a run.

    Args:
        page: what grows.
        run: the run.
        number: its number.
        each: rows of a class at most.
        known: persons of its data set that are there already: row of the ground truth -> number.
    """
    judged, truth = run.judged, run.judged.truth
    record = ASSUMPTIONS[run.assumption](judged.found.record)
    table = run.data.boxes.table
    table = table[table["clip"].isin(truth.clips)]
    table = table[run.data.key_frames.contain(table)]  # whoever is annotated, for any class
    nearest, overlap = overlaps_of(
        record, table, clips=list(truth.clips), protocol=run.protocol
    ).best_person()
    annotated = {row: at for at, row in enumerate(table.index.tolist())}
    person_frames = _frames(table)
    person_boxes = table[BOX_COLUMNS].to_numpy(np.float64)
    actions = [list(map(str, names)) for names in table["actions"]]
    of_frame: dict[tuple[str, int], list[int]] = {}
    for row, at in annotated.items():
        of_frame.setdefault(person_frames[at], []).append(row)
    clips = run.data.clips.table
    sizes = dict(
        zip(clips["clip"], clips[["width", "height"]].to_numpy(np.int64).tolist(), strict=True)
    )

    def frame(where: tuple[str, int]) -> int:
        key = (run.about["scale"], run.about["dataset"], *where)
        if key not in page.frames:
            clip, frame_idx = where
            width, height = sizes[clip]
            page.frames[key] = page.put(
                "frames", clip=clip, frame=frame_idx, width=width, height=height
            )
            for row in of_frame.get(where, []):
                known[row] = page.put(
                    "persons",
                    frame=page.frames[key],
                    corners=_corners(person_boxes[annotated[row]]),
                    names=[page.name(name) for name in actions[annotated[row]]],
                )
        return page.frames[key]

    products = scores_of(record).T  # (N, K)
    box_frames, corners = _frames(record.table), record.boxes_xyxy
    detector = record.table["detector_score"].to_numpy()
    boxes: dict[int, int] = {}

    def box(row: int) -> int:
        if row not in boxes:
            best = np.argsort(-products[row], kind="stable")[:BEST_NAMES]
            boxes[row] = page.put(
                "boxes",
                frame=frame(box_frames[row]),
                corners=_corners(corners[row]),
                detector=_short(detector[row]),
                overlap=_short(overlap[row]),
                best=[[page.name(record.labels[k]), _short(products[row, k])] for k in best],
            )
        return boxes[row]

    truth_rows = np.unique(truth.table.index)  # of each of its boxes
    for label, errors in judged.errors.items():
        ranking = judged.result.rankings[label]
        for rank, row in enumerate(ranking.order[:each].tolist(), start=1):
            scored = int(ranking.boxes[row])
            page.put(
                "rows",
                run=number,
                label=page.name(label),
                score=_short(ranking.scores[row]),
                rank=rank,
                kind=int(errors.kinds[row]),
                box=box(scored),
                person=known[table.index[nearest[scored]]] if nearest[scored] >= 0 else -1,
            )
        for row in truth_rows[np.flatnonzero(errors.missed)][:each].tolist():
            frame(person_frames[annotated[row]])
            page.put(
                "rows",
                run=number,
                label=page.name(label),
                score=None,
                rank=None,
                kind=len(KINDS),
                box=-1,
                person=known[row],
            )


def _frames(table: pd.DataFrame) -> list[tuple[str, int]]:
    """Clip and 0-based frame of every row."""
    return list(zip(table["clip"].tolist(), table["frame"].tolist(), strict=True))


def _corners(box_xyxy: np.ndarray) -> list[float]:
    return [round(float(corner), 1) for corner in box_xyxy]


def _short(value: Any) -> float:
    """Four digits are more than the page shows."""
    return round(float(value), 4)
