"""The mean over splits and seeds: the one place for all tables and pages.

S seeds, R replicates.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from stclip.errors import DataError
from stclip.evaluate.voting import ASSUMPTIONS

ASSUMPTION_ORDER = list(ASSUMPTIONS)  # blocks of rows
PROVENANCE = [  # what metrics.json must say for a table
    *("method", "title", "order", "assumptions", "scale", "dataset", "family", "benchmark"),
    *("split", "split_sha256", "seed", "metrics"),
]
RunContent = Mapping[str, Any]  # of a metrics.json


Number = TypeVar("Number", float, np.ndarray)


@dataclass
class BySplit(Generic[Number]):
    """One number of several runs, or its replicates: split -> seed -> fraction, or (R,)."""

    by_split: dict[str, dict[int, Number]] = field(default_factory=lambda: defaultdict(dict))

    def seeds(self, splits: Sequence[str]) -> list[int]:
        """Those that every split has."""
        return sorted(set.intersection(*(set(self.by_split.get(s, {})) for s in splits)))

    def per_seed(self, splits: Sequence[str], seeds: Sequence[int]) -> Float[np.ndarray, " S *R"]:
        """Mean over splits for each of S seeds: a replicate weighs a clip alike in all of them."""
        return np.mean([[self.by_split[split][seed] for seed in seeds] for split in splits], axis=0)


class Values(BySplit[float]):
    """One number of several runs."""

    def of_split(self, split: str) -> float | None:
        """Mean over seeds."""
        seeds = self.by_split.get(split)
        return mean(seeds.values()) if seeds else None

    def average(self, splits: Sequence[str]) -> float | None:
        """Mean over splits of the means over seeds; None unless every split is there."""
        values = [self.of_split(split) for split in splits]
        present = [value for value in values if value is not None]
        return mean(present) if present and len(present) == len(splits) else None


def cells_of(
    runs: Iterable[RunContent], *, boxes: str, labels: str, assumption: str
) -> list[tuple[RunContent, Mapping[str, Any]]]:
    """Each run with its cell of metrics.json; runs that lack the cell are left out."""
    found = [
        (run, run["metrics"].get(boxes, {}).get(labels, {}).get(assumption, {})) for run in runs
    ]
    return [(run, cell) for run, cell in found if cell]


def map_values(runs: Iterable[RunContent], *, boxes: str, labels: str, assumption: str) -> Values:
    """The mAP of a cell of metrics.json; runs that lack the cell are left out."""
    found = Values()
    for run, cell in cells_of(runs, boxes=boxes, labels=labels, assumption=assumption):
        found.by_split[run["split"]][run["seed"]] = cell["mAP"]
    return found


def harmonic_mean(unseen: float | None, base: float | None) -> float | None:
    """H = 2 u b / (u + b), 0 if both are 0; None if one is missing."""
    if unseen is None or base is None:
        return None
    return 2 * unseen * base / (unseen + base) if unseen + base else 0.0


Replicates = BySplit[np.ndarray]  # bootstrap replicates of several runs


def replicates_of(
    runs: Sequence[RunContent], tables: Sequence[pd.DataFrame], *, cell: str
) -> Replicates:
    """The replicates of a cell, "boxes/labels/assumption"; runs that lack it are left out."""
    found = Replicates()
    for run, table in zip(runs, tables, strict=True):
        if cell in table:
            found.by_split[run["split"]][run["seed"]] = table[cell].to_numpy(np.float64)
    return found


def by_method(
    runs: Sequence[RunContent], tables: Sequence[pd.DataFrame]
) -> dict[str, tuple[list[RunContent], list[pd.DataFrame]]]:
    """Runs and their replicates, method by method."""
    found: dict[str, tuple[list[RunContent], list[pd.DataFrame]]] = {}
    for run, table in zip(runs, tables, strict=True):
        own = found.setdefault(run["method"], ([], []))
        own[0].append(run)
        own[1].append(table)
    return found


def check_runs(
    runs: Sequence[RunContent], replicates: Sequence[pd.DataFrame], splits: Sequence[str]
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
    for key in ("scale", "dataset", "benchmark"):
        found = sorted({run[key] for run in runs})
        if len(found) > 1:
            raise DataError(
                f"runs of several {key}s ({', '.join(found)}) cannot share a table; "
                "give those of one."
            )
    _check_each(runs, splits)


def _check_each(runs: Sequence[RunContent], splits: Sequence[str]) -> None:
    seen: set[tuple[str, str, int]] = set()
    versions: dict[str, str] = {}
    for run in runs:
        key_of_run = (run["method"], run["split"], run["seed"])
        name = "method {}, split {}, seed {}".format(*key_of_run)
        if run["split"] not in splits:
            raise DataError(f"{name}: the table has splits {list(splits)}, not {run['split']!r}.")
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
