"""What the rows of a table get wrong, side by side: a csv and a figure beside the table."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stclip.errors import DataError
from stclip.evaluate.breakdown import ERRORS
from stclip.storage.files import whole_file

logger = logging.getLogger(__name__)
COLUMNS = ["cell", "label", "kind", "rows", "top", "gain"]


def read_errors(run: Path) -> pd.DataFrame:
    """The errors of a run.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = run / ERRORS
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values={"gain": [""]})
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the evaluate stage.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}; run the evaluate stage again.") from None
    if list(table) != COLUMNS:
        raise DataError(f"{path}: columns {list(table)}, not {COLUMNS}; run evaluate again.")
    return table


def compare_errors(
    runs: Sequence[Mapping[str, Any]], errors: Sequence[pd.DataFrame], *, boxes: str
) -> dict[str, pd.DataFrame]:
    """Average over splits and seeds, for every method and assumption of the table.

    Args:
        runs: contents of metrics.json files.
        errors: of `read_errors`, in the same order.
        boxes: the box source.

    Returns:
        "title (assumption)" -> kind, top (share of the best-ranked rows), gain (mAP, a fraction),
        by assumption, then by the methods' order. Unseen labels.
    """
    collected: dict[tuple[str, int, str], list[pd.DataFrame]] = {}
    for run, table in zip(runs, errors, strict=True):
        for assumption in run["assumptions"]:
            cell = table["cell"] == f"{boxes}/unseen/{assumption}"
            total = table[cell & (table["label"] == "")]
            share = total["top"] / max(1, total["top"].sum())
            key = (assumption, run["order"], run["title"])
            collected.setdefault(key, []).append(total[["kind", "gain"]].assign(top=share))
    return {
        f"{title} ({assumption})": pd.concat(parts)
        .groupby("kind", sort=False)[["top", "gain"]]
        .mean()
        .reset_index()
        for (assumption, _, title), parts in sorted(collected.items(), key=lambda item: item[0])
        if any(len(part) for part in parts)
    }


def write_comparison(
    runs: Sequence[Mapping[str, Any]],
    errors: Sequence[pd.DataFrame],
    out: Path,
    *,
    boxes: str,
    title: str,
) -> None:
    """Write `out` (a csv) and a figure of it beside it (.png).

    Args:
        runs: contents of metrics.json files.
        errors: of `read_errors`, in the same order.
        out: the csv.
        boxes: the box source.
        title: of the figure.
    """
    from stclip.evaluate.error_figures import draw_comparison

    rows = compare_errors(runs, errors, boxes=boxes)
    logger.info("errors: read %d runs, made %d rows, dropped none", len(runs), len(rows))
    joined = pd.concat([part.assign(row=name) for name, part in rows.items()])
    with whole_file(out) as temporary:
        joined[["row", "kind", "top", "gain"]].to_csv(
            temporary, index=False, float_format="%.6g", lineterminator="\n"
        )
    with whole_file(out.with_suffix(".png")) as temporary:
        draw_comparison(rows, temporary, title=title)
