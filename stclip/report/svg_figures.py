"""The page's figures as SVG that takes its colours from the page, so that it suits light and dark.

Text stays text. Colours are names of the page's CSS: they are drawn as stand-ins, which are then
replaced. Same numbers, same bytes.
"""

import io
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stclip.evaluate.error_figures import KIND_COLOURS
from stclip.evaluate.error_kinds import KINDS
from stclip.report.run_rows import DatasetRuns, Row, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, LINE, BLUE, ORANGE = "#010101", "#020202", "#030303", "#040404"
SPLIT_COLOURS = ["#050505", "#060606", "#070707", "#080808"]
_LINES = ["-", "--", ":"]  # of more splits than there are colours
STANDS_FOR = {INK: "--ink", LINE: "--line", BLUE: "--blue", ORANGE: "--orange"} | {
    colour: f"--split-{number}" for number, colour in enumerate(SPLIT_COLOURS)
}
WIDTH = 15.0  # inches; 1080 points, about the page's pixels
_ROW = 0.34  # inches
_PANELS = 4  # side by side
_RAW_POINTS = 150  # of a loss curve: more are not seen
_UNSEEN: dict[str, Any] = {"marker": "o", "color": BLUE, "ms": 7, "ls": ""}
_BASE: dict[str, Any] = _UNSEEN | {"marker": "D", "color": ORANGE, "ms": 6, "mfc": "none"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is a $
    "font.size": 13,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.titlesize": 14,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "grid.color": LINE,
    "legend.frameon": False,
    "path.simplify_threshold": 0.3,
}


