"""Figures of curves and errors, one per run and one comparing the rows of a table.

matplotlib is imported when something is drawn: a metric must not wait for it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stclip.evaluate.breakdown import ReportPart
from stclip.evaluate.error_kinds import KINDS, MISSED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart with every kind of colour vision
COLOURS = ["#009e73", "#d55e00", "#e69f00", "#cc79a7", "#56b4e9", "#999999", "#0072b2", "#000000"]
KIND_COLOURS = dict(zip((*KINDS, MISSED), COLOURS, strict=False))
ERROR_KINDS = [*KINDS[1:], MISSED]
_LINES = ["-", "--", ":"]
_COMPOSITION = "the best-ranked rows, as many as ground-truth boxes"
_COSTS = "cost of each kind of error"
_GAIN = "mAP given back if mended"
_NUMBERS = 0.65  # inches for numbers and the name of an axis
_IN_LEGEND = 24  # of more curves none can be told apart
_SHORT = 20  # letters of names that fit side by side


def draw_report(parts: Mapping[str, ReportPart], path: Path) -> None:
    """Per cell: precision-recall curves, what the best-ranked rows are, what errors cost.

    Args:
        parts: by cell name; of a run's cells those with unseen labels are drawn.
        path: a png.
    """
    shown = {cell: part for cell, part in parts.items() if "/base/" not in cell}
    labels = [label for part in shown.values() for label in part.classes["label"]]
    most = max(len(part.classes) for part in shown.values())
    margins = (_NUMBERS, _width(labels), _width(ERROR_KINDS))
    canvas, axes = _figure(len(shown), margins, width=15.0, row_height=max(3.4, 0.19 * most))
    for (curves, composition, costs), (cell, part) in zip(axes, shown.items(), strict=True):
        _draw_curves(curves, part, cell)
        _draw_composition(composition, part)
        total = part.errors[part.errors["label"] == ""].set_index("kind")["gain"]
        costs.barh(range(len(ERROR_KINDS)), 100 * total[ERROR_KINDS], color=_colours(ERROR_KINDS))
        costs.set_yticks(range(len(ERROR_KINDS)), ERROR_KINDS)
        costs.invert_yaxis()
    _, composition, costs = axes[0]  # what holds for all rows is written once
    composition.set_title(_COMPOSITION)
    costs.set_title(_COSTS)
    for curves, composition, _ in axes[:-1]:
        curves.tick_params(labelbottom=False)
        composition.tick_params(labelbottom=False)
    for column, name in zip(axes[-1], ("recall", "share", _GAIN), strict=True):
        column.set_xlabel(name)
    _legend(canvas.figure)
    _save(canvas, path)


def draw_comparison(rows: Mapping[str, pd.DataFrame], path: Path, *, title: str) -> None:
    """Rows of a table side by side: what their best-ranked rows are and what errors cost.

    Args:
        rows: name of a table row -> kind, top (a share) and gain (mAP), averaged over its runs.
        path: a png.
        title: what is compared.
    """
    names = list(rows)
    margins = (_width(names), _width(names))
    canvas, ((composition, costs),) = _figure(
        1, margins, width=13.0, row_height=1.6 + 0.55 * len(rows), title=title
    )
    shares = {name: table.set_index("kind")["top"] for name, table in rows.items()}
    _stacked(composition, names, [[shares[name][kind] for name in names] for kind in KINDS])
    composition.set_title(_COMPOSITION)
    composition.set_xlabel("share")
    height = 0.8 / len(ERROR_KINDS)
    for number, kind in enumerate(ERROR_KINDS):
        gains = [100 * table.set_index("kind")["gain"][kind] for table in rows.values()]
        at = np.arange(len(names)) + (number - (len(ERROR_KINDS) - 1) / 2) * height
        costs.barh(at, gains, height, color=KIND_COLOURS[kind])
    costs.set_yticks(range(len(names)), names)
    costs.invert_yaxis()
    costs.set_xlabel(_GAIN)
    costs.set_title(_COSTS)
    _legend(canvas.figure)
    _save(canvas, path)


def _draw_curves(axes: "Axes", part: ReportPart, cell: str) -> None:
    for number, (label, curve) in enumerate(part.curves.groupby("label", sort=False)):
        ap = part.classes.set_index("label")["AP"][label]
        if np.isfinite(ap):
            (line,) = axes.plot(curve["recall"], curve["precision"])
            line.set(color=COLOURS[number % 8], linestyle=_LINES[number // 8 % 3])
            line.set_label(f"{label} {100 * ap:.1f}")
    mean = part.classes["AP"].mean()
    axes.set(ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"{cell}: mAP {100 * mean:.2f}" if cell else f"mAP {100 * mean:.2f}")
    if len(part.classes) <= _IN_LEGEND:
        short = part.classes["label"].str.len().max() < _SHORT
        ncols = 1 + len(part.classes) // 8 if short else 1
        axes.legend(fontsize="x-small", loc="lower left", ncols=ncols)


def _draw_composition(axes: "Axes", part: ReportPart) -> None:
    own = part.errors[part.errors["label"] != ""]
    counts = own.pivot_table(index="label", columns="kind", values="top", sort=False)[list(KINDS)]
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    _stacked(axes, [str(label) for label in shares.index], shares.to_numpy().T.tolist())


def _stacked(axes: "Axes", names: Sequence[str], shares: Sequence[Sequence[float]]) -> None:
    """Horizontal bars that are divided by kind; `shares`: kinds x names.

    All pieces are one artist: drawing takes as long as there are artists.
    """
    from matplotlib.collections import PolyCollection

    right = np.cumsum(shares, axis=0)
    left, row = right - shares, np.broadcast_to(np.arange(len(names)), right.shape)
    corners = [(left, row - 0.4), (right, row - 0.4), (right, row + 0.4), (left, row + 0.4)]
    pieces = np.moveaxis(np.array(corners), (0, 1), (2, 3)).reshape(-1, 4, 2)
    colours = np.repeat(_colours(KINDS), len(names)).tolist()
    axes.add_collection(PolyCollection(list(pieces), facecolors=colours), autolim=False)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6))


def _legend(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=kind) for kind, colour in KIND_COLOURS.items()]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles))


def _colours(kinds: Sequence[str]) -> list[str]:
    return [KIND_COLOURS[kind] for kind in kinds]


def _width(names: Sequence[str]) -> float:
    """Inches that tick labels of ten points take, at most a fifth of a figure."""
    return 0.3 + min(0.085 * max(map(len, names)), 2.7)


def _figure(
    rows: int, margins: Sequence[float], *, width: float, row_height: float, title: str = ""
) -> tuple["FigureCanvasAgg", list[list["Axes"]]]:
    """A canvas with axes in rows, `margins` inches of text to the left of each.

    They are placed by hand: a layout engine draws everything once more to measure it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    top, between, bottom, right = 0.4 + 0.2 * bool(title), 0.6, 0.95, 0.15  # inches around axes
    height = bottom + row_height * rows - between + top
    figure = Figure(figsize=(width, height), dpi=110)
    if title:
        figure.suptitle(title)
    own_width = (width - sum(margins)) / len(margins) - right
    lefts = np.cumsum(margins) + (own_width + right) * np.arange(len(margins))
    bottoms = bottom + row_height * np.arange(rows)[::-1]
    own_height = row_height - between
    axes = [
        [
            figure.add_axes((x / width, y / height, own_width / width, own_height / height))
            for x in lefts
        ]
        for y in bottoms
    ]
    return FigureCanvasAgg(figure), axes


def _save(canvas: "FigureCanvasAgg", path: Path) -> None:
    metadata: dict[str, Any] = {"Software": None}  # same numbers, same bytes
    # `Figure.savefig` would draw everything twice
    canvas.print_png(path, metadata=metadata)  # type: ignore[no-untyped-call]
