"""Tables of results: pure functions of metrics.json files and bootstrap replicates.

Numbers are percent with two decimals. A cell whose runs are not all there prints "-"; published
values have columns of their own and never fill it.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from stclip.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

MISSING = "-"
ASSUMPTION_ORDER = ["independent", "voted"]  # blocks of the table
DETECTED, GROUND_TRUTH = "detected", "gt"  # box sources; the second makes the starred columns
INTERVAL = "avg 95% interval"
PROVENANCE = [  # what metrics.json must say for a table
    *("method", "title", "order", "assumptions", "scale", "dataset"),
    *("split", "split_sha256", "seed", "metrics"),
]


@dataclass
class _Row:
    """The runs of one method under one assumption, fractions by split and seed."""

    assumption: str
    method: str
    title: str
    order: int
    maps: dict[tuple[str, str], dict[str, dict[int, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )  # (boxes, labels) -> split -> seed -> mAP
    replicates: dict[str, dict[int, np.ndarray]] = field(
        default_factory=lambda: defaultdict(dict)
    )  # split -> seed -> (R,), detected boxes, unseen labels

    def split_map(self, boxes: str, labels: str, split: str) -> float | None:
        """Mean over seeds."""
        seeds = self.maps[boxes, labels][split]
        return mean(seeds.values()) if seeds else None

    def average(self, boxes: str, labels: str, splits: Sequence[str]) -> float | None:
        """Mean over splits of the means over seeds; None unless every split is there."""
        values = [self.split_map(boxes, labels, split) for split in splits]
        present = [value for value in values if value is not None]
        return mean(present) if len(present) == len(splits) else None

    def harmonic(self, boxes: str, splits: Sequence[str]) -> float | None:
        """Harmonic mean of the averages of unseen and base classes."""
        unseen = self.average(boxes, "unseen", splits)
        base = self.average(boxes, "base", splits)
        return None if unseen is None or base is None else harmonic_mean(unseen, base)

    def interval(self, splits: Sequence[str]) -> str:
        """95% interval of avg: a replicate weighs a clip alike in every split and seed."""
        if not all(self.replicates[split] for split in splits):
            return MISSING
        per_split = [np.mean(list(self.replicates[s].values()), axis=0) for s in splits]
        low, high = 100 * np.nanpercentile(np.mean(per_split, axis=0), [2.5, 97.5])
        return f"[{low:.2f}, {high:.2f}]"

    def seeds(self, splits: Sequence[str]) -> str:
        """Number of seeds behind a cell; a range if the splits differ."""
        numbers = [len(self.maps[DETECTED, "unseen"][split]) for split in splits]
        return (
            str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)}-{max(numbers)}"
        )


def shown_boxes(sources: Iterable[str]) -> str:
    """The box source that figures show: the detected boxes, or the first where none were scored."""
    names = list(sources)
    return DETECTED if DETECTED in names else names[0]


def harmonic_mean(unseen: float, base: float) -> float:
    """H = 2 u b / (u + b), 0 if both are 0."""
    return 2 * unseen * base / (unseen + base) if unseen + base else 0.0


def build_table2(
    runs: list[dict[str, Any]],
    replicates: list[pd.DataFrame],
    *,
    splits: list[str],
    published: dict[str, Any] | None,
) -> pd.DataFrame:
    """Frame mAP@0.5 per method and label split (Huang et al. 2025, Table 2).

    Args:
        runs: contents of metrics.json files, one per method, split and seed.
        replicates: bootstrap replicates of each run, in the same order.
        splits: the label splits of the table.
        published: assumption -> method -> "detected" or "gt" -> split, "avg" or "H" -> percent;
            None leaves the published columns out.

    Returns:
        Text cells. A row per assumption ("independent" first) and method of that assumption, by the
        methods' order and title. Unseen classes on detected boxes per split, their avg and its 95%
        interval, H with the base classes, the same on ground-truth boxes (avg*, H*), number of
        seeds, scale, published values.

    Raises:
        DataError: runs that cannot stand in one table (several scales, data sets or versions of a
            split, a split not asked for, one run twice, replicates of several lengths), or a run
            without its provenance.
        ConfigError: `published` is not built like that.
    """
    check_runs(runs, replicates, splits)
    rows = _collect(runs, replicates)
    columns = _published_columns(splits, published) if published is not None else {}
    cells = []
    for row in rows:
        printed = (published or {}).get(row.assumption, {}).get(row.method, {})
        cells.append(
            {"method": row.title, "assumption": row.assumption}
            | {f"split {s}": percent(row.split_map(DETECTED, "unseen", s)) for s in splits}
            | {
                "avg": percent(row.average(DETECTED, "unseen", splits)),
                INTERVAL: row.interval(splits),
                "H": percent(row.harmonic(DETECTED, splits)),
                "avg*": percent(row.average(GROUND_TRUTH, "unseen", splits)),
                "H*": percent(row.harmonic(GROUND_TRUTH, splits)),
                "seeds": row.seeds(splits),
                "scale": runs[0]["scale"],
            }
            | {
                column: percent(value / 100 if value is not None else None)
                for column, (boxes, key) in columns.items()
                for value in [printed.get(boxes, {}).get(key)]
            }
        )
    frame = pd.DataFrame(cells, dtype="str")
    logger.info(
        "table 2: read %d runs, made %d rows, dropped none; %d cells have no run yet.",
        len(runs),
        len(frame),
        int((frame.drop(columns=list(columns)) == MISSING).sum().sum()),
    )
    return frame


def check_runs(
    runs: list[dict[str, Any]], replicates: list[pd.DataFrame], splits: list[str]
) -> None:
    """DataError if these runs cannot stand in one table of these splits."""
    assert len(runs) == len(replicates), "one replicates table per run"
    if not runs:
        raise DataError("no runs for the table; run the evaluate stage first.")
    for run in runs:
        missing = [key for key in PROVENANCE if key not in run]
        if missing:
            raise DataError(
                f"method {run.get('method')}, split {run.get('split')}, seed {run.get('seed')}: "
                f"metrics.json lacks {missing}; run the evaluate stage again."
            )
    lengths = sorted({len(samples) for samples in replicates})
    if len(lengths) > 1:
        raise DataError(
            f"runs have {lengths} bootstrap replicates; evaluate all of them with the same number."
        )
    for key in ("scale", "dataset"):
        found = sorted({run[key] for run in runs})
        if len(found) > 1:
            raise DataError(
                f"runs of several {key}s ({', '.join(found)}) cannot share a table; "
                "give those of one."
            )
    seen: set[tuple[str, str, int]] = set()
    versions: dict[str, str] = {}
    for run in runs:
        key_of_run = (run["method"], run["split"], run["seed"])
        name = "method {}, split {}, seed {}".format(*key_of_run)
        if run["split"] not in splits:
            raise DataError(f"{name}: the table has splits {splits}, not {run['split']!r}.")
        unknown = [a for a in run["assumptions"] if a not in ASSUMPTION_ORDER]
        if unknown or not run["assumptions"]:
            raise DataError(
                f"{name}: unknown assumptions {unknown}, or none; known are {ASSUMPTION_ORDER}."
            )
        if key_of_run in seen:
            raise DataError(f"{name}: given twice.")
        seen.add(key_of_run)
        if versions.setdefault(run["split"], run["split_sha256"]) != run["split_sha256"]:
            raise DataError(
                f"{name}: made with another version of split {run['split']} than the runs before "
                "it; run the older ones again."
            )


def _collect(runs: list[dict[str, Any]], replicates: list[pd.DataFrame]) -> list[_Row]:
    """One row per assumption and method, in the table's order."""
    rows: dict[tuple[str, str], _Row] = {}
    for run, samples in zip(runs, replicates, strict=True):
        method, split, seed = run["method"], run["split"], run["seed"]
        for assumption in run["assumptions"]:
            row = rows.setdefault(
                (assumption, method), _Row(assumption, method, run["title"], run["order"])
            )
            for boxes, groups in run["metrics"].items():
                for labels, cells in groups.items():
                    row.maps[boxes, labels][split][seed] = cells[assumption]["mAP"]
            column = f"{DETECTED}/unseen/{assumption}"
            if column in samples:
                row.replicates[split][seed] = samples[column].to_numpy(np.float64)
    return sorted(
        rows.values(), key=lambda r: (ASSUMPTION_ORDER.index(r.assumption), r.order, r.title)
    )


