"""The runs of a data set in a few numbers, for `dvc metrics` and `dvc plots`."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

from stclip.errors import DataError
from stclip.evaluate.rules import shown_boxes
from stclip.records import LABEL_GROUPS
from stclip.storage.files import whole_file, whole_folder, write_json
from stclip.tables.aggregate import (
    ASSUMPTION_ORDER,
    RunContent,
    harmonic_mean,
    map_values,
)

logger = logging.getLogger(__name__)


def summarize(runs: Sequence[RunContent]) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Frame mAP and AP on the first box source, means over splits and seeds.

    Args:
        runs: contents of metrics.json files of one data set.

    Returns:
        Fractions, method -> assumption -> "unseen", "base", "H"; the same in percent, a row per
        method and assumption; AP in percent by label group and class too (over the splits and
        seeds in whose group the class is).

    Raises:
        DataError: runs of several data sets, or without metrics.
    """
    datasets = sorted({run["dataset"] for run in runs})
    if len(datasets) > 1:
        raise DataError(f"runs of {datasets} cannot share a summary; give those of one data set.")
    classes: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    groups: dict[tuple[str, str], list[RunContent]] = defaultdict(list)
    for run in sorted(runs, key=lambda r: (r["order"], r["split"], r["seed"])):
        boxes = shown_boxes(run["metrics"])
        if not run["metrics"][boxes]:
            raise DataError(
                f"method {run['method']}, split {run['split']}, seed {run['seed']}: no metrics on "
                f"{boxes} boxes; run the evaluate stage again."
            )
        for assumption in run["assumptions"]:
            key = (run["method"], assumption)
            groups[key].append(run)
            for group, cells in run["metrics"][boxes].items():
                for name, value in cells[assumption]["AP"].items():
                    if value is not None:  # a class without ground truth
                        classes[*key, group, name].append(value)
    titles = {run["method"]: run["title"] for run in runs}
    values: dict[str, Any] = defaultdict(dict)
    rows = []
    for method, assumption in sorted(groups, key=lambda key: ASSUMPTION_ORDER.index(key[1])):
        found = _averages(groups[method, assumption], assumption)  # methods stay in their order
        values[method][assumption] = {k: round(v, 6) for k, v in found.items()}
        about = {"dataset": datasets[0], "method": _label(titles[method], assumption)}
        rows.append(about | {k: 100 * v for k, v in found.items()})
    by_class = pd.DataFrame(
        [
            (datasets[0], _label(titles[method], assumption), group, name, 100 * mean(numbers))
            for (method, assumption, group, name), numbers in classes.items()
        ],
        columns=["dataset", "method", "labels", "class", "AP"],
    )
    return values, pd.DataFrame(rows), by_class


def _averages(runs: Sequence[RunContent], assumption: str) -> dict[str, float]:
    """Unseen and base mAP over the splits that there are, and H."""
    splits = list(dict.fromkeys(run["split"] for run in runs))
    boxes = shown_boxes(runs[0]["metrics"])
    found = {
        labels: map_values(runs, boxes=boxes, labels=labels, assumption=assumption).average(splits)
        for labels in LABEL_GROUPS
    }
    found["H"] = harmonic_mean(found["unseen"], found["base"])
    return {name: value for name, value in found.items() if value is not None}


def _label(title: str, assumption: str) -> str:
    return title if assumption == "independent" else f"{title}, {assumption}"


def write_summary(runs: Sequence[RunContent], out: Path, *, plots: tuple[Path, Path]) -> None:
    """Write a JSON per method into the folder `out`, and the two csv files of `plots`."""
    values, maps, by_class = summarize(runs)
    for path, frame in zip(plots, (maps, by_class), strict=True):
        with whole_file(path) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.2f", lineterminator="\n")
    with whole_folder(out) as folder:
        for name, cells in values.items():
            write_json(folder / f"{name}.json", cells)
    logger.info("summary: read %d runs of %d methods, dropped none", len(runs), len(values))
