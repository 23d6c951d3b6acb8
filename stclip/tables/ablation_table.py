"""Tables of ablations: pure functions of metrics.json files and bootstrap replicates.

S seeds, R replicates. Frame mAP of the unseen classes.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stclip.config.table import AblationTable
from stclip.errors import DataError
from stclip.tables.aggregate import (
    BySplit,
    RunContent,
    by_method,
    check_runs,
    map_values,
    replicates_of,
)
from stclip.tables.cells import MISSING, interval_text, percent, printed

logger = logging.getLogger(__name__)
LABELS = "unseen"


def build_ablation(
    config: AblationTable,
    runs: Sequence[RunContent],
    replicates: Sequence[pd.DataFrame],
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
        a replicate draws the same videos and seeds for both. The average on the starred boxes
        (mAP*). Number of seeds that all splits have, scale, benchmark, published values.

    Raises:
        DataError: runs that cannot stand in one table or have no row in it.
    """
    check_runs(runs, replicates, config.splits)
    _check_rows(config, runs)
    assert config.rows != "all"
    splits = config.splits
    rows = {m: _Row(config, *own) for m, own in by_method(runs, replicates).items()}
    empty = _Row(config, [], [])
    reference = rows.get(config.reference, empty)
    shown = published and any(row.published is not None for row in config.rows)
    cells = []
    for about in config.rows:
        row = rows.get(about.method, empty)
        seeds = row.replicates.seeds(splits)
        shared = [seed for seed in reference.replicates.seeds(splits) if seed in seeds]
        cells.append(
            {"variant": about.title}
            | {f"split {s}": percent(row.values.of_split(s)) for s in splits}
            | ({"avg": percent(row.values.average(splits))} if len(splits) > 1 else {})
            | {
                "95% interval": interval_text(row.replicates.per_seed(splits, seeds))
                if seeds
                else MISSING,
                "std over seeds": _deviation(row.values.per_seed(splits, seeds)),
            }
            | _difference(row, reference, splits, shared)
            | ({"mAP*": percent(row.starred.average(splits))} if config.starred else {})
            | {"seeds": str(len(seeds)), "scale": runs[0]["scale"]}
            | {"benchmark": runs[0]["benchmark"]}
            | ({"published": printed(about.published)} if shown else {})
        )
    frame = pd.DataFrame(cells, dtype="str")
    logger.info(
        "%s: read %d runs, made %d rows, dropped none; %d rows lack runs.",
        config.title, len(runs), len(frame), int((frame["95% interval"] == MISSING).sum()),
    )  # fmt: skip
    return frame


class _Row:
    """The runs of one row."""

    def __init__(
        self, config: AblationTable, runs: Sequence[RunContent], tables: Sequence[pd.DataFrame]
    ) -> None:
        cell: dict[str, Any] = {"labels": LABELS, "assumption": config.assumption}
        self.values = map_values(runs, boxes=config.boxes, **cell)
        self.starred = map_values(runs, boxes=config.starred or "", **cell)
        name = f"{config.boxes}/{LABELS}/{config.assumption}"
        self.replicates = replicates_of(runs, tables, cell=name)


def _check_rows(config: AblationTable, runs: Sequence[RunContent]) -> None:
    """Every run has a row; all scored the same boxes, without which nothing is paired."""
    scored: dict[tuple[str, str], str] = {}
    known = config.methods([])
    for run in runs:
        name = f"method {run['method']}, split {run['split']}, seed {run['seed']}"
        if run["method"] not in known:
            raise DataError(f"{name}: the table has no such row; its methods are {sorted(known)}.")
        for boxes, groups in run["metrics"].items():
            found = groups.get(LABELS, {}).get(config.assumption, {}).get("boxes_sha256")
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

    def over_splits(values: BySplit[Any]) -> np.ndarray:
        return values.per_seed(splits, seeds)

    maps = over_splits(row.values) - over_splits(reference.values)
    samples = over_splits(row.replicates) - over_splits(reference.replicates)
    texts = (f"{100 * maps.mean():+.2f}", interval_text(samples, signed=True))
    return dict(zip(columns, texts, strict=True))


def _deviation(maps: np.ndarray) -> str:
    return percent(float(maps.std(ddof=1))) if len(maps) > 1 else MISSING
