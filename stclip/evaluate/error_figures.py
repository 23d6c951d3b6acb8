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
    from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart with every kind of colour vision
COLOURS = ["#009e73", "#d55e00", "#e69f00", "#cc79a7", "#56b4e9", "#999999", "#0072b2", "#000000"]
KIND_COLOURS = dict(zip((*KINDS, MISSED), COLOURS, strict=False))
ERROR_KINDS = [*KINDS[1:], MISSED]
_LINES = ["-", "--", ":"]
_IN_LEGEND = 24  # of more curves none can be told apart


def draw_report(parts: Mapping[str, ReportPart], path: Path) -> None:
    """Per cell: precision-recall curves, what the best-ranked rows are, what errors cost.

    Args:
        parts: by cell name; of a run's cells those with unseen labels are drawn.
        path: a png.
    """
    shown = {cell: part for cell, part in parts.items() if "/base/" not in cell}
    most = max(len(part.classes) for part in shown.values())
    figure = _figure(len(shown), 3, width=15.0, row_height=max(3.6, 0.19 * most))
    for row, (cell, part) in enumerate(shown.items()):
        curves, composition, costs = (figure.axes[3 * row + column] for column in range(3))
        _draw_curves(curves, part, cell)
        _draw_composition(composition, part)
        total = part.errors[part.errors["label"] == ""].set_index("kind")["gain"]
        costs.bar(ERROR_KINDS, 100 * total[ERROR_KINDS], color=_colours(ERROR_KINDS))
        costs.set_ylabel("mAP given back if mended")
        costs.set_title("cost of each kind of error")
        costs.tick_params(axis="x", rotation=25)
    _legend(figure)
    _save(figure, path)


def draw_comparison(rows: Mapping[str, pd.DataFrame], path: Path, *, title: str) -> None:
    """Rows of a table side by side: what their best-ranked rows are and what errors cost.

    Args:
        rows: name of a table row -> kind, top (a share) and gain (mAP), averaged over its runs.
        path: a png.
        title: what is compared.
    """
    figure = _figure(1, 2, width=13.0, row_height=1.6 + 0.55 * len(rows))
    composition, costs = figure.axes
    names = list(rows)
    shares = {name: table.set_index("kind")["top"] for name, table in rows.items()}
    _stacked(composition, names, [[shares[name][kind] for name in names] for kind in KINDS])
    composition.set_title("the best-ranked rows, as many as ground-truth boxes")
    figure.suptitle(title)
    height = 0.8 / len(ERROR_KINDS)
    for number, kind in enumerate(ERROR_KINDS):
        gains = [100 * table.set_index("kind")["gain"][kind] for table in rows.values()]
        at = np.arange(len(names)) + (number - (len(ERROR_KINDS) - 1) / 2) * height
        costs.barh(at, gains, height, color=KIND_COLOURS[kind])
    costs.set_yticks(range(len(names)), names)
    costs.invert_yaxis()
    costs.set_xlabel("mAP given back if mended")
    costs.set_title("cost of each kind of error")
    _legend(figure)
    _save(figure, path)


def _draw_curves(axes: "Axes", part: ReportPart, cell: str) -> None:
    for number, (label, curve) in enumerate(part.curves.groupby("label", sort=False)):
        ap = part.classes.set_index("label")["AP"][label]
        if np.isfinite(ap):
            (line,) = axes.plot(curve["recall"], curve["precision"])
            line.set(color=COLOURS[number % 8], linestyle=_LINES[number // 8 % 3])
            line.set_label(f"{label} {100 * ap:.1f}")
    mean = part.classes["AP"].mean()
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"{cell}: mAP {100 * mean:.2f}" if cell else f"mAP {100 * mean:.2f}")
    if len(part.classes) <= _IN_LEGEND:
        axes.legend(fontsize="x-small", loc="best", ncols=1 + len(part.classes) // 8)


def _draw_composition(axes: "Axes", part: ReportPart) -> None:
    own = part.errors[part.errors["label"] != ""]
    counts = own.pivot_table(index="label", columns="kind", values="top", sort=False)[list(KINDS)]
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    _stacked(axes, [str(label) for label in shares.index], shares.to_numpy().T.tolist())
    axes.set_title("the best-ranked rows, as many as ground-truth boxes")


def _stacked(axes: "Axes", names: Sequence[str], shares: Sequence[Sequence[float]]) -> None:
    """Horizontal bars that are divided by kind."""
    left = np.zeros(len(names))
    for kind, share in zip(KINDS, shares, strict=True):
        axes.barh(names, share, left=left, color=KIND_COLOURS[kind])
        left += np.asarray(share)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share")


def _legend(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=kind) for kind, colour in KIND_COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _colours(kinds: Sequence[str]) -> list[str]:
    return [KIND_COLOURS[kind] for kind in kinds]


def _figure(rows: int, columns: int, *, width: float, row_height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, row_height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.subplots(rows, columns, squeeze=False)
    return figure


def _save(figure: "Figure", path: Path) -> None:
    metadata: dict[str, Any] = {"Software": None}  # same numbers, same bytes
    figure.savefig(path, dpi=110, format="png", metadata=metadata)
