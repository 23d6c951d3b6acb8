"""Tables of detectors: pure functions of the quality files that `stclip quality` wrote."""

import logging
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import pandas as pd

from stclip.config.table import MainTable, PublishedShare
from stclip.detect.quality import GROUND_TRUTH, Quality
from stclip.errors import ConfigError, DataError
from stclip.tables.cells import percent

logger = logging.getLogger(__name__)


def published_shares(table: MainTable, share: PublishedShare) -> dict[str, float]:
    """Detected over ground-truth boxes in the paper's own values: split, "avg" -> fraction.

    Raises:
        ConfigError: the values are not there.
    """
    keys = [*table.splits, "avg"]
    try:
        values = table.published[share.assumption][share.method]
        detected, truth = values[table.boxes], values[str(table.starred)]
        return {key: detected[key] / truth[key] for key in keys}
    except (KeyError, ZeroDivisionError) as error:
        raise ConfigError(
            f"table {share.table}: published values of {share.assumption}.{share.method} must have "
            f"{table.boxes} and {table.starred} for each of {keys} ({error!r})."
        ) from None


def build_detectors(
    measured: Sequence[tuple[Mapping[str, Any], Sequence[Quality]]],
    shares: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """A row per data set, detector and box filter.

    Args:
        measured: per data set, what `read_quality` gave.
        shares: data set -> `published_shares`; for those whose published values stand beside ours.

    Returns:
        Text cells, percent with two decimals, but for the boxes a frame.
    """
    scales = sorted({about["scale"] for about, _ in measured})
    if len(scales) != 1:
        raise DataError(f"quality files of the scales {scales} cannot share a table.")
    splits = list(dict.fromkeys(s for about, _ in measured for s in about["splits"]))
    cells = []
    for about, rows in measured:
        share = shares.get(about["dataset"], {})
        for row in rows:
            ceilings = [row.ceilings.get(s) for s in about["splits"]]
            known = [c for c in ceilings if c is not None]
            beside = {} if row.detector == GROUND_TRUTH else share  # its gap is none
            average = mean(known) if len(known) == len(ceilings) else None
            cells.append(
                {"data set": about["title"], "detector": row.detector, "boxes": row.boxes}
                | {"AP": percent(row.ap), "AP50": percent(row.ap50), "AR": percent(row.ar)}
                | {
                    "boxes a frame": f"{row.boxes_per_frame:.2f}",
                    "frames without": percent(row.frames_without_box),
                    "recall@0.5": percent(row.recall50),
                }
                | {f"ceiling split {s}": percent(row.ceilings.get(s)) for s in splits}
                | {"ceiling avg": percent(average)}
                | (
                    {f"published share {s}": percent(beside.get(s)) for s in (*splits, "avg")}
                    if shares
                    else {}
                )
                | {"scale": about["scale"], "benchmark": about["benchmark"]}
            )
    frame = pd.DataFrame(cells, dtype="str")
    logger.info("detectors: read %d data sets, made %d rows", len(measured), len(frame))
    return frame
