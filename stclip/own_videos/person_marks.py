"""Draws persons into a picture: box, track number, the labels that fit best with bars.

H, W: height and width of a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw

from stclip.report.lettering import fitting, font

# Okabe and Ito's colours without black, told apart by everybody; a track keeps its colour.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_DARK, _LIGHT = "#14171b", "#ffffff"
_BRIGHT = {"#e69f00", "#56b4e9", "#f0e442", "#cc79a7"}  # with dark letters on them
_OPACITY = 205  # of a panel, of 255
_LINES_A_SIDE = 28  # lines of text that the shorter side of a picture would hold
_CROWD = 4  # persons from which on only the best label is shown
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Marked:
    """A person to be drawn."""

    track: int
    box_xyxy: Box  # pixels of the picture
    best: tuple[tuple[str, float], ...]  # labels and probabilities, the best first


def colour_of(track: int) -> str:
    """The colour of a track."""
    return COLOURS[track % len(COLOURS)]


def letters_on(colour: str) -> str:
    """The colour of letters that can be read on it."""
    return _DARK if colour in _BRIGHT else _LIGHT


def mark_persons(picture: Image.Image, persons: Sequence[Marked], *, labels: int = 3) -> None:
    """Draw persons into a picture, at most `labels` labels of each.

    Letters follow the picture's size. Panels stand above their box, or where there is no room or
    another panel, below or in it.
    """
    short = min(picture.size)
    size = max(9, round(short / _LINES_A_SIDE))
    count = labels if len(persons) < _CROWD else 1
    pen = ImageDraw.Draw(picture)
    for person in persons:
        x1, y1, x2, y2 = person.box_xyxy
        corners = (x1, y1, max(x1, x2), max(y1, y2))
        pen.rectangle(corners, outline=colour_of(person.track), width=max(2, short // 200))
    taken: list[Box] = []
    for person in persons:
        panel = panel_of(person, size, count, most_width=picture.width // 2)
        left, top = _place(panel.size, person.box_xyxy, picture.size, taken)
        taken.append((left, top, left + panel.width, top + panel.height))
        picture.paste(panel, (round(left), round(top)), panel)


@lru_cache(maxsize=64)  # the same from one key frame to the next
def panel_of(person: Marked, size: int, count: int, *, most_width: int) -> Image.Image:
    """The track number and the best labels with bars as long as their probabilities, RGBA.

    Args:
        person: whose.
        size: of letters, in pixels.
        count: labels at most.
        most_width: pixels; longer labels are cut.
    """
    letters, pad, line = font(size), max(2, size // 4), round(1.5 * size)
    colour = colour_of(person.track)
    mark = f"{person.track}"
    mark_width = round(letters.getlength(mark)) + 2 * pad
    number_width = round(letters.getlength("0.00"))
    room = max(size, most_width - mark_width - number_width - 3 * pad)
    texts = [(fitting(label, room, size=size), value) for label, value in person.best[:count]]
    width = max((round(letters.getlength(text)) for text, _ in texts), default=0)
    bar = max(width, 4 * size) + number_width + size // 2
    panel = Image.new("RGBA", (mark_width + bar + 2 * pad, line * max(1, len(texts))), _shade())
    pen = ImageDraw.Draw(panel)
    pen.rectangle((0, 0, mark_width - 1, panel.height), colour)
    pen.text((mark_width / 2, line / 2), mark, letters_on(colour), letters, anchor="mm")
    left = mark_width + pad
    for number, (text, value) in enumerate(texts):
        middle = number * line + round(0.42 * line)
        pen.text((left, middle), text, _LIGHT, letters, anchor="lm")
        pen.text((left + bar, middle), f"{value:.2f}", _LIGHT, letters, anchor="rm")
        below = (number + 1) * line - max(2, size // 8) - 1
        full = (left, below, left + bar, below + max(1, size // 10))
        pen.rectangle(full, "#4a525c")
        pen.rectangle((*full[:2], left + round(bar * min(1.0, value)), full[3]), colour)
    return panel


def _shade() -> tuple[int, int, int, int]:
    return (20, 23, 27, _OPACITY)


def _place(
    panel: tuple[int, int], box: Box, picture: tuple[int, int], taken: Sequence[Box]
) -> tuple[float, float]:
    """The corner of a panel: above the box, else below it, else in it; the first that is free."""
    (width, height), (x1, y1, _, y2) = panel, box
    left = min(max(0, x1), picture[0] - width)
    last = max(0, picture[1] - height)
    places = [y1 - height, y2 + 1, y1, y2 - height]
    inside = [y for y in places if 0 <= y <= last] or [min(max(0.0, y1), last)]
    for top in inside:
        if not any(_overlap((left, top, left + width, top + height), other) for other in taken):
            return left, top
    return left, inside[0]


def _overlap(one: Box, other: Box) -> bool:
    return (
        one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    )  # fmt: skip
