"""Tables of the page: those of the tables stage, and AP by class."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from stclip.errors import DataError
from stclip.evaluate.error_figures import ERROR_KINDS
from stclip.report.run_rows import DatasetRuns, Row
from stclip.tables.aggregate import ASSUMPTION_ORDER
from stclip.tables.cells import MISSING
from stclip.tables.table_files import read_table

# Columns in which more is better; those of costs and spreads stay as they are.
MORE_IS_BETTER = re.compile(r"(split .+|avg|H|mAP|AP|AR|recall|ceiling)\b.*")
ASSUMPTIONS = {
    "independent": "Every box on its own",
    "voted": "Single-action assumption: soft voting over a clip",
}


@dataclass(frozen=True)
class Cell:
    """What a cell says and how it looks."""

    text: str
    is_best: bool = False
    value: float | None = None  # 0..1, how strongly it is coloured


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    name: str
    is_text: bool = False


@dataclass(frozen=True)
class Block:
    """Rows below a heading, or below none; the first cell of a row is its name."""

    heading: str | None
    rows: list[list[Cell]]


@dataclass(frozen=True)
class PageTable:
    """A table of the page."""

    name: str
    title: str
    caption: str
    columns: list[Column]
    blocks: list[Block]
    spans: Sequence[tuple[str, int]] = ()  # headings above the columns' own, and their widths


def read_page_table(csv: Path) -> PageTable:
    """A table of the tables stage; its caption is what stands above it in the .md beside it.

    Raises:
        DataError: a file is missing or damaged.
    """
    frame = read_table(csv).drop(columns="scale", errors="ignore")  # the page has one
    document = csv.with_suffix(".md")
    try:
        above, blank_line, _ = document.read_text("utf-8").partition("\n\n")
    except FileNotFoundError:
        raise DataError(f"{document}: no such file; run the tables stage.") from None
    caption = above if blank_line else ""  # without one the table is all there is
    numbered = re.fullmatch(r"table(\d+)", csv.stem)
    title = f"Table {numbered[1]}" if numbered else csv.stem.replace("_", " ").capitalize()
    blocks = [Block(None, _cells(frame))]
    if "assumption" in frame:
        parts = {a: part.drop(columns="assumption") for a, part in frame.groupby("assumption")}
        blocks = [Block(ASSUMPTIONS[a], _cells(parts[a])) for a in ASSUMPTION_ORDER if a in parts]
        frame = frame.drop(columns="assumption")
    columns = [Column(str(c), is_text=not frame[c].map(_is_number).any()) for c in frame]
    return PageTable(csv.stem, title, caption, columns, blocks)


def _is_number(text: str) -> bool:
    """Whether a cell is a number or an interval."""
    return bool(re.match(r"[-+]?\d|\[", text))


def _cells(frame: pd.DataFrame) -> list[list[Cell]]:
    columns = []
    for name in frame:
        values = pd.to_numeric(frame[name], errors="coerce")
        best = values.max() if MORE_IS_BETTER.fullmatch(str(name)) else np.nan  # equals nothing
        columns.append(
            [Cell(t, is_best=b) for t, b in zip(frame[name], values == best, strict=True)]
        )
    return [list(row) for row in zip(*columns, strict=True)]


def class_table(data: DatasetRuns, labels: str, name: str) -> PageTable:
    """AP of every class of a label group, the best known one first."""
    aps = [row.class_aps(data.boxes, labels) for row in data.rows]
    table = pd.concat(aps, axis=1, keys=range(len(aps)))
    table = table.loc[table.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    cells = [
        [Cell(str(label)), *(_coloured(value, most=1.0) for value in values)]
        for label, values in zip(table.index, table.to_numpy(), strict=True)
    ]
    groups = groupby(row.assumption for row in data.rows)
    return PageTable(
        name,
        f"{labels.capitalize()} classes",
        f"AP in percent of {labels} classes on {data.boxes} boxes, best known class first. A class "
        "counts in the splits and seeds in which it is of this group.",
        [Column("class"), *(Column(row.title) for row in data.rows)],
        [Block(None, cells)],
        [("", 1), *((assumption, len(list(group))) for assumption, group in groups)],
    )


def cost_of_errors(rows: Sequence[Row], errors: Sequence[pd.DataFrame], name: str) -> PageTable:
    """What mending a kind of error would give back; `errors`: those of each row, by kind."""
    most = max(float(table["gain"][ERROR_KINDS].max()) for table in errors)
    lines = [
        [Cell(row.title), *(_coloured(table["gain"][kind], most=most) for kind in ERROR_KINDS)]
        for row, table in zip(rows, errors, strict=True)
    ]
    groups = groupby(zip(rows, lines, strict=True), key=lambda pair: pair[0].assumption)
    return PageTable(
        name,
        "What errors cost",
        "mAP, in percentage points, that mending all errors of one kind would give back.",
        [Column("method"), *(Column(kind) for kind in ERROR_KINDS)],
        [Block(ASSUMPTIONS[name], [line for _, line in group]) for name, group in groups],
    )


def _coloured(fraction: float, *, most: float) -> Cell:
    """A percentage, coloured by its share of the greatest one."""
    if not np.isfinite(fraction):
        return Cell(MISSING)
    share = min(1.0, max(0.0, fraction / most)) if most else 0.0
    return Cell(f"{100 * fraction:.1f}", value=round(share, 3))
