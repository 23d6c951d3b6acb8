"""Draws the contact sheet of a video: key frames with persons, and below them who does what."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from stclip.own_videos.found_persons import Prediction
from stclip.own_videos.person_marks import colour_of, letters_on
from stclip.own_videos.video_overlay import Marks
from stclip.records import BOX_COLUMNS
from stclip.report.lettering import EMPTY, FAINT, FONT_SIZE, INK, PAPER, fitting, font
from stclip.storage.files import whole_file

MOST = 12  # key frames
COLUMNS, CELL, PICTURE_HEIGHT = 4, 320, 240  # pixels
MARGIN, GAP, LINE, TITLE = 16, 10, 24, 58
_PERSONS = 4  # named below a key frame


def chosen_key_frames(found: Prediction) -> list[int]:
    """Up to `MOST` frames, evenly over those in which somebody is found, else over all."""
    frames = found.boxes["frame"].unique() if len(found.boxes) else found.key_frames["frame"]
    frames = np.asarray(frames)
    places = np.linspace(0, len(frames) - 1, min(MOST, len(frames))).round().astype(int)
    return [int(frame) for frame in frames[places]]


def cell_picture(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A frame at the size in which the sheet shows it."""
    height, width = pixels.shape[:2]
    scale = min(CELL / width, PICTURE_HEIGHT / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def write_sheet(
    out: Path, found: Prediction, pictures: Mapping[int, UInt8[np.ndarray, "h w 3"]]
) -> None:
    """Write a contact sheet (PNG).

    Args:
        out: where to.
        found: in the video.
        pictures: of `chosen_key_frames`, by frame, from `cell_picture`.
    """
    frames = sorted(pictures)
    columns = max(2, min(COLUMNS, len(frames)))
    tops = [TITLE]  # of the rows, and the end of the last one
    for start in range(0, len(frames), columns):
        most = max(_count(found, frame) for frame in frames[start : start + columns])
        lines = max(1, min(most, _PERSONS) + (most > _PERSONS))
        tops.append(tops[-1] + PICTURE_HEIGHT + GAP + LINE * lines + MARGIN)
    width = MARGIN + columns * (CELL + MARGIN)
    sheet = Image.new("RGB", (width, tops[-1]), PAPER)
    pen = ImageDraw.Draw(sheet)
    title = fitting(
        f"{found.video}: {found.method}", width - 2 * MARGIN, size=FONT_SIZE + 2, bold=True
    )
    pen.text((MARGIN, 10), title, INK, font(FONT_SIZE + 2, bold=True))
    labels = f"{len(found.labels)} labels: {', '.join(found.labels)}"
    legend = fitting(labels, width - 2 * MARGIN, size=FONT_SIZE - 2)
    pen.text((MARGIN, 34), legend, FAINT, font(FONT_SIZE - 2))
    marks = Marks(found, hold_s=0.0)
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        corner = (MARGIN + column * (CELL + MARGIN), tops[row])
        _draw_cell(sheet, corner, found, frame, pictures[frame], marks)
    with whole_file(out) as temporary:
        sheet.save(temporary, "png", compress_level=6)


def _count(found: Prediction, frame: int) -> int:
    return int((found.boxes["frame"] == frame).sum())


def _draw_cell(
    sheet: Image.Image,
    corner: tuple[int, int],
    found: Prediction,
    frame: int,
    pixels: UInt8[np.ndarray, "h w 3"],
    marks: Marks,
) -> None:
    """A key frame with its boxes; below, the best label of each person."""
    height, width = pixels.shape[:2]
    scale = width / found.size[0]
    cell = Image.new("RGB", (CELL, PICTURE_HEIGHT), EMPTY)
    shift = ((CELL - width) // 2, (PICTURE_HEIGHT - height) // 2)
    cell.paste(Image.fromarray(pixels), shift)
    pen = ImageDraw.Draw(cell)
    own = found.boxes[found.boxes["frame"] == frame]
    for track, sides in zip(own["track"].tolist(), own[BOX_COLUMNS].to_numpy(float), strict=True):
        x1, y1, x2, y2 = (round(v * scale) + shift[i % 2] for i, v in enumerate(sides))
        colour = colour_of(track)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=2)
        _tag(pen, (x1, y1), track)
    time_s = found.key_frames.loc[found.key_frames["frame"] == frame, "time_s"].iloc[0]
    low_right = (shift[0] + width - 6, shift[1] + height - 6)
    pen.text(
        low_right, f"{time_s:.1f} s", "#ffffff", font(FONT_SIZE - 2),
        anchor="rs", stroke_width=2, stroke_fill=INK,
    )  # fmt: skip
    sheet.paste(cell, corner)
    _name_persons(sheet, corner, own.index.to_numpy(), found, marks)


def _name_persons(
    sheet: Image.Image,
    corner: tuple[int, int],
    rows: np.ndarray,
    found: Prediction,
    marks: Marks,
) -> None:
    pen = ImageDraw.Draw(sheet)
    left, top = corner[0], corner[1] + PICTURE_HEIGHT + GAP // 2
    letters = font(FONT_SIZE - 1)
    if not len(rows):
        pen.text((left, top), "no person", FAINT, letters)
    for row in rows[:_PERSONS]:
        track, (label, value) = int(found.boxes["track"].iloc[row]), marks.best(int(row))[0]
        _tag(pen, (left, top), track)
        name = fitting(label, CELL - 84, size=FONT_SIZE - 1)
        pen.text((left + 30, top), name, INK, letters)
        pen.text((left + CELL, top), f"{value:.2f}", INK, letters, anchor="ra")
        full = (left + 30, top + 18, left + CELL - 1, top + 20)
        pen.rectangle(full, EMPTY)
        end = left + 30 + round(min(1.0, value) * (CELL - 31))
        pen.rectangle((*full[:2], end, full[3]), colour_of(track))
        top += LINE
    if len(rows) > _PERSONS:
        pen.text((left, top), f"and {len(rows) - _PERSONS} more", FAINT, letters)


def _tag(pen: ImageDraw.ImageDraw, corner: tuple[int, int], track: int) -> None:
    """The number of a track on its colour."""
    letters, colour = font(FONT_SIZE - 3, bold=True), colour_of(track)
    width = round(letters.getlength(f"{track}")) + 8
    x, y = corner
    pen.rectangle((x, y, x + width, y + FONT_SIZE + 1), colour)
    pen.text(
        (x + width / 2, y + (FONT_SIZE + 1) / 2), f"{track}", letters_on(colour), letters, "mm"
    )