def _published_columns(
    splits: Sequence[str], published: Mapping[str, Any]
) -> dict[str, tuple[str, str]]:
    """Column name -> (boxes, key) in `published`, whose shape is checked on the way."""
    unknown = [a for a in published if a not in ASSUMPTION_ORDER]
    for assumption, methods in published.items():
        for method, boxes in methods.items():
            for source, values in boxes.items():
                bad = [k for k, v in values.items() if not isinstance(v, int | float)]
                if source not in (DETECTED, GROUND_TRUTH) or bad:
                    unknown.append(f"{assumption}.{method}.{source} {bad or ''}".strip())
    if unknown:
        raise ConfigError(
            f"published values: {unknown} not understood; expected assumption ({ASSUMPTION_ORDER}) "
            f"-> method -> {DETECTED} or {GROUND_TRUTH} -> column -> percent."
        )
    columns = {f"published split {s}": (DETECTED, s) for s in splits}
    for key in ("avg", "H"):
        columns[f"published {key}"] = (DETECTED, key)
    for key in ("avg", "H"):
        columns[f"published {key}*"] = (GROUND_TRUTH, key)
    return columns


def percent(fraction: float | None) -> str:
    """A table's cell: percent with two decimals, or the sign of what is missing."""
    return MISSING if fraction is None else f"{100 * fraction:.2f}"
