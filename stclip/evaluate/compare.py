"""Is one run better than another? A paired bootstrap over the videos that both were tested on.

Replicate r draws the same videos for every run (`stclip.evaluate.bootstrap`), so that what makes a
test set easy or hard cancels in the difference.
"""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from stclip.config import pick
from stclip.errors import ConfigError, DataError

_SAME = ("scale", "benchmark", "split", "split_sha256")


def compare_runs(
    first: tuple[Mapping[str, Any], pd.DataFrame],
    second: tuple[Mapping[str, Any], pd.DataFrame],
    *,
    boxes: str = "detected",
    labels: str = "unseen",
    label_group: str | None = None,
    assumptions: tuple[str, str] = ("independent", "independent"),
) -> dict[str, Any]:
    """The difference of two runs' mAP, first minus second.

    Args:
        first: metrics.json and replicates of a run, as `read_run` gives them.
        second: the same of another.
        boxes: box source to compare on.
        labels: "unseen" or "base", or "all" where they are judged together.
        label_group: of the data set's `label_groups`, to compare on its labels among these.
        assumptions: of the first and of the second run.

    Returns:
        `mAP` of both, `difference`, its 95% `interval` (percentiles of the replicates'
        differences), two-sided `p_value` (how often a replicate's difference lies on the other side
        of 0, doubled; at least 1 / (replicates + 1)) and the number of `replicates`. Fractions.

    Raises:
        ConfigError: a cell that a run does not have.
        DataError: the runs differ in data set, split, labels, boxes or replicates.
    """
    (one, replicates), (other, others) = first, second
    for key in _SAME:
        if one.get(key) != other.get(key):
            raise DataError(
                f"these runs cannot be compared: {key} is {one.get(key)!r} in the first and "
                f"{other.get(key)!r} in the second; both must be of one test set."
            )
    cells = [
        _cell(run, boxes, labels, assumption)
        for run, assumption in zip((one, other), assumptions, strict=True)
    ]
    for key, what in (("AP", "labels"), ("boxes_sha256", "boxes")):
        found = [list(c[key]) if key == "AP" else c[key] for c in cells]
        if found[0] != found[1]:
            raise DataError(
                f"these runs cannot be compared: they scored different {what} ({found[0]} and "
                f"{found[1]}); score both with the same."
            )
    names = [f"{boxes}/{labels}/{assumption}" for assumption in assumptions]
    if label_group is not None:
        cells = [_of_group(c, label_group, n) for c, n in zip(cells, names, strict=True)]
        names = [f"{name}/{label_group}" for name in names]
    samples = [
        table[name].to_numpy(np.float64)
        for table, name in zip((replicates, others), names, strict=True)
    ]
    if len(samples[0]) != len(samples[1]):
        raise DataError(
            f"these runs cannot be compared: {len(samples[0])} and {len(samples[1])} replicates; "
            "evaluate both again."
        )
    differences = samples[0] - samples[1]
    differences = differences[np.isfinite(differences)]
    low, high = np.percentile(differences, [2.5, 97.5])
    sides = min((differences <= 0).sum(), (differences >= 0).sum())
    return {
        "mAP": [cell["mAP"] for cell in cells],
        "difference": cells[0]["mAP"] - cells[1]["mAP"],
        "interval": [float(low), float(high)],
        "p_value": float(min(1.0, 2 * (sides + 1) / (len(differences) + 1))),
        "replicates": len(differences),
    }


def _cell(run: Mapping[str, Any], boxes: str, labels: str, assumption: str) -> Mapping[str, Any]:
    name = f"{boxes}/{labels}/{assumption}"
    cell = run["metrics"].get(boxes, {}).get(labels, {}).get(assumption)
    if cell is None:
        known = [
            f"{b}/{g}/{a}"
            for b, groups in run["metrics"].items()
            for g, cells in groups.items()
            for a in cells
        ]
        raise ConfigError(
            f"run of {run.get('method')}: has no {name}; known are {', '.join(known)}."
        )
    return cell


def _of_group(cell: Mapping[str, Any], label_group: str, name: str) -> Mapping[str, Any]:
    mean = pick(cell.get("label_groups", {}), label_group, what=f"label group of {name}")
    if not mean["num_classes"]:
        raise DataError(
            f"{name}: no label of group {label_group} has ground truth here ({mean['num_labels']} "
            "are of it), so there is no mean to compare."
        )
    return cast("Mapping[str, Any]", mean)
