"""Text and colours of the pictures that are drawn pixel by pixel."""

from functools import cache
from pathlib import Path

from PIL import ImageFont

FONT_SIZE = 15
PAPER, INK, FAINT, EMPTY = "#ffffff", "#1b1f24", "#69727d", "#eef0f2"
RIGHT, WRONG = "#0072b2", "#d55e00"  # of Okabe and Ito's colours, told apart by everybody


def fitting(text: str, width: float, *, size: int = FONT_SIZE, bold: bool = False) -> str:
    """The text, cut where it is wider than that many pixels; a letter of it stays."""
    own, cut = font(size, bold=bold), text
    while len(cut) > 1 and own.getlength(cut if cut == text else f"{cut}…") > width:
        cut = cut[:-1]
    return text if cut == text else f"{cut}…"


@cache
def font(size: int = FONT_SIZE, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: it has the marks, and is the same everywhere."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
