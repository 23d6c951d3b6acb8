"""Builds the page of predictions: one HTML file to sort and filter, which asks nobody for anything.

A pure function of runs' folders and prepared data: same inputs, same bytes. What files say reaches
the page as JSON that no text can end, and the page's script writes it as text only.
"""

import base64
import hashlib
import logging
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stclip.errors import DataError
from stclip.evaluate.error_figures import KIND_COLOURS
from stclip.evaluate.error_kinds import BACKGROUND
from stclip.report.browsed_rows import ALL_KINDS, BrowsedRows, browsed_rows
from stclip.report.browsed_run import BrowsedRun
from stclip.report.thumbnails import StoredFrame, thumbnails

logger = logging.getLogger(__name__)
MOST_ROWS = 10_000
SCRIPT = "browse.js"
# COCO's, by the area of the box in pixels of the stored frame
SIZES = (("small", 0), ("medium", 32**2), ("large", 96**2))
# {}: the overlap from which a box counts as found
MEANINGS = {
    "correct": "finds a person of this class",
    "wrong class": "overlaps a person of other classes by {} or more",
    "localisation": f"overlaps a person of this class by {BACKGROUND} up to {{}} only",
    "both": f"overlaps only a person of other classes, by {BACKGROUND} up to {{}}",
    "duplicate": "a better-ranked box took the person of this class",
    "background": f"overlaps nobody annotated by {BACKGROUND}",
    "missed": "an annotated person whom no box finds, or would find if mended",
}


def build_browse_page(runs: Sequence[BrowsedRun], *, most: int = MOST_ROWS) -> str:
    """The page's HTML.

    Args:
        runs: read and judged, in the order in which they are listed.
        most: predictions at most; see `browsed_rows`.

    Raises:
        ConfigError: the pictures are too large for a page. DataError: nothing to show, a frame is
            missing, or runs whose scores count as found from different overlaps.
    """
    overlaps = sorted({run.protocol.iou_threshold for run in runs})
    if len(overlaps) > 1:
        raise DataError(
            f"these runs are judged by overlaps of {overlaps}; browse those of one together."
        )
    rows = browsed_rows(runs, most=most)
    pictures, width = _pictures(runs, rows)
    shown = len(rows.columns["rows"]["kind"])
    logger.info(
        "browse: read %d predictions of %d runs, %d of them are on the page (--most %d), with %s",
        *(rows.available, len(runs), shown, most),
        f"{len(pictures)} frames {width} pixels wide" if pictures else "no pictures",
    )
    content = rows.content | {
        "runs": [run.name for run in runs],
        "sizes": SIZES,
        "kinds": [
            {
                "name": kind,
                "colour": KIND_COLOURS[kind],
                "meaning": MEANINGS[kind].format(f"{overlaps[0]:g}"),
            }
            for kind in ALL_KINDS
        ],
    }
    return render_browse_page(
        content,
        pictures,
        runs=[run.title for run in runs],
        scales=sorted({run.scale_title for run in runs if not run.published}),
        available=rows.available,
        absent=sorted({str(run.data.frames) for run in runs if not run.data.frames.is_dir()}),
    )


def render_browse_page(
    content: dict[str, Any],
    pictures: Sequence[str],
    *,
    runs: Sequence[str],
    scales: Sequence[str],
    available: int,
    absent: Sequence[str],
) -> str:
    """The page's HTML from what it shows.

    Args:
        content: of `BrowsedRows`, with runs, sizes and kinds.
        pictures: of the frames, "" for one that has none; empty without any.
        runs: titles.
        scales: titles of scales that are not the paper's.
        available: predictions of the runs, shown or not.
        absent: folders of frames that are not there.
    """
    environment = Environment(
        loader=PackageLoader("stclip.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    script = files("stclip.report").joinpath(SCRIPT).read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("browse.html.j2").render(
        content=content,
        pictures=list(pictures),
        runs=runs,
        scales=scales,
        available=available,
        absent=absent,
        script=Markup(script),  # our own file; the policy lets this text alone run
        script_digest=digest,
    )


def _pictures(runs: Sequence[BrowsedRun], rows: BrowsedRows) -> tuple[list[str], int]:
    """A picture for every frame of the page, "" where the data set's frames are absent."""
    folders: dict[tuple[str, str], Path] = {
        (run.about["scale"], run.about["dataset"]): run.data.frames for run in runs
    }
    there = {key: folder for key, folder in folders.items() if folder.is_dir()}
    wanted = {
        number: StoredFrame(there[scale, dataset], clip, frame)
        for (scale, dataset, clip, frame), number in rows.frames.items()
        if (scale, dataset) in there
    }
    made, width = thumbnails(list(wanted.values()))
    found = dict(zip(wanted, made, strict=True))
    return ([found.get(n, "") for n in range(len(rows.frames))] if found else []), width
