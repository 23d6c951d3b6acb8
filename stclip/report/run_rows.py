"""What the page knows of runs: the files in their folders, and the rows that compare them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stclip.errors import DataError
from stclip.evaluate.breakdown import CLASSES
from stclip.evaluate.evaluate import METRICS_FILE
from stclip.evaluate.rules import shown_boxes
from stclip.report.predictions import PREDICTIONS
from stclip.storage.files import read_json, read_json_lines
from stclip.tables.aggregate import (
    ASSUMPTION_ORDER,
    PROVENANCE,
    check_runs,
    map_values,
)
from stclip.tables.error_table import compare_errors, read_errors

CONFIG_FILE, LOG_FILE = "config.yaml", "log.jsonl"
CLASS_COLUMNS = ["cell", "label", "AP"]


@dataclass(frozen=True)
class Run:
    """A run's folder, read. Fractions in 0..1."""

    folder: Path
    about: dict[str, Any]  # metrics.json
    classes: pd.DataFrame  # cell, label, AP, ...
    errors: pd.DataFrame  # cell, label, kind, rows, top, gain
    log: pd.DataFrame  # step, loss, lr, seconds; no row where nothing was trained
    config: str  # config.yaml
    picture: bytes  # predictions.png

    def cell(self, boxes: str, labels: str, assumption: str) -> dict[str, Any]:
        """The metrics of a box source, label group and assumption."""
        return self.about["metrics"][boxes][labels][assumption]


@dataclass(frozen=True)
class Row:
    """A method under one assumption: a row of figures and tables, with all of its runs."""

    assumption: str
    title: str
    runs: tuple[Run, ...]

    def average(self, boxes: str, labels: str, splits: Sequence[str]) -> float | None:
        """Mean mAP over splits of the means over seeds; None unless every split is there."""
        abouts = [run.about for run in self.runs]
        cell = {"boxes": boxes, "labels": labels, "assumption": self.assumption}
        return map_values(abouts, **cell).average(splits)

    def class_aps(self, boxes: str, labels: str) -> pd.Series:
        """AP by class, averaged over the runs in which the class is of that label group."""
        cell = f"{boxes}/{labels}/{self.assumption}"
        parts = [run.classes[run.classes["cell"] == cell] for run in self.runs]
        return pd.concat(parts).groupby("label")["AP"].mean()

    def errors(self, boxes: str) -> pd.DataFrame:
        """Of unseen classes by kind: top (share of the best-ranked boxes), gain; mean of the runs.

        Raises:
            DataError: a run's errors are of other box sources or assumptions.
        """
        abouts = [run.about | {"assumptions": [self.assumption]} for run in self.runs]
        tables = compare_errors(abouts, [run.errors for run in self.runs], boxes=boxes)
        if not tables:
            raise DataError(
                f"{self.runs[0].folder}: its errors are not of {boxes} boxes, {self.assumption}; "
                "run the evaluate stage again."
            )
        (table,) = tables.values()
        return table.set_index("kind")


@dataclass(frozen=True)
class DatasetRuns:
    """The runs of one data set, and how they are compared."""

    dataset: str
    splits: list[str]
    sources: list[str]  # of boxes
    boxes: str  # the source that figures show
    assumptions: list[str]  # under which its runs were evaluated
    runs: list[Run]  # by the methods' order, split, seed
    rows: list[Row]  # by assumption and the methods' order


def read_run_folder(folder: Path) -> Run:
    """Read all that the page shows of a run.

    Raises:
        DataError: a file is missing or damaged.
    """
    about = read_json(folder / METRICS_FILE)
    log = pd.DataFrame(read_json_lines(folder / LOG_FILE))
    if len(log) and not {"step", "loss", "lr", "seconds"} <= set(log):
        raise DataError(
            f"{folder / LOG_FILE}: columns {list(log)}, not step, loss, lr, seconds; run the train "
            "stage again."
        )
    return Run(
        folder=folder,
        about=about,
        classes=_classes(folder / CLASSES),
        errors=read_errors(folder),
        log=log,
        config=_read(folder / CONFIG_FILE, stage="train").decode("utf-8", "replace"),
        picture=_read(folder / PREDICTIONS, stage="predictions"),
    )


def _read(path: Path, *, stage: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the {stage} stage.") from None


def _classes(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values={"AP": [""]})
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the evaluate stage.") from None
    except ValueError as error:  # what cannot be parsed or is no UTF-8
        raise DataError(f"{path}: {error}; run the evaluate stage again.") from None
    if not set(CLASS_COLUMNS) <= set(table):
        raise DataError(f"{path}: columns {list(table)}, not {CLASS_COLUMNS}; run evaluate again.")
    return table


def by_dataset(runs: Sequence[Run], *, scale: str) -> list[DatasetRuns]:
    """Sort runs into data sets and rows.

    Raises:
        DataError: no runs, or such that cannot be compared: of another scale, given twice, of
            several versions of a split, scored on different box sources.
    """
    found: dict[str, list[Run]] = {}
    for run in sorted(runs, key=_order):
        if run.about["scale"] != scale:
            raise DataError(
                f"{run.folder}: of scale {run.about['scale']}, the page is of scale {scale}."
            )
        found.setdefault(run.about["dataset"], []).append(run)
    if not found:
        raise DataError("no runs to report; run the evaluate stage first.")
    return [_dataset(name, of_dataset) for name, of_dataset in sorted(found.items())]


def _order(run: Run) -> tuple[Any, ...]:
    missing = [key for key in PROVENANCE if key not in run.about]
    if missing:
        raise DataError(
            f"{run.folder / METRICS_FILE}: lacks {missing}; run the evaluate stage again."
        )
    about = run.about
    method = about["order"], about["title"], about["method"]
    return *method, *_split_order(about["split"]), about["seed"]


def _split_order(split: str) -> tuple[int, str]:
    return len(split), split  # 10 after 9


def _dataset(name: str, runs: list[Run]) -> DatasetRuns:
    splits = sorted({run.about["split"] for run in runs}, key=_split_order)
    check_runs([run.about for run in runs], [pd.DataFrame()] * len(runs), splits)
    sources = list(runs[0].about["metrics"])
    for run in runs:
        if list(run.about["metrics"]) != sources:
            raise DataError(
                f"{run.folder}: scored on {list(run.about['metrics'])} boxes, the runs before it "
                f"on {sources}; run score and evaluate again."
            )
    boxes = shown_boxes(sources)
    assumptions = list(runs[0].about["metrics"][boxes]["unseen"])
    return DatasetRuns(name, splits, sources, boxes, assumptions, runs, list(_rows(runs)))


def _rows(runs: list[Run]) -> Iterator[Row]:
    for assumption in ASSUMPTION_ORDER:
        methods: dict[str, list[Run]] = {}
        for run in runs:
            if assumption in run.about["assumptions"]:
                methods.setdefault(run.about["method"], []).append(run)
        for of_method in methods.values():
            yield Row(assumption, of_method[0].about["title"], tuple(of_method))
