"""Draws the contact sheet of a data set: a row of frames for each class, and who shows it."""

import logging
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stclip.errors import DataError
from stclip.records import Boxes, Clips
from stclip.storage.files import whole_file
from stclip.storage.frame_store import read_frame

logger = logging.getLogger(__name__)
COLUMNS = 6
CELL_WIDTH = 160  # pixels; the height follows from the frames
LABEL_WIDTH, GAP = 150, 4
PAPER, INK, BOX = (250, 250, 250), (40, 40, 40), (40, 40, 220)  # BGR
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5


def write_samples(clips: Clips, boxes: Boxes, frames: Path, out: Path) -> None:
    """Write a contact sheet (PNG): per class six frames of its first clip with its boxes.

    Where that clip shows the class less often, they are of all its clips. The classes stand in two
    columns.

    Raises:
        DataError: there are no clips, a clip has no boxes of its class, or a frame is missing.
    """
    first: dict[str, str] = {}
    for clip, actions in zip(clips.table["clip"], clips.table["actions"], strict=True):
        for action in actions:
            first.setdefault(action, clip)
    if not first:
        raise DataError("no clip to show; run the prepare stage first.")
    rows = [_row(action, first[action], boxes, frames) for action in sorted(first)]
    if odd := len(rows) % 2:
        rows.append(np.full_like(rows[0], PAPER))
    half = len(rows) // 2
    height = max(len(row) for row in rows)
    padded = [_padded(row, height) for row in rows]
    sheet = np.concatenate([np.concatenate(padded[:half]), np.concatenate(padded[half:])], 1)
    sheet = cv2.copyMakeBorder(sheet, GAP, 0, GAP, 0, cv2.BORDER_CONSTANT, value=PAPER)
    with whole_file(out) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
    logger.info("%s: %d classes, one clip of each", out, len(rows) - odd)


def _row(action: str, clip: str, boxes: Boxes, frames: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Name of a class and frames with the boxes of those who show it."""
    mine = boxes.table[np.array([action in own for own in boxes.table["actions"]], bool)]
    of_first = mine[mine["clip"] == clip]
    if of_first.empty:
        raise DataError(f"clip {clip!r} has no boxes of {action!r}; run the prepare stage again.")
    shown = of_first if of_first["frame"].nunique() >= COLUMNS else mine
    known = shown[["clip", "frame"]].drop_duplicates().to_numpy()
    cells = []
    for of, frame in known[np.linspace(0, len(known) - 1, COLUMNS).round().astype(int)]:
        rows = shown.index[(shown["clip"] == of) & (shown["frame"] == frame)]
        cells.append(_cell(read_frame(frames, of, frame), boxes.boxes_xyxy[rows]))
    label = np.full((len(cells[0]), LABEL_WIDTH, 3), PAPER, np.uint8)
    place = (8, len(label) // 2 + 4)
    (width, _), _ = cv2.getTextSize(action, FONT, FONT_SCALE, 1)
    scale = FONT_SCALE * min(1, (LABEL_WIDTH - 2 * place[0]) / width)
    cv2.putText(label, action, place, FONT, scale, INK, 1, cv2.LINE_AA)
    return np.concatenate([label, *cells], 1)


def _cell(picture: Image.Image, boxes_xyxy: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """A frame at the sheet's width with its boxes and a gap to its right and below."""
    image = np.asarray(picture)[:, :, ::-1]  # BGR, as OpenCV wants it
    scale = CELL_WIDTH / image.shape[1]
    size = (CELL_WIDTH, round(image.shape[0] * scale))
    cell = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    for x1, y1, x2, y2 in boxes_xyxy:
        left, top, right, bottom = (round(v * scale) for v in (x1, y1, x2 + 1, y2 + 1))
        cv2.rectangle(cell, (left, top), (right, bottom), BOX, 1)
    return cv2.copyMakeBorder(cell, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=PAPER)


def _padded(row: UInt8[np.ndarray, "H W 3"], height: int) -> UInt8[np.ndarray, "H W 3"]:
    missing = height - len(row)
    return cv2.copyMakeBorder(row, 0, missing, 0, 0, cv2.BORDER_CONSTANT, value=PAPER)
