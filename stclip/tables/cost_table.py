"""Table 10: what the methods cost beside what they reach, a pure function of its parts."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stclip.costs.measure import Cost
from stclip.errors import ConfigError
from stclip.tables.main_table import ASSUMPTION_ORDER, DETECTED, MISSING, percent

logger = logging.getLogger(__name__)
PUBLISHED = {  # key of config/published/table10.yaml -> column
    "multiply_adds_g": "published G multiply-adds",
    "trained_m": "published trained M",
    "training_s": "published training s",
    "testing_s": "published testing s",
    "frames_per_s": "published frames/s",
}


def build_costs(
    costs: Sequence[Cost],
    runs: Sequence[Mapping[str, Any]],
    *,
    splits: Sequence[str],
    scale: str,
    where: str,
    published: Mapping[str, Mapping[str, float]] | None,
) -> pd.DataFrame:
    """A row per method, by the methods' order.

    Args:
        costs: of `stclip.costs.measure.measure`.
        runs: contents of metrics.json files.
        splits: whose mAP is averaged.
        scale: its name.
        where: the machine that measured.
        published: method -> a key of `PUBLISHED` -> the paper's value; None leaves them out.

    Returns:
        Text cells. Trained parameters in millions; multiply-adds in G of a video of 40 frames with
        one person, and of the label texts, which are computed once per label list; seconds of the
        training (median step x steps), milliseconds of a step, seconds to score a video and the
        frames of it a second, from its pictures; unseen mAP on detected boxes without and with the
        single-action assumption, averaged over splits; published values.

    Raises:
        ConfigError: `published` has unknown keys.
    """
    unknown = {k for values in (published or {}).values() for k in values} - set(PUBLISHED)
    if unknown:
        raise ConfigError(
            f"published costs: unknown keys {sorted(unknown)}; allowed are {sorted(PUBLISHED)}."
        )
    cells = []
    for cost in sorted(costs, key=lambda c: (c.order, c.title)):
        step = cost.step_s
        cells.append(
            {
                "method": cost.title,
                "trained M": f"{cost.trained / 1e6:.2f}",
                "G multiply-adds": f"{cost.video_macs / 1e9:.2f}",
                "G of texts": f"{cost.text_macs / 1e9:.2f}",
                "training s": MISSING if step is None else f"{step * cost.iterations:.0f}",
                "ms a step": MISSING if step is None else f"{1000 * step:.0f}",
                "s a video": f"{cost.score_s:.3f}",
                "frames/s": f"{cost.frames_per_s:.0f}",
            }
            | {
                f"mAP {assumption}": percent(average_map(runs, cost.method, assumption, splits))
                for assumption in ASSUMPTION_ORDER
            }
            | {"scale": scale, "on": where}
            | {
                column: f"{value:g}" if value is not None else MISSING
                for key, column in (PUBLISHED.items() if published is not None else ())
                for value in [(published or {}).get(cost.method, {}).get(key)]
            }
        )
    logger.info("table 10: %d methods from %d runs", len(cells), len(runs))
    return pd.DataFrame(cells, dtype="str")


def numbers_of_cost(
    cost: Cost, runs: Sequence[Mapping[str, Any]], *, splits: Sequence[str]
) -> dict[str, float | None]:
    """What stands in a row, as numbers for dashboards; None where there is none."""
    return {
        "trained": cost.trained,
        "video_macs": cost.video_macs,
        "text_macs": cost.text_macs,
        "step_s": cost.step_s,
        "training_s": None if cost.step_s is None else cost.step_s * cost.iterations,
        "score_s": cost.score_s,
        "frames_per_s": cost.frames_per_s,
    } | {
        f"{assumption} mAP": average_map(runs, cost.method, assumption, splits)
        for assumption in ASSUMPTION_ORDER
    }


def average_map(
    runs: Sequence[Mapping[str, Any]], method: str, assumption: str, splits: Sequence[str]
) -> float | None:
    """Unseen mAP on detected boxes: mean over splits of the means over seeds; None if one lacks."""
    found: dict[str, list[float]] = {split: [] for split in splits}
    for run in runs:
        if run["method"] == method and run["split"] in found:
            cell = run["metrics"].get(DETECTED, {}).get("unseen", {}).get(assumption)
            found[run["split"]] += [] if cell is None else [cell["mAP"]]
    if not all(found.values()):
        return None
    return float(np.mean([np.mean(values) for values in found.values()]))
