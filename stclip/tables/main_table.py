"""Main tables: a row per method and assumption, label splits side by side.

Numbers are percent with two decimals. A cell whose runs are not all there prints "-"; published
values have columns of their own and never fill it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stclip.config.table import MainTable
from stclip.errors import ConfigError
from stclip.tables.aggregate import (
    RunContent,
    by_method,
    check_runs,
    harmonic_mean,
    map_values,
    replicates_of,
)
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
        the other box source, number of seeds, scale, benchmark; then published values.

    Raises:
        DataError: runs that cannot stand in one table (several scales, data sets or versions of a
            split, a split not asked for, one run twice, replicates of several lengths), or a run
            without its provenance.
        ConfigError: starred columns without a second box source.
    """
    check_runs(runs, replicates, config.splits)
    if config.starred is None and any(column.endswith("*") for column in config.columns):
        raise ConfigError(f"table {config.title!r}: starred columns need `starred`, a box source.")
    cells = []
    for assumption in config.assumptions:
        methods = [
            own
            for own in by_method(runs, replicates).values()
            if assumption in own[0][0]["assumptions"]
        ]
        for own_runs, own_tables in sorted(
            methods, key=lambda own: (own[0][0]["order"], own[0][0]["title"])
        ):
            row = _Row(config, assumption, own_runs, own_tables)
            cells.append(
                {"method": own_runs[0]["title"], "assumption": assumption}
                | {name: text for column in config.columns for name, text in row.cells(column)}
                | (_published(config, assumption, own_runs[0]["method"]) if published else {})
            )
    frame = pd.DataFrame(cells, dtype="str")
    ours = frame.loc[:, ~frame.columns.str.startswith("published")]
    logger.info(
        "%s: read %d runs, made %d rows, dropped none; %d cells have no run yet.",
        config.title, len(runs), len(frame), (ours == MISSING).to_numpy().sum(),
    )  # fmt: skip
    return frame


class _Row:
    """The cells of one method under one assumption."""

    def __init__(
        self,
        config: MainTable,
        assumption: str,
        runs: Sequence[RunContent],
        replicates: Sequence[pd.DataFrame],
    ) -> None:
        self.config, self.assumption, self.runs, self.replicates = (
            config, assumption, runs, replicates,
        )  # fmt: skip

    def cells(self, column: str) -> list[tuple[str, str]]:
        """Name and text of the columns that a word of `columns` stands for."""
        splits = self.config.splits
        if column == "splits":
            unseen = self._values("unseen")
            return [(f"split {s}", percent(unseen.of_split(s))) for s in splits]
        name = INTERVAL if column == "interval" else column
        return [(name, self._makers()[column]())]

    def _makers(self) -> dict[str, Callable[[], str]]:
        starred = self.config.starred
        return {
            "avg": lambda: percent(self._average("unseen")),
            "interval": self._interval,
            "base": lambda: percent(self._average("base")),
            "H": lambda: percent(harmonic_mean(self._average("unseen"), self._average("base"))),
            "avg*": lambda: percent(self._average("unseen", starred)),
            "H*": lambda: percent(
                harmonic_mean(self._average("unseen", starred), self._average("base", starred))
            ),
            "seeds": self._seeds,
            "scale": lambda: str(self.runs[0]["scale"]),
            "benchmark": lambda: str(self.runs[0]["benchmark"]),
        }

    def _values(self, labels: str, boxes: str | None = None) -> Any:
        source = boxes or self.config.boxes
        return map_values(self.runs, boxes=source, labels=labels, assumption=self.assumption)

    def _average(self, labels: str, boxes: str | None = None) -> float | None:
        return self._values(labels, boxes).average(self.config.splits)

    def _interval(self) -> str:
        """95% interval of avg: a replicate weighs a clip alike in every split and seed."""
        cell = f"{self.config.boxes}/unseen/{self.assumption}"
        found = replicates_of(self.runs, self.replicates, cell=cell)
        per_split = [found.by_split.get(split) for split in self.config.splits]
        if not all(per_split):
            return MISSING
        means = [np.mean(list(seeds.values()), axis=0) for seeds in per_split if seeds]
        return interval_text(np.mean(means, axis=0)[None])

    def _seeds(self) -> str:
        by_split = self._values("unseen").by_split
        return range_text([len(by_split.get(split, {})) for split in self.config.splits])


def _published(config: MainTable, assumption: str, method: str) -> dict[str, str]:
    """Columns of the paper's values; none where the table has none."""
    if not config.published:
        return {}
    of_method = config.published.get(assumption, {}).get(method, {})  # type: ignore[call-overload]
    columns = {f"published split {s}": (config.boxes, s) for s in config.splits}
    for source, star in ((config.boxes, ""), (config.starred, "*")):
        columns |= {f"published {key}{star}": (source, key) for key in ("avg", "H") if source}
    columns = dict(sorted(columns.items(), key=lambda item: item[0].endswith("*")))
    return {
        column: printed(of_method.get(boxes, {}).get(key))
        for column, (boxes, key) in columns.items()
    }
