"""The table of detectors: a pure function of the quality files that `stclip quality` wrote."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

from stclip.detect.quality import GROUND_TRUTH, Quality
from stclip.errors import ConfigError, DataError
from stclip.storage.files import read_json, write_json
from stclip.storage.seal import SEAL
from stclip.tables.main_table import percent

logger = logging.getLogger(__name__)
YARDSTICK = ("independent", "st_clip")  # whose published values show the gap that boxes open


def write_quality(path: Path, rows: Sequence[Quality], about: Mapping[str, Any]) -> None:
    """Write what `stclip.detect.quality` measured; `about`: scale, dataset, title, splits."""
    write_json(path, {**about, "rows": [asdict(row) for row in rows], **SEAL})


def read_quality(path: Path) -> tuple[dict[str, Any], list[Quality]]:
    """Read what `write_quality` wrote.

    Raises:
        DataError: missing, damaged or of another version.
    """
    content = read_json(path)
    try:
        rows = [Quality(**row) for row in content.pop("rows")]
        missing = {"scale", "dataset", "title", "splits"} - content.keys()
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a quality file ({error}); measure again.") from None
    if missing:
        raise DataError(f"{path}: lacks {sorted(missing)}; measure again.")
    return content, rows


def published_shares(published: Mapping[str, Any], splits: Sequence[str]) -> dict[str, float]:
    """Detected over ground-truth boxes in the paper's own values: split, "avg" -> fraction.

    Args:
        published: assumption -> method -> boxes ("detected", "gt") -> split or "avg" -> percent.
        splits: the label splits.

    Raises:
        ConfigError: the values are not there.
    """
    assumption, method = YARDSTICK
    try:
        values = published[assumption][method]
        return {s: values["detected"][s] / values["gt"][s] for s in (*splits, "avg")}
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(
            f"published values: {assumption}.{method} must have `detected` and `gt` for each of "
            f"{[*splits, 'avg']} ({error!r})."
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
                | {"scale": about["scale"]}
            )
    frame = pd.DataFrame(cells, dtype="str")
    logger.info("detectors: read %d data sets, made %d rows", len(measured), len(frame))
    return frame