def split_figure(data: DatasetRuns, name: str) -> str:
    """Unseen mAP of every run with its 95% interval, a panel a split, a row a method.

    `name`, here and below, makes the ids of the figure's parts its own.
    """

    def draw(figure: "Figure") -> None:
        for axes, split in zip(figure.axes, data.splits, strict=False):
            best = 0.0
            for y, row in zip(_places(data.rows), data.rows, strict=True):
                runs = [run for run in row.runs if run.about["split"] == split]
                offsets = np.linspace(-0.2, 0.2, len(runs)) if len(runs) > 1 else [0.0]
                for run, offset in zip(runs, offsets, strict=True):
                    cell = run.cell(data.boxes, "unseen", row.assumption)
                    best = max(best, cell["mAP"])
                    low, high = cell["interval"]
                    colour, marker = _of_assumption(row.assumption)
                    axes.plot([100 * low, 100 * high], [y + offset] * 2, color=colour, lw=2)
                    axes.plot(100 * cell["mAP"], y + offset, marker, color=colour, ms=6)
            axes.axvline(100 * best, color=LINE, lw=1, zorder=0)
            axes.set_title(f"split {split}")
            axes.set_xlabel("unseen mAP, %")
        _name_rows(figure, data.rows)

    panels = len(data.splits)
    rows = -(-panels // _PANELS)
    height = rows * (1.1 + _ROW * (len(data.rows) + 1))
    return _svg(draw, name, height, (rows, min(panels, _PANELS)), share=True)


def base_figure(data: DatasetRuns, name: str) -> str:
    """Unseen and base mAP, averaged over splits, of every row; a panel a box source."""

    def draw(figure: "Figure") -> None:
        for axes, boxes in zip(figure.axes, data.sources, strict=False):
            for y, row in zip(_places(data.rows), data.rows, strict=True):
                unseen, base = (row.average(boxes, k, data.splits) for k in ("unseen", "base"))
                if unseen is None or base is None:
                    continue
                axes.plot([100 * unseen, 100 * base], [y, y], color=LINE, lw=2, zorder=1)
                axes.plot(100 * unseen, y, **_UNSEEN)
                axes.plot(100 * base, y, **_BASE)
            axes.set_title(f"{boxes} boxes")
            axes.set_xlabel("mAP, mean of the splits, %")
        _name_rows(figure, data.rows)
        unseen_mark, base_mark = (
            figure.axes[0].plot([], [], **look)[0] for look in (_UNSEEN, _BASE)
        )
        _legend(figure, [unseen_mark, base_mark], ["unseen classes", "base classes"])

    height = 1.5 + _ROW * (len(data.rows) + 1)
    return _svg(draw, name, height, (1, len(data.sources)), share=True)


def error_figure(rows: Sequence[Row], errors: Sequence[pd.DataFrame], name: str) -> str:
    """What the best-ranked boxes are, stacked by kind; `errors`: those of each row, by kind."""

    def draw(figure: "Figure") -> None:
        (axes,) = figure.axes
        left = np.zeros(len(rows))
        for kind in KINDS:
            share = 100 * np.array([table["top"][kind] for table in errors])
            colour = KIND_COLOURS[kind]
            axes.barh(_places(rows), share, 0.72, left=left, color=colour, label=kind)
            left += share
        axes.set(xlim=(0, 100), xlabel="share of the best-ranked boxes, %")
        _name_rows(figure, rows)
        _legend(figure, *axes.get_legend_handles_labels())

    return _svg(draw, name, 1.5 + _ROW * (len(rows) + 1), (1, 1))


def training_figure(data: DatasetRuns, name: str) -> str | None:
    """Loss of every method that trains, a panel a method, a line a run; None if none trains."""
    methods: dict[str, list[Run]] = {}
    for run in data.runs:
        if len(run.log):
            methods.setdefault(run.about["method"], []).append(run)
    if not methods:
        return None
    looks: dict[str, dict[str, Any]] = {
        split: {"color": SPLIT_COLOURS[n % len(SPLIT_COLOURS)], "ls": _LINES[n // 4 % len(_LINES)]}
        for n, split in enumerate(data.splits)
    }

    def draw(figure: "Figure") -> None:
        for axes, runs in zip(figure.axes, methods.values(), strict=False):
            for run in runs:
                _draw_loss(axes, run.log, looks[run.about["split"]])
            losses = pd.concat([run.log["loss"] for run in runs])
            axes.set_ylim(0, float(losses.quantile(0.98)) * 1.05)
            axes.set_title(runs[0].about["title"])
            axes.set_xlabel("step")
        for axes in figure.axes[:: min(len(methods), _PANELS)]:
            axes.set_ylabel("training loss")
        lines = [figure.axes[0].plot([], [], lw=2, **looks[s])[0] for s in data.splits]
        _legend(figure, lines, [f"split {split}" for split in data.splits])

    rows = -(-len(methods) // _PANELS)
    return _svg(draw, name, 2.6 * rows + 0.4, (rows, min(len(methods), _PANELS)))


def _draw_loss(axes: "Axes", log: pd.DataFrame, look: dict[str, Any]) -> None:
    every = -(-len(log) // _RAW_POINTS)
    raw = look | {"ls": "-", "lw": 0.6, "alpha": 0.3}
    axes.plot(log["step"][::every], log["loss"][::every], **raw)
    smooth = log["loss"].rolling(max(1, len(log) // 15), min_periods=1, center=True).mean()
    axes.plot(log["step"][::every], smooth[::every], lw=1.8, **look)


def _legend(figure: "Figure", handles: Sequence[Any], names: Sequence[str]) -> None:
    figure.legend(handles, names, loc="outside lower center", ncols=min(10, len(names)))


def _of_assumption(assumption: str) -> tuple[str, str]:
    """Colour and marker."""
    return {"independent": (BLUE, "o"), "voted": (ORANGE, "D")}[assumption]


def _places(rows: Sequence[Row]) -> list[float]:
    """Heights of rows, with a gap where the assumption changes."""
    changes = [a.assumption != b.assumption for a, b in pairwise(rows)]
    return [float(n) for n in np.arange(len(rows)) + np.cumsum([0, *changes])]


def _name_rows(figure: "Figure", rows: Sequence[Row]) -> None:
    """Names at the left, light lines along the rows, the first row on top."""
    places = _places(rows)
    for axes in figure.axes:
        axes.set_yticks(places, [row.title for row in rows])
        axes.set_ylim(places[-1] + 0.6, places[0] - 0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", lw=0.6, alpha=0.6)
        axes.set_axisbelow(True)


def _svg(
    draw: Callable[["Figure"], None],
    name: str,
    height: float,
    panels: tuple[int, int],
    *,
    share: bool = False,
) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        figure.subplots(*panels, squeeze=False, sharex=share, sharey=share)
        draw(figure)
        for axes in figure.axes:
            axes.set_visible(axes.has_data())  # the last row of panels may be shorter
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """Drop what only a file of its own needs; give ids a prefix and colours the page's names."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)  # as wide as the page
    svg = f'{head} role="img" aria-labelledby="{name}-caption">{rest}'
    for colour, variable in STANDS_FOR.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg
