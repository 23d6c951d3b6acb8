"""The contact sheet of imported annotations: a wrong unit, order or frame number is seen on it.

Above, frames of every label with all their boxes. Below, the persons that move most: the box of one
frame on the frame before, its own and the one after. It should fit best in the middle.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from stclip.prepare.videos import VideoFile, read_pictures
from stclip.progress import Progress
from stclip.records import BOX_COLUMNS, Boxes
from stclip.report.lettering import EMPTY, FAINT, FONT_SIZE, INK, PAPER, RIGHT, WRONG, fitting, font
from stclip.storage.files import whole_file

logger = logging.getLogger(__name__)
MOST_FRAMES, MOVERS, COLUMNS = 24, 4, 4
CELL, PICTURE_HEIGHT, GAP, MARGIN, LINE = 264, 198, 10, 16, 20  # pixels
TITLE_HEIGHT, HEADING_HEIGHT = 66, 34
_PLACES = (0.5, 0.0, 1.0, 0.25, 0.75)  # of a label's frames in a clip, in this order
CELL_HEIGHT = PICTURE_HEIGHT + 2 * LINE + GAP
_AROUND = 0.8  # of a mover's larger side, left of its box and right, above and below

Pictures = Mapping[tuple[str, int], UInt8[np.ndarray, "H W 3"]]


@dataclass(frozen=True)
class _Mover:
    """A person's box, and how far it is from that of the same person in another frame."""

    clip: str
    frame: int
    box: tuple[float, float, float, float]
    speed: float  # widths of the box a frame


def write_sheet(out: Path, boxes: Boxes, videos: Mapping[str, Path], *, title: str) -> None:
    """Write the sheet (PNG).

    Args:
        out: where to.
        boxes: in pixels of the videos as they are shown.
        videos: the file of each clip; only a few are decoded.
        title: what was imported.

    Raises:
        DataError: a video has no pictures.
    """
    shown = choose_frames(boxes.table)
    movers = fastest(boxes.table)
    beside = [(m.clip, m.frame + step) for m in movers for step in (-1, 0, 1)]
    pictures = _read([*shown, *beside], videos)
    rows = -(-len(shown) // COLUMNS)
    width = COLUMNS * (CELL + GAP) - GAP + 2 * MARGIN
    height = TITLE_HEIGHT + rows * CELL_HEIGHT + MARGIN
    height += (HEADING_HEIGHT + len(movers) * CELL_HEIGHT) * bool(movers)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), fitting(title, width - 2 * MARGIN, bold=True), INK,
             font(FONT_SIZE + 2, bold=True))  # fmt: skip
    told = "Does every box lie around its person, and is the label what that person does?"
    pen.text((MARGIN, MARGIN + 24), told, FAINT, font(FONT_SIZE - 2))
    for number, (clip, frame) in enumerate(shown):
        row, column = divmod(number, COLUMNS)
        corner = MARGIN + column * (CELL + GAP), TITLE_HEIGHT + row * CELL_HEIGHT
        own = boxes.table[(boxes.table["clip"] == clip) & (boxes.table["frame"] == frame)]
        _draw_frame(sheet, corner, pictures.get((clip, frame)), own)
    top = TITLE_HEIGHT + rows * CELL_HEIGHT
    if movers:
        pen.text((MARGIN, top + 4), "Is the frame number right? The box of one frame on the frame "
                 "before, its own and the one after: it should fit best in the middle.",
                 INK, font(FONT_SIZE))  # fmt: skip
        top += HEADING_HEIGHT
    for number, mover in enumerate(movers):
        for column, step in enumerate((-1, 0, 1)):
            corner = MARGIN + column * (CELL + GAP), top + number * CELL_HEIGHT
            _draw_mover(sheet, corner, pictures.get((mover.clip, mover.frame + step)), mover, step)
    with whole_file(out) as temporary:
        sheet.save(temporary, "png", compress_level=6)
    clips = {clip for clip, _ in shown}
    logger.info("%s: %d frames of %d clips with their boxes", out, len(shown), len(clips))


def choose_frames(boxes: pd.DataFrame) -> list[tuple[str, int]]:
    """Clip and frame of what is shown: of each label in turn, from as many clips as there are.

    Of a clip first the middle frame that shows the label, then others.
    """
    rows = boxes.explode("actions").fillna({"actions": ""}).sort_values("frame", kind="stable")
    of_label = {
        str(label): [
            (str(clip), int(frames.iloc[round(place * (len(frames) - 1))]))
            for place in _PLACES
            for clip, frames in own.groupby("clip")["frame"]
        ]
        for label, own in rows.groupby("actions")
    }
    names = [*of_label]
    if len(names) > MOST_FRAMES:
        names = [names[i] for i in np.linspace(0, len(names) - 1, MOST_FRAMES).round().astype(int)]
    chosen: dict[tuple[str, int], None] = {}
    for turn in range(max(map(len, of_label.values()))):
        for label in names:
            own = of_label[label]
            if turn < len(own) and len(chosen) < MOST_FRAMES:
                chosen[own[turn]] = None
    return [*chosen]


