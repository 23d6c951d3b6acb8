"""Tables of ablations: pure functions of metrics.json files and bootstrap replicates.

S seeds, R replicates. Frame mAP of the unseen classes under no assumption about the video, detected
boxes unless a column says otherwise.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from stclip.config.table import TableConfig
from stclip.errors import DataError
from stclip.evaluate.bootstrap import draw_seeds, interval
from stclip.tables.main_table import DETECTED, GROUND_TRUTH, MISSING, check_runs, percent

logger = logging.getLogger(__name__)

CELL = ("unseen", "independent")  # of metrics.json, below the box source


@dataclass
class _Row:
    """The runs of one row, fractions by split and seed."""

    maps: dict[tuple[str, str], dict[int, float]] = field(
        default_factory=lambda: defaultdict(dict)
    )  # (boxes, split) -> seed -> mAP
    replicates: dict[str, dict[int, np.ndarray]] = field(
        default_factory=lambda: defaultdict(dict)
    )  # split -> seed -> (R,), detected boxes

    def add(self, run: dict[str, Any], samples: pd.DataFrame) -> None:
        """Take in a run; boxes that it was not evaluated on stay missing."""
        labels, assumption = CELL
        for boxes, groups in run["metrics"].items():
            if labels in groups:
                self.maps[boxes, run["split"]][run["seed"]] = groups[labels][assumption]["mAP"]
        column = f"{DETECTED}/{labels}/{assumption}"
        if column in samples:
            self.replicates[run["split"]][run["seed"]] = samples[column].to_numpy(np.float64)

    def average(self, boxes: str, splits: Sequence[str]) -> float | None:
        """Mean over splits of the means over seeds; None unless every split is there."""
        values = [self.maps[boxes, split].values() for split in splits]
        return mean(mean(seeds) for seeds in values) if all(values) else None

    def seeds(self, splits: Sequence[str]) -> list[int]:
        """Those that were run on every split."""
        return sorted(set.intersection(*(set(self.replicates[split]) for split in splits)))

    def per_seed(self, splits: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """(S,), mean over splits."""
        values = [[self.maps[DETECTED, split][seed] for seed in seeds] for split in splits]
        return np.mean(values, axis=0)

    def samples(self, splits: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """(S, R), mean over splits: a replicate weighs a clip alike in every split and run."""
        values = [[self.replicates[split][seed] for seed in seeds] for split in splits]
        return np.mean(values, axis=0)


def build_ablation(
    config: TableConfig,
    runs: list[dict[str, Any]],
    replicates: list[pd.DataFrame],
    *,
    published: bool,
) -> pd.DataFrame:
    """A row per method or variant, and how it differs from the reference row.

    Args:
        config: of `load_table`.
        runs: contents of metrics.json files, one per method, split and seed.
        replicates: bootstrap replicates of each run, in the same order.
        published: whether the paper's values get a column, if the table has any.

    Returns:
        Text cells, percent. The mAP of every split, averaged over seeds; of their average (shown
        where there are several) the 95% interval over videos and seeds: every replicate draws
        videos and seeds with replacement. The standard deviation of the average over seeds. The
        difference to the reference row over the seeds that both rows have, and its interval:
        a replicate draws the same videos and seeds for both. The average on ground-truth boxes
        (mAP*). Number of seeds that all splits have, scale, published values.

    Raises:
        DataError: runs that cannot stand in one table or have no row in it.
    """
    check_runs(runs, replicates, config.splits)
    rows = {row.method: _Row() for row in config.rows}
    _check_rows(runs, rows)
    for run, samples in zip(runs, replicates, strict=True):
        rows[run["method"]].add(run, samples)
    splits, reference = config.splits, rows[config.reference]
    averaged = len(splits) > 1
    shown = published and any(row.published is not None for row in config.rows)
    cells = []
    for about in config.rows:
        row = rows[about.method]
        seeds = row.seeds(splits)
        shared = [seed for seed in reference.seeds(splits) if seed in seeds]
        cells.append(
            {"variant": about.title}
            | {f"split {s}": percent(row.average(DETECTED, [s])) for s in splits}
            | ({"avg": percent(row.average(DETECTED, splits))} if averaged else {})
            | {
                "95% interval": _interval(row.samples(splits, seeds), "{:.2f}")
                if seeds
                else MISSING,
                "std over seeds": _deviation(row.per_seed(splits, seeds)),
            }
            | _difference(row, reference, splits, shared)
            | {
                "mAP*": percent(row.average(GROUND_TRUTH, splits)),
                "seeds": str(len(seeds)),
                "scale": runs[0]["scale"],
            }
            | ({"published": _published(about.published)} if shown else {})
        )
    frame = pd.DataFrame(cells, dtype="str")
    logger.info(
        "%s: read %d runs, made %d rows, dropped none; %d rows lack runs.",
        config.title,
        len(runs),
        len(frame),
        int((frame["95% interval"] == MISSING).sum()),
    )
    return frame


def _check_rows(runs: list[dict[str, Any]], rows: dict[str, _Row]) -> None:
    """Every run has a row; all scored the same boxes, without which nothing is paired."""
    scored: dict[tuple[str, str], str] = {}
    for run in runs:
        name = f"method {run['method']}, split {run['split']}, seed {run['seed']}"
        if run["method"] not in rows:
            raise DataError(f"{name}: the table has no such row; its methods are {sorted(rows)}.")
        for boxes, groups in run["metrics"].items():
            found = groups.get(CELL[0], {}).get(CELL[1], {}).get("boxes_sha256")
            if scored.setdefault((run["split"], boxes), found) != found:
                raise DataError(
                    f"{name}: scored other {boxes} boxes than the runs before it; score all of "
                    "them with the same detections."
                )


def _difference(
    row: _Row, reference: _Row, splits: Sequence[str], seeds: Sequence[int]
) -> dict[str, str]:
    columns = ("difference", "difference 95% interval")
    if not seeds:
        return dict.fromkeys(columns, MISSING)
    maps = row.per_seed(splits, seeds) - reference.per_seed(splits, seeds)
    samples = row.samples(splits, seeds) - reference.samples(splits, seeds)
    return dict(
        zip(columns, (f"{100 * maps.mean():+.2f}", _interval(samples, "{:+.2f}")), strict=True)
    )


def _interval(samples: np.ndarray, form: str) -> str:
    """The 95% interval of (S, R) replicates: each draws its seeds anew."""
    drawn = np.take_along_axis(samples, draw_seeds(*samples.shape), axis=0)
    low, high = interval(drawn.mean(0))
    return f"[{form.format(100 * low)}, {form.format(100 * high)}]"


def _deviation(maps: np.ndarray) -> str:
    return percent(float(maps.std(ddof=1))) if len(maps) > 1 else MISSING


def _published(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"
