"""Tables of costs: what the methods cost beside what they reach, a pure function of its parts."""

import logging
from collections.abc import Sequence

import pandas as pd

from stclip.config.table import CostsTable, PublishedCost
from stclip.costs.measured import Cost
from stclip.errors import DataError
from stclip.tables.aggregate import ASSUMPTION_ORDER, RunContent, map_values
from stclip.tables.cells import MISSING, percent

logger = logging.getLogger(__name__)
PUBLISHED: dict[PublishedCost, str] = {  # key of `published` -> column
    "multiply_adds_g": "published G multiply-adds",
    "trained_m": "published trained M",
    "training_s": "published training s",
    "testing_s": "published testing s",
    "frames_per_s": "published frames/s",
}


def build_costs(
    costs: Sequence[Cost],
    runs: Sequence[RunContent],
    *,
    config: CostsTable,
    where: str,
    published: bool,
) -> pd.DataFrame:
    """A row per method, by the methods' order.

    Args:
        costs: of `stclip.costs.measure`.
        runs: contents of metrics.json files.
        config: of `load_table`; the mAP of its splits is averaged.
        where: the machine that measured.
        published: whether the paper's values get columns.

    Returns:
        Text cells. Trained parameters in millions; multiply-adds in G of a video of 40 frames with
        one person, and of the label texts, which are computed once per label list; seconds of the
        training (median step x steps), milliseconds of a step, seconds to score a video and the
        frames of it a second, from its pictures; unseen mAP on detected boxes without and with the
        single-action assumption, averaged over splits; published values.

    Raises:
        DataError: no runs.
    """
    if costs and not runs:
        raise DataError("no runs for the table; run the evaluate stage first.")
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
                f"mAP {assumption}": percent(
                    _average(runs, cost.method, config.boxes, assumption, config.splits)
                )
                for assumption in config.assumptions
            }
            | {"scale": runs[0]["scale"], "benchmark": runs[0]["benchmark"], "on": where}
            | {
                column: f"{value:g}" if value is not None else MISSING
                for key, column in (PUBLISHED.items() if published else ())
                for value in [config.published.get(cost.method, {}).get(key)]
            }
        )
    logger.info("%s: %d methods from %d runs", config.title, len(cells), len(runs))
    return pd.DataFrame(cells, dtype="str")


def numbers_of_cost(
    cost: Cost, runs: Sequence[RunContent], *, boxes: str, splits: Sequence[str]
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
        f"{assumption} mAP": _average(runs, cost.method, boxes, assumption, splits)
        for assumption in ASSUMPTION_ORDER
    }


def _average(
    runs: Sequence[RunContent], method: str, boxes: str, assumption: str, splits: Sequence[str]
) -> float | None:
    """Unseen mAP of a method, averaged over splits and seeds."""
    own = [run for run in runs if run["method"] == method and run["split"] in splits]
    return map_values(own, boxes=boxes, labels="unseen", assumption=assumption).average(splits)
