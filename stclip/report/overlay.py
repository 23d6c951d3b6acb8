"""Draws persons into a frame: boxes, track numbers, best labels as bars. Pixels in, pixels out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from stclip.report.lettering import INK, PAPER, fitting, font

LINE, BAR_WIDTH, GAP = 15, 84, 3  # pixels of the drawn frame
TEXT = 11  # size of the font
BAR = "#b9d7ea"  # behind the text of a label, as long as its score


@dataclass(frozen=True)
class ShownPerson:
    """A scored box and what is said of it."""

    box_xyxy: Sequence[float]  # pixels of the frame
    names: Sequence[tuple[str, float]]  # labels and scores in 0..1, best first
    colour: str  # of the box, "#rrggbb"
    track: int | None = None  # the number that is shown, if any


def draw_persons(
    frame: UInt8[np.ndarray, "H W 3"],
    persons: Sequence[ShownPerson],
    *,
    annotated_xyxy: Float[np.ndarray, "N 4"] | None = None,
    scale: float = 1.0,
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy of a frame with persons drawn in.

    Args:
        frame: RGB.
        persons: who is drawn, the last one on top.
        annotated_xyxy: ground truth, thin white boxes; pixels of the frame.
        scale: how many times larger the copy is; letters and lines keep their size.

    Returns:
        RGB, `scale` times as high and wide.
    """
    height, width = frame.shape[:2]
    size = round(width * scale), round(height * scale)
    picture = Image.fromarray(frame)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for box in [] if annotated_xyxy is None else annotated_xyxy.tolist():
        x1, y1, x2, y2 = _corners(box, scale)
        pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=INK)
        pen.rectangle((x1, y1, x2, y2), outline=PAPER)
    for person in persons:
        x1, y1, x2, y2 = _corners(person.box_xyxy, scale)
        pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=PAPER, width=4)
        pen.rectangle((x1, y1, x2, y2), outline=person.colour, width=2)
    for person in persons:  # no box hides what is said
        _say(pen, person, _corners(person.box_xyxy, scale), size)
    return np.asarray(picture)


def _corners(box: Sequence[float], scale: float) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (round(value * scale) for value in box)
    return x1, y1, max(x1, x2), max(y1, y2)


def _say(
    pen: ImageDraw.ImageDraw,
    person: ShownPerson,
    box: tuple[int, int, int, int],
    size: tuple[int, int],
) -> None:
    """The labels beside the box, where there is more room; on its corner the number."""
    x1, y1, x2, _ = box
    letters = font(TEXT)
    height = LINE * len(person.names)
    left = x2 + GAP if size[0] - x2 >= x1 else x1 - GAP - BAR_WIDTH
    left = max(0, min(left, size[0] - BAR_WIDTH))
    top = max(0, min(y1, size[1] - height))
    for name, score in person.names:
        right = left + BAR_WIDTH - 1
        pen.rectangle((left, top, right, top + LINE - 1), PAPER)
        length = round(min(1.0, max(0.0, score)) * (BAR_WIDTH - 1))
        pen.rectangle((left, top, left + length, top + LINE - 1), BAR)
        value = f"{score:.2f}"
        room = BAR_WIDTH - 8 - letters.getlength(value)
        pen.text(
            (left + 2, top + LINE // 2), fitting(name, room, size=TEXT), INK, letters, anchor="lm"
        )
        pen.text((right - 1, top + LINE // 2), value, INK, letters, anchor="rm")
        top += LINE
    if person.track is not None:
        number = f"#{person.track}"
        wide = round(letters.getlength(number)) + 5
        at = x1, max(0, y1 - LINE)
        pen.rectangle((*at, at[0] + wide, at[1] + LINE - 1), person.colour)
        pen.text((at[0] + 3, at[1] + LINE // 2), number, PAPER, letters, anchor="lm")
