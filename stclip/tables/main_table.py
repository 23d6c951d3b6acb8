"""Main tables: a row per method and assumption, label splits side by side.

Numbers are percent with two decimals. A cell whose runs are not all there prints "-"; published
values have columns of their own and never fill it.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stclip.config.table import PUBLISHED_MEANS, Assumption, Column, MainTable
from stclip.records import LABEL_GROUPS
from stclip.tables.aggregate import (
    Replicates,
    RunContent,
    Values,
    by_method,
    cells_of,
    check_runs,
    harmonic_mean,
    map_values,
    replicates_of,
)
from stclip.tables.cell_counts import class_columns, group_columns
from stclip.tables.cells import MISSING, interval_text, percent, printed, range_text

logger = logging.getLogger(__name__)
INTERVAL = "avg 95% interval"


def build_main(
    config: MainTable,
    runs: Sequence[RunContent],
    replicates: Sequence[pd.DataFrame],
    *,
    published: bool,
) -> pd.DataFrame:
    """Frame mAP per method and label split (as Huang et al. 2025, Table 2).

    Args:
        config: of `load_table`.
        runs: contents of metrics.json files, one per method, split and seed.
        replicates: bootstrap replicates of each run, in the same order.
        published: whether the paper's values get columns, if the table has any.

    Returns:
        Text cells. A row per assumption (in the table's order) and method of that assumption, by
        the methods' order and title. The columns that the table names: unseen classes per split,
        their avg and its 95% interval, base classes, H with the base classes, the starred ones on
        the other box source, those of each kind of labels, what entered the means, number of seeds,
        scale, benchmark; then published values.

    Raises:
        DataError: runs that cannot stand in one table (several scales, data sets or versions of a
            split, a split not asked for, one run twice, replicates of several lengths), or a run
            without its provenance.
    """
    check_runs(runs, replicates, config.splits)
    methods = sorted(
        by_method(runs, replicates).items(),
        key=lambda item: (item[1][0][0]["order"], item[1][0][0]["title"]),
    )
    cells = [
        {"method": own_runs[0]["title"], "assumption": assumption}
        | _cells(config, assumption, own_runs, own_tables)
        | (_published(config, assumption, method) if published else {})
        for assumption in config.assumptions
        for method, (own_runs, own_tables) in methods
        if assumption in own_runs[0]["assumptions"]
    ]
    frame = pd.DataFrame(cells, dtype="str")
    ours = frame.loc[:, ~frame.columns.str.startswith("published")]
    logger.info(
        "%s: read %d runs, made %d rows, dropped none; %d cells have no run yet.",
        config.title, len(runs), len(frame), (ours == MISSING).to_numpy().sum(),
    )  # fmt: skip
    return frame


def _cells(
    config: MainTable,
    assumption: Assumption,
    runs: Sequence[RunContent],
    replicates: Sequence[pd.DataFrame],
) -> dict[str, str]:
    """The columns that the table names, of one method under one assumption."""
    splits = config.splits

    def values(labels: str, boxes: str) -> Values:
        return map_values(runs, boxes=boxes, labels=labels, assumption=assumption)

    def averages(boxes: str) -> tuple[float | None, float | None]:
        """The unseen classes' average, and H."""
        unseen, base = (values(labels, boxes).average(splits) for labels in LABEL_GROUPS)
        return unseen, harmonic_mean(unseen, base)

    unseen = values("unseen", config.boxes)
    avg, harmonic = averages(config.boxes)
    starred = averages(config.starred) if config.starred else (None, None)
    found = replicates_of(runs, replicates, cell=f"{config.boxes}/unseen/{assumption}")
    texts: dict[Column, dict[str, str]] = {
        "splits": {f"split {s}": percent(unseen.of_split(s)) for s in splits},
        "avg": {"avg": percent(avg)},
        "interval": {INTERVAL: _interval(found, splits)},
        "base": {"base": percent(values("base", config.boxes).average(splits))},
        "H": {"H": percent(harmonic)},
        "avg*": {"avg*": percent(starred[0])},
        "H*": {"H*": percent(starred[1])},
        "seeds": {"seeds": range_text([len(unseen.by_split.get(s, {})) for s in splits])},
        "scale": {"scale": runs[0]["scale"]},
        "benchmark": {"benchmark": runs[0]["benchmark"]},
    }
    cells = cells_of(runs, boxes=config.boxes, labels="unseen", assumption=assumption)
    made = {"groups": group_columns, "classes": class_columns}
    texts |= {column: made[column](cells, splits) for column in config.columns if column in made}
    return {name: text for column in config.columns for name, text in texts[column].items()}


def _interval(replicates: Replicates, splits: Sequence[str]) -> str:
    """95% interval of avg: a replicate weighs a clip alike in every split and seed."""
    per_split = [list(replicates.by_split.get(split, {}).values()) for split in splits]
    if not all(per_split):
        return MISSING
    return interval_text(np.mean([np.mean(seeds, axis=0) for seeds in per_split], axis=0)[None])


def _published(config: MainTable, assumption: Assumption, method: str) -> dict[str, str]:
    """Columns of the paper's values; none where the table has none."""
    if not config.published:
        return {}
    values = config.published.get(assumption, {}).get(method, {})
    keys = [(f"split {s}", config.boxes, s) for s in config.splits]
    keys += [(key, config.boxes, key) for key in PUBLISHED_MEANS]
    if config.starred:
        keys += [(f"{key}*", config.starred, key) for key in PUBLISHED_MEANS]
    return {f"published {name}": printed(values.get(boxes, {}).get(k)) for name, boxes, k in keys}
