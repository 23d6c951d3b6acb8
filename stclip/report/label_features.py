"""Draws the features of unseen labels before and after the frames prompted them, a panel a split.

Features are compared by their angle, so all are brought to length 1 first. Nothing is drawn by
chance: same features, same picture.
"""

import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from stclip.report.lettering import FAINT, INK
from stclip.storage.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)
# Okabe and Ito's, told apart by everybody, without their yellow, which is too light for points.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
MARKERS = ["o", "s", "^", "D", "v", "P"]  # of every six labels another
PANEL, COLUMNS = (6.2, 5.2), 2  # inches of a panel; panels side by side
DPI, NOTE_WIDTH = 110, 165


@dataclass(frozen=True)
class SplitFeatures:
    """The K unseen labels of a split, and what the frames of R persons made of their features."""

    name: str
    labels: Sequence[str]
    text: Float[np.ndarray, "K e"]
    prompted: Float[np.ndarray, "R K e"]


@dataclass(frozen=True)
class Plane:
    """The two directions in which rows differ most."""

    mean: Float[np.ndarray, " e"]
    directions: Float[np.ndarray, "2 e"]
    shares: Float[np.ndarray, " 2"]  # of the variance, in 0..1

    def place(self, features: Float[np.ndarray, "*any e"]) -> Float[np.ndarray, "*any 2"]:
        """Coordinates in it."""
        return (features - self.mean) @ self.directions.T


def principal_plane(rows: Float[np.ndarray, "n e"]) -> Plane:
    """The first two principal components of n >= 2 rows; each points where its largest part is > 0.

    >>> plane = principal_plane(np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 1.0], [2.0, -1.0]]))
    >>> plane.place(np.array([4.0, 1.0])).tolist(), plane.shares.tolist()
    ([2.0, 1.0], [0.8, 0.2])
    """
    mean = rows.mean(0)
    _, lengths, directions = np.linalg.svd(rows - mean, full_matrices=False)
    directions = directions[:2]
    largest = directions[np.arange(2), np.abs(directions).argmax(1)]
    shares = lengths[:2] ** 2 / max(float((lengths**2).sum()), np.finfo(float).tiny)
    return Plane(mean, directions * np.sign(largest)[:, None], shares)


def normalised(features: Float[np.ndarray, "*any e"]) -> Float[np.ndarray, "*any e"]:
    """Features of length 1, float64."""
    features = features.astype(np.float64)
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def likeness(features: Float[np.ndarray, "*any K e"]) -> float:
    """The mean cosine between two different labels, in -1..1."""
    units = normalised(features)
    cosines = units @ units.swapaxes(-1, -2)
    different = ~np.eye(cosines.shape[-1], dtype=bool)
    return float(cosines[..., different].mean())


def write_label_features(
    out: Path, splits: Sequence[SplitFeatures], *, title: str, note: str
) -> None:
    """Draw the splits' panels below title and note, into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(COLUMNS, len(splits))
    rows = -(-len(splits) // columns)
    lines = textwrap.wrap(note, round(NOTE_WIDTH * columns / COLUMNS))
    head = 0.65 + 0.2 * len(lines)
    width, height = PANEL[0] * columns, PANEL[1] * rows + head
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - head / height), w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    canvas = FigureCanvasAgg(figure)
    figure.text(0.15 / width, 1 - 0.15 / height, title, size=14, weight="bold", color=INK, va="top")
    figure.text(
        0.15 / width, 1 - 0.5 / height, "\n".join(lines), size=10, color=FAINT, va="top"
    )  # fmt: skip
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, split in zip(panels, splits, strict=False):
        _draw_split(axes, split)
    for axes in panels[len(splits) :]:
        axes.set_visible(False)
    metadata: dict[str, Any] = {"Software": None}  # same numbers, same bytes
    with whole_file(out) as temporary, temporary.open("wb") as file:
        canvas.print_png(file, metadata=metadata)  # type: ignore[no-untyped-call]


def _draw_split(axes: "Axes", split: SplitFeatures) -> None:
    """A panel: of every label where it was, where it is for each person, and on average."""
    before, after = normalised(split.text), normalised(split.prompted)
    mean = after.mean(0)
    plane = principal_plane(np.concatenate([before, mean]))
    for number, label in enumerate(split.labels):
        colour = COLOURS[number % len(COLOURS)]
        look: dict[str, Any] = {
            "marker": MARKERS[number // len(COLOURS) % len(MARKERS)], "ls": "", "color": colour,
        }  # fmt: skip
        begin, end = plane.place(before[number]), plane.place(mean[number])
        axes.plot(*plane.place(after[:, number]).T, **look, ms=5, alpha=0.35, mew=0)
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.4, "shrinkA": 6, "shrinkB": 6}
        axes.annotate("", (end[0], end[1]), (begin[0], begin[1]), arrowprops=arrow)
        axes.plot(*begin, **look, ms=11, mfc="white", mew=2)
        axes.plot(*end, **look, ms=11, mec="white", label=label)
    axes.set_title(
        f"split {split.name}: mean cosine of two labels {likeness(split.text):.2f} from the text "
        f"encoder, {likeness(split.prompted):.2f} prompted",
        size=10, loc="left", color=INK,
    )  # fmt: skip
    for name, share in zip("xy", plane.shares, strict=True):
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_label_text(f"component {'xy'.index(name) + 1} ({share:.0%} of the variance)")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.08)
    axes.grid(lw=0.5, alpha=0.5)
    axes.set_axisbelow(True)
    longest = max(map(len, split.labels))
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False,
        ncols=3 if longest < 20 else 2, columnspacing=1.2, handletextpad=0.3,
    )  # fmt: skip
