"""Tables of parts: what the parts of a method cost, as released and as it runs."""

import logging
from collections.abc import Sequence

import pandas as pd

from stclip.config.drawn_tables import PartsTable
from stclip.costs.measured import PartCost
from stclip.errors import DataError
from stclip.tables.cells import MISSING

logger = logging.getLogger(__name__)


def build_parts(
    costs: Sequence[PartCost], *, config: PartsTable, scale: str, published: bool
) -> pd.DataFrame:
    """A row per part in the table's order, and one of all together.

    Args:
        costs: of `stclip.costs.parts`.
        config: of `load_table`.
        scale: its name.
        published: whether the paper's values get columns.

    Returns:
        Text cells. Multiply-adds of a key frame in G and trained parameters in millions, of the
        released structure and of what runs here; persons, labels, scale; published values.

    Raises:
        DataError: the costs are of other parts.
    """
    parts = [row.part for row in config.rows]
    if [cost.part for cost in costs] != parts:
        raise DataError(
            f"costs of the parts {[cost.part for cost in costs]}, the table has {parts}; count "
            "them again."
        )
    total = PartCost(
        part="all",
        released_macs=sum(cost.released_macs for cost in costs),
        released_trained=sum(cost.released_trained for cost in costs),
        macs=sum(cost.macs for cost in costs),
        trained=sum(cost.trained for cost in costs),
    )
    values = [row.published for row in config.rows]
    cells = [
        {
            "part": cost.part,
            "released G multiply-adds": f"{cost.released_macs / 1e9:.2f}",
            "G multiply-adds": f"{cost.macs / 1e9:.2f}",
            "released trained M": f"{cost.released_trained / 1e6:.2f}",
            "trained M": f"{cost.trained / 1e6:.2f}",
            "persons": str(config.persons),
            "labels": str(config.labels),
            "scale": scale,
        }
        | (
            {
                "published G multiply-adds": _printed(paper.get("multiply_adds_g")),
                "published trained M": _printed(paper.get("trained_m")),
            }
            if published
            else {}
        )
        for cost, paper in zip([*costs, total], [*values, {}], strict=True)
    ]
    logger.info("%s: %d parts", config.title, len(costs))
    return pd.DataFrame(cells, dtype="str")


def _printed(value: float | None) -> str:
    return MISSING if value is None else f"{value:g}"