def fastest(boxes: pd.DataFrame) -> list[_Mover]:
    """The boxes that move most to the next annotated frame of their person, one a clip."""
    rows = boxes.sort_values(["clip", "tube", "frame"], kind="stable")
    rows = rows[rows["frame"] > 0]  # that have a frame before
    centre = rows[BOX_COLUMNS].to_numpy(np.float64).reshape(-1, 2, 2).mean(1)
    same = (rows[["clip", "tube"]].to_numpy()[1:] == rows[["clip", "tube"]].to_numpy()[:-1]).all(1)
    steps = np.diff(rows["frame"].to_numpy())
    moved = np.linalg.norm(np.diff(centre, axis=0), axis=1)
    widths = (rows["x2"] - rows["x1"]).to_numpy(np.float64)[:-1]
    speed = np.where(same & (steps > 0), moved / np.maximum(steps, 1) / np.maximum(widths, 1), 0)
    found: dict[str, _Mover] = {}
    for place in np.argsort(-speed, kind="stable"):
        row = rows.iloc[int(place)]
        if speed[place] <= 0 or len(found) == MOVERS:
            break
        box = tuple(float(row[side]) for side in BOX_COLUMNS)
        assert len(box) == 4
        mover = _Mover(str(row["clip"]), int(row["frame"]), box, float(speed[place]))
        found.setdefault(mover.clip, mover)
    return [*found.values()]


def _read(wanted: Sequence[tuple[str, int]], videos: Mapping[str, Path]) -> Pictures:
    """The pictures of the frames that there are."""
    found: dict[tuple[str, int], UInt8[np.ndarray, "H W 3"]] = {}
    clips = sorted({clip for clip, _ in wanted})
    progress = Progress("videos drawn from", total=len(clips))
    for clip in clips:
        numbers = {frame for of, frame in wanted if of == clip and frame >= 0}
        file = VideoFile(clip, videos[clip], str(videos[clip]))
        found |= {(clip, frame): p for frame, p in read_pictures(file, numbers).items()}
        progress.advance()
    return found


def _draw_frame(
    sheet: Image.Image,
    corner: tuple[int, int],
    picture: np.ndarray | None,
    boxes: pd.DataFrame,
) -> None:
    """A frame with its boxes and their labels; below, where it is."""
    cell, pen, scale, shift = _cell(picture)
    places = [
        [round(value * scale) + shift[i % 2] for i, value in enumerate(corners)]
        for corners in boxes[BOX_COLUMNS].to_numpy(np.float64).tolist()
    ]
    for x1, y1, x2, y2 in places:
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=PAPER, width=4)
        pen.rectangle((x1 + 1, y1 + 1, max(x1, x2) - 1, max(y1, y2) - 1), outline=WRONG, width=2)
    for (x1, y1, _, _), actions in zip(places, boxes["actions"], strict=True):  # over all outlines
        text = ", ".join(actions) or "no label"
        above = y1 - FONT_SIZE - 3
        at = x1 + 3, above if above > 1 else y1 + 4
        text = fitting(text, max(CELL - at[0] - 4, 40))
        left, top, right, bottom = pen.textbbox(at, text, font(FONT_SIZE - 3))
        pen.rectangle((left - 2, top - 1, right + 2, bottom + 1), PAPER)
        pen.text(at, text, INK, font(FONT_SIZE - 3))
    sheet.paste(cell, corner)
    first = boxes.iloc[0]
    numbers = [round(float(first[side])) for side in BOX_COLUMNS]
    size = "" if picture is None else f" of {picture.shape[1]}x{picture.shape[0]}"
    _below(sheet, corner, f"frame {first['frame']} of {first['clip']}", f"{numbers}{size}")


def _draw_mover(
    sheet: Image.Image,
    corner: tuple[int, int],
    picture: np.ndarray | None,
    mover: _Mover,
    step: int,
) -> None:
    """The surroundings of a box on a frame, larger, with the box."""
    x1, y1, x2, y2 = mover.box
    around = _AROUND * max(x2 - x1, y2 - y1)
    if picture is not None:
        left, top = max(int(x1 - around), 0), max(int(y1 - around), 0)
        picture = picture[top : int(y2 + around) + 1, left : int(x2 + around) + 1]
        x1, y1, x2, y2 = x1 - left, y1 - top, x2 - left, y2 - top
    cell, pen, scale, shift = _cell(picture)
    if picture is not None:
        box = [round(v * scale) + shift[i % 2] for i, v in enumerate((x1, y1, x2, y2))]
        pen.rectangle(box, outline=RIGHT if step == 0 else WRONG, width=2)
    sheet.paste(cell, corner)
    what = {-1: "the frame before", 0: "its own frame", 1: "the frame after"}[step]
    _below(sheet, corner, f"frame {mover.frame + step} of {mover.clip}", what)


def _cell(
    picture: np.ndarray | None,
) -> tuple[Image.Image, ImageDraw.ImageDraw, float, tuple[int, int]]:
    """A cell with the picture in its middle, what draws on it, the scale and the shift."""
    cell = Image.new("RGB", (CELL, PICTURE_HEIGHT), EMPTY)
    scale, shift = 1.0, (0, 0)
    if picture is not None:
        image = Image.fromarray(picture)
        scale = min(CELL / image.width, PICTURE_HEIGHT / image.height)
        size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
        shift = (CELL - size[0]) // 2, (PICTURE_HEIGHT - size[1]) // 2
        cell.paste(image.resize(size, Image.Resampling.BICUBIC), shift)
    pen = ImageDraw.Draw(cell)
    if picture is None:
        middle = CELL // 2, PICTURE_HEIGHT // 2
        pen.text(middle, "there is no such frame", FAINT, font(FONT_SIZE), anchor="mm")
    return cell, pen, scale, shift


def _below(sheet: Image.Image, corner: tuple[int, int], first: str, second: str) -> None:
    pen = ImageDraw.Draw(sheet)
    left, top = corner[0], corner[1] + PICTURE_HEIGHT + 3
    pen.text((left, top), fitting(first, CELL), INK, font(FONT_SIZE - 2))
    pen.text((left, top + LINE - 3), second, FAINT, font(FONT_SIZE - 3))
