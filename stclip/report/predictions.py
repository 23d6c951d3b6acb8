"""What a run says of unseen clips, as a picture: of every class a typical hit and a typical miss.

The unit is the annotated person. Of the scored boxes the one that overlaps it most speaks for it,
and is right if it overlaps enough and its best name is one of the person's. Typical is the person
whose best name has the median score. Nothing is drawn by chance: same scores, same picture.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from PIL import Image, ImageDraw

from stclip.evaluate.protocol import Protocol
from stclip.records import BOX_COLUMNS, Data, Scores
from stclip.report.lettering import EMPTY, FAINT, FONT_SIZE, INK, PAPER, RIGHT, WRONG, fitting, font
from stclip.report.overlaps import overlaps_of
from stclip.storage.files import whole_file
from stclip.storage.frame_store import read_frame

logger = logging.getLogger(__name__)
PREDICTIONS = "predictions.png"
MOST_LABELS, LABELS_A_ROW, BEST_NAMES = 6, 2, 3
CELL, PICTURE_HEIGHT, GAP, MARGIN, LINE = 264, 198, 8, 16, 25  # pixels
TITLE_HEIGHT, HEADING_HEIGHT = 62, 30


def combined(scores: Scores) -> Float[np.ndarray, "N K"]:
    """What boxes are ranked by: class probability times detector score."""
    return scores.probabilities * scores.table[["detector_score"]].to_numpy(np.float32)


def judge(scores: Scores, data: Data, *, clips: Sequence[str], protocol: Protocol) -> pd.DataFrame:
    """Find what was said of every annotated person.

    Args:
        scores: of one label group, voted or not.
        data: ground truth and key frames.
        clips: the test clips of that group.
        protocol: says which overlap is enough.

    Returns:
        One row per (person, ground-truth label): clip, frame, x1, y1, x2, y2, label, row (of the
        box in `scores`, -1: none overlaps it), overlap (their IoU), enough (for a hit), best
        (score of that box's best name), named (that is the label, and they overlap enough),
        right (the same with any of the person's labels). Index: the person's row of the boxes.
    """
    table = data.boxes.table[data.boxes.table["clip"].isin(clips)]
    table = table[data.key_frames.contain(table)]
    persons = table.explode("actions").rename(columns={"actions": "label"})
    persons = persons[persons["label"].isin(scores.labels)]
    row, overlap = overlaps_of(scores, persons, clips=clips, protocol=protocol).best_box()
    nothing = np.zeros((1, len(scores.labels)), np.float32)
    values = np.vstack([combined(scores), nothing])[row]  # row -1 is the last
    best_names = np.asarray(scores.labels)[values.argmax(1)]
    enough = (row >= 0) & (overlap >= protocol.iou_threshold)
    named = pd.Series((persons["label"] == best_names) & enough, index=persons.index)
    return persons[["clip", "frame", *BOX_COLUMNS, "label"]].assign(
        row=row,
        overlap=overlap,
        enough=enough,
        best=values.max(1),
        named=named,
        right=named.groupby(level=0).transform("any"),
    )


def write_predictions(
    out: Path,
    scores: Scores,
    data: Data,
    *,
    clips: Sequence[str],
    protocol: Protocol,
    title: str,
) -> None:
    """Write a contact sheet (PNG): up to six classes, a hit and a miss of each side by side.

    Args:
        out: where to.
        scores: as for `judge`; so are data, clips and protocol.
        data: the frames too.
        clips: the test clips.
        protocol: of the hits.
        title: whose predictions they are.

    Raises:
        DataError: a frame is missing or damaged.
    """
    judged = judge(scores, data, clips=clips, protocol=protocol)
    present = [label for label in scores.labels if (judged["label"] == label).any()]
    spread = np.linspace(0, len(present) - 1, min(MOST_LABELS, len(present))).round().astype(int)
    shown = [present[number] for number in spread]
    rows = -(-len(shown) // LABELS_A_ROW)
    cell_height = PICTURE_HEIGHT + BEST_NAMES * LINE + GAP
    pair_width = 2 * CELL + GAP
    width = LABELS_A_ROW * (pair_width + MARGIN) + MARGIN
    height = TITLE_HEIGHT + rows * (HEADING_HEIGHT + cell_height + MARGIN)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, INK, font(FONT_SIZE + 2, bold=True))
    legend = "of each class a typical hit and a typical miss; thick box: scored, thin: annotated"
    pen.text((MARGIN, MARGIN + LINE), legend, FAINT, font(FONT_SIZE - 2))
    for number, label in enumerate(shown):
        row, column = divmod(number, LABELS_A_ROW)
        left = MARGIN + column * (pair_width + MARGIN)
        top = TITLE_HEIGHT + row * (HEADING_HEIGHT + cell_height + MARGIN)
        _draw_label(sheet, (left, top), label, scores, judged, data.frames)
    with whole_file(out) as temporary:
        sheet.save(temporary, "png", compress_level=6)
    logger.info(
        "predictions: %d annotated persons of %d classes, %d of them named right; %d classes shown",
        judged.index.nunique(), len(present), judged["right"].groupby(level=0).first().sum(),
        len(shown),
    )  # fmt: skip


def _draw_label(
    sheet: Image.Image,
    corner: tuple[int, int],
    label: str,
    scores: Scores,
    judged: pd.DataFrame,
    frames: Path,
) -> None:
    """A heading with how often the class is right; below, the hit and the miss."""
    left, top = corner
    pen = ImageDraw.Draw(sheet)
    own = judged[judged["label"] == label]
    count = f"right: {own['right'].sum()} of {len(own)} annotated boxes"
    heading = fitting(label, 2 * CELL - 220, bold=True)
    pen.text((left, top + 4), heading, INK, font(FONT_SIZE, bold=True))
    pen.text((left + 2 * CELL + GAP, top + 4), count, FAINT, font(FONT_SIZE - 2), anchor="ra")
    top += HEADING_HEIGHT
    for kind, chosen in {"right": own[own["named"]], "wrong": own[~own["right"]]}.items():
        if chosen.empty:
            pen.rectangle((left, top, left + CELL - 1, top + PICTURE_HEIGHT - 1), EMPTY)
            middle = left + CELL // 2, top + PICTURE_HEIGHT // 2
            pen.text(middle, f"none is {kind}", FAINT, font(FONT_SIZE), anchor="mm")
        else:
            typical = chosen.sort_values("best", kind="stable").iloc[len(chosen) // 2]
            actions = set(map(str, judged.loc[[typical.name], "label"]))
            _draw_cell(sheet, (left, top), typical, scores, actions, frames)
        left += CELL + GAP


def _draw_cell(
    sheet: Image.Image,
    corner: tuple[int, int],
    person: pd.Series,
    scores: Scores,
    actions: set[str],
    frames: Path,
) -> None:
    """A frame with the person's box and the box that speaks for it; below, its best names."""
    picture = read_frame(frames, person["clip"], person["frame"])
    scale = min(CELL / picture.width, PICTURE_HEIGHT / picture.height)
    size = round(picture.width * scale), round(picture.height * scale)
    cell = Image.new("RGB", (CELL, PICTURE_HEIGHT), EMPTY)
    shift = (CELL - size[0]) // 2, (PICTURE_HEIGHT - size[1]) // 2
    cell.paste(picture.resize(size, Image.Resampling.BICUBIC), shift)
    pen = ImageDraw.Draw(cell)

    def draw_box(box: Sequence[float], colour: str, width: int) -> None:
        x1, y1, x2, y2 = (round(v * scale) + shift[i % 2] for i, v in enumerate(box))
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=width)

    if person["row"] >= 0:
        box = scores.boxes_xyxy[person["row"]].tolist()
        draw_box(box, PAPER, 5)  # stands out from any ground
        draw_box(box, RIGHT if person["right"] else WRONG, 3)
    draw_box([float(person[side]) for side in BOX_COLUMNS], INK, 1)
    if not person["enough"]:
        at = (shift[0] + 5, shift[1] + size[1] - 6)
        note = f"overlap {person['overlap']:.2f} is too small"
        x1, y1, x2, y2 = pen.textbbox(at, note, font(FONT_SIZE - 2), anchor="ls")
        pen.rectangle((x1 - 3, y1 - 3, x2 + 3, y2 + 3), PAPER)
        pen.text(at, note, WRONG, font(FONT_SIZE - 2), anchor="ls")
    sheet.paste(cell, corner)
    pen = ImageDraw.Draw(sheet)
    left, top = corner[0], corner[1] + PICTURE_HEIGHT + GAP // 2
    if person["row"] < 0:
        pen.text((left, top), "no scored box here", FAINT, font(FONT_SIZE))
        return
    values = combined(scores)[person["row"]]
    for place, number in enumerate(np.argsort(-values, kind="stable")[:BEST_NAMES]):
        name, value = scores.labels[number], float(values[number])
        mark, colour = ("✓", RIGHT) if name in actions else ("", FAINT) if place else ("✗", WRONG)
        pen.text((left, top), mark, colour, font(FONT_SIZE))
        pen.text((left + 20, top), fitting(name, CELL - 72), INK, font(FONT_SIZE))
        pen.text((left + CELL, top), f"{value:.2f}", INK, font(FONT_SIZE), anchor="ra")
        bar = left + 20 + round(min(1.0, value) * (CELL - 21))
        pen.rectangle((left + 20, top + 19, left + CELL - 1, top + 21), EMPTY)
        pen.rectangle((left + 20, top + 19, bar, top + 21), colour)
        top += LINE
