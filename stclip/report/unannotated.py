"""Draws the key frame on which boxes that show nobody annotated cost most.

A detector finds bystanders too. Nobody annotates them, so what is said of them counts as wrong
(Huang et al. 2025, section 8 and Figure 7). Nothing is drawn by chance: same scores, same picture.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from stclip.errors import DataError
from stclip.evaluate.protocol import Protocol
from stclip.records import BOX_COLUMNS, Data, Scores
from stclip.report.lettering import FAINT, FONT_SIZE, INK, PAPER, RIGHT, WRONG, fitting, font
from stclip.report.overlaps import overlaps_of
from stclip.report.predictions import combined
from stclip.storage.files import whole_file
from stclip.storage.frame_store import read_frame

logger = logging.getLogger(__name__)
WIDTH, MARGIN, LINE = 720, 16, 25  # pixels; the width of the frame as it is drawn
TEXT_WIDTH = 330  # of the list beside it
MOST_BOXES = 12  # of the frame are listed, by score
ANNOTATED = "#009e73"  # as the other colours, of Okabe and Ito's
UNANNOTATED = "nobody annotated here"


@dataclass(frozen=True)
class CostliestFrame:
    """A key frame and what its boxes are counted as."""

    clip: str
    frame: int
    boxes: pd.DataFrame  # x1..y2, name and score of the best label, kind; best score first
    annotated: pd.DataFrame  # x1..y2, label


def costliest_frame(
    scores: Scores, data: Data, *, clips: Sequence[str], protocol: Protocol
) -> tuple[CostliestFrame, float]:
    """Find the key frame whose unannotated boxes have the highest scores, added up.

    A box is unannotated where it overlaps no annotated box of its frame by 0.1 or more, as the
    breakdown of errors has it ("background"). On the frame an annotated person is found too: a box
    overlaps it enough for a hit.

    Args:
        scores: of one label group.
        data: ground truth and key frames.
        clips: the test clips of that group.
        protocol: says which overlap is enough.

    Returns:
        The frame, and the share of all scored boxes that are unannotated, in 0..1.

    Raises:
        DataError: no frame has such a box and an annotated person that is found.
    """
    truth = data.boxes.table[data.boxes.table["clip"].isin(clips)]
    truth = truth[data.key_frames.contain(truth)]
    overlaps = overlaps_of(scores, truth, clips=clips, protocol=protocol)
    found_codes, truth_codes = overlaps.found_codes, overlaps.person_codes
    nearest, overlap = overlaps.best_person()
    values = combined(scores)
    beside_hits = np.isin(found_codes, found_codes[overlap >= protocol.iou_threshold])
    alone = (nearest < 0) & beside_hits
    if not alone.any():
        raise DataError(
            f"of {len(scores)} scored boxes none lies apart from all annotated ones on a frame "
            "where an annotated person is found; show a run on boxes of a detector, of clips with "
            "persons whom nobody annotates."
        )
    cost = np.bincount(found_codes, np.where(alone, values.max(1), 0))
    rows = np.flatnonzero(found_codes == cost.argmax())
    rows = rows[np.argsort(-values[rows].max(1), kind="stable")]
    best = np.asarray(scores.labels)[values[rows].argmax(1)]
    actions = truth["actions"].tolist()
    boxes = pd.DataFrame(scores.boxes_xyxy[rows], columns=BOX_COLUMNS).assign(
        name=best,
        score=values[rows].max(1),
        kind=[
            _kind(actions[at] if at >= 0 else None, name, iou >= protocol.iou_threshold)
            for at, name, iou in zip(nearest[rows], best, overlap[rows], strict=True)
        ],
    )
    first = scores.table.iloc[rows[0]]
    own = truth[truth_codes == cost.argmax()]
    annotated = own[BOX_COLUMNS].assign(label=[", ".join(a) for a in own["actions"]])
    shown = CostliestFrame(str(first["clip"]), int(first["frame"]), boxes, annotated)
    return shown, float((nearest < 0).mean())


def _kind(actions: Sequence[str] | None, name: str, enough: bool) -> str:
    """What a box is counted as; `actions` of the annotated person that it overlaps most."""
    if actions is None:
        return UNANNOTATED
    if not enough:
        return "overlap too small"
    return "right" if name in actions else "wrong name"


def write_unannotated(
    out: Path, shown: CostliestFrame, frames: Path, *, title: str, lines: Sequence[str]
) -> None:
    """Draw the frame with its boxes, and a list of them beside it.

    Args:
        out: the picture, a PNG.
        shown: of `costliest_frame`.
        frames: of the data set.
        title: the first line.
        lines: below it.

    Raises:
        DataError: the frame is missing or damaged.
    """
    picture = read_frame(frames, shown.clip, shown.frame)
    scale = WIDTH / picture.width
    size = WIDTH, round(picture.height * scale)
    top = MARGIN + LINE * (1 + len(lines)) + MARGIN // 2
    boxes = shown.boxes[:MOST_BOXES]
    # heading, clip, annotated persons, scored boxes, how many are left out
    num_lines = 4 + len(shown.annotated) + 2 * len(boxes)
    height = top + max(size[1], LINE * num_lines) + MARGIN
    sheet = Image.new("RGB", (WIDTH + TEXT_WIDTH + 3 * MARGIN, height), PAPER)
    sheet.paste(picture.resize(size, Image.Resampling.BICUBIC), (MARGIN, top))
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, INK, font(FONT_SIZE + 2, bold=True))
    for number, line in enumerate(lines, start=1):
        pen.text((MARGIN, MARGIN + LINE * number), line, FAINT, font(FONT_SIZE - 2))

    def place(box: pd.Series) -> tuple[int, int, int, int]:
        x1, y1, x2, y2 = (round(float(box[side]) * scale) for side in BOX_COLUMNS)
        return MARGIN + x1, top + y1, MARGIN + max(x1, x2), top + max(y1, y2)

    left, down = WIDTH + 2 * MARGIN, top

    def write(text: str, colour: str, *, bold: bool = False) -> None:
        nonlocal down
        pen.text((left, down), fitting(text, TEXT_WIDTH, bold=bold), colour, font(bold=bold))
        down += LINE

    write(f"{shown.clip}, frame {shown.frame}", FAINT)
    write("annotated", ANNOTATED, bold=True)
    for _, box in shown.annotated.iterrows():
        pen.rectangle(place(box), outline=ANNOTATED, width=3)
        write(str(box["label"]), ANNOTATED)
    write("scored, by what they are counted as", INK, bold=True)
    for number, (_, box) in enumerate(boxes.iterrows(), start=1):
        colour = RIGHT if box["kind"] == "right" else WRONG
        _draw_box(pen, place(box), str(number), colour)
        write(f"{number}  {box['kind']}", colour, bold=True)
        write(f"    {box['name']} {box['score']:.2f}", INK)
    if len(shown.boxes) > len(boxes):
        write(f"and {len(shown.boxes) - len(boxes)} of lower scores", FAINT)
    with whole_file(out) as temporary:
        sheet.save(temporary, "png", compress_level=6)
    logger.info(
        "%s: clip %s, frame %d: %d annotated persons, %d scored boxes, %d of them unannotated",
        *(out.name, shown.clip, shown.frame, len(shown.annotated), len(shown.boxes)),
        (shown.boxes["kind"] == UNANNOTATED).sum(),
    )


def _draw_box(
    pen: ImageDraw.ImageDraw, place: tuple[int, int, int, int], number: str, colour: str
) -> None:
    """A box that stands out from any ground, its number at the corner."""
    pen.rectangle(place, outline=PAPER, width=5)
    pen.rectangle(place, outline=colour, width=3)
    x1, y1 = place[:2]
    pen.rectangle((x1, y1, x1 + 22, y1 + 22), colour)
    pen.text((x1 + 11, y1 + 11), number, PAPER, font(bold=True), anchor="mm")
