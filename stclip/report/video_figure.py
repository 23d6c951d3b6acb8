"""Clips of a run side by side, in motion: what is said of every scored box, key frame by key frame.

Of each unseen label one typical clip is shown. Nothing is drawn by chance: same scores, same bytes.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from stclip.errors import DataError
from stclip.evaluate.protocol import Protocol
from stclip.inputs.person_tracks import tracks
from stclip.records import BOX_COLUMNS, Data, Scores
from stclip.report.lettering import FAINT, FONT_SIZE, INK, PAPER, RIGHT, WRONG, fitting, font
from stclip.report.overlaps import overlaps_of
from stclip.report.overlay import BAR, ShownPerson, draw_persons
from stclip.report.predictions import combined
from stclip.storage.files import whole_file
from stclip.storage.frame_store import read_pixels

logger = logging.getLogger(__name__)
COLUMNS, PANEL, MARGIN, LINE = 3, 256, 10, 20  # pixels; clips side by side, their width
STRIP = 26  # below each clip: what it is annotated as
BEST_NAMES = 3  # of a box
COLOURS = 96  # of the picture: a GIF of few is small
KMEANS, SAMPLED = 3, 4  # rounds that better the palette, on every 4th row and column
OWN_COLOURS = RIGHT, WRONG, PAPER, INK, BAR, FAINT  # of them, exactly as they are
NOISE = 24  # of 255: a pixel of a frame that changes by no more stays
REST_S = 1.0  # on the last key frame
LEGEND = "blue box: right, orange: wrong; white: annotated; #: the person's track"


@dataclass(frozen=True)
class ShownClip:
    """The key frames of a clip with all that is drawn on them."""

    clip: str
    label: str  # the unseen label that it stands for
    frames: Sequence[int]  # key frames with a scored box, rising
    step_s: float
    persons: Mapping[int, Sequence[ShownPerson]]  # by frame
    annotated: Mapping[int, Float[np.ndarray, "N 4"]]


def shown_clips(
    scores: Scores,
    data: Data,
    *,
    clips: Sequence[str],
    protocol: Protocol,
    patience_s: float,
    count: int,
) -> list[ShownClip]:
    """Choose a clip of each unseen label: of those of most key frames the one of median success.

    Success is the share of boxes that are right: they overlap an annotated person enough, and the
    best label is one of that person's.

    Args:
        scores: of one label group.
        data: ground truth and key frames.
        clips: the test clips of that group.
        protocol: says which overlap is enough.
        patience_s: of the tracks; see `stclip.inputs.person_tracks`.
        count: labels at most, evenly spread over those that there are.

    Raises:
        DataError: no test clip of these labels has a scored box.
    """
    right = _right(scores, data, clips=clips, protocol=protocol)
    table = scores.table.assign(right=right)
    success = table.groupby("clip").agg(right=("right", "mean"), frames=("frame", "nunique"))
    labels = _labels(data, list(map(str, success.index)), scores.labels)
    present = [label for label in scores.labels if label in labels.values()]
    if not present:
        raise DataError(
            f"none of the {len(clips)} test clips has both a scored box and an annotation of "
            f"{scores.labels}; are scores and data of one split?"
        )
    spread = np.linspace(0, len(present) - 1, min(count, len(present))).round().astype(int)
    chosen = []
    for label in (present[number] for number in spread):
        own = success[[labels.get(str(clip)) == label for clip in success.index]]
        longest = own[own["frames"] == own["frames"].max()].sort_values("right", kind="stable")
        chosen.append((str(longest.index[(len(longest) - 1) // 2]), label))
    fps = dict(zip(data.clips.table["clip"], data.clips.table["fps"].astype(float), strict=True))
    return [
        _shown(clip, label, scores, data, right=right, fps=fps, patience_s=patience_s)
        for clip, label in chosen
    ]


def _right(
    scores: Scores, data: Data, *, clips: Sequence[str], protocol: Protocol
) -> Bool[np.ndarray, " N"]:
    """Whether the best label of each box is one of the person whom it overlaps enough."""
    people = data.boxes.table[data.boxes.table["clip"].isin(clips)].reset_index(drop=True)
    nearest, overlap = overlaps_of(scores, people, clips=clips, protocol=protocol).best_person()
    best = np.asarray(scores.labels)[combined(scores).argmax(1)]
    actions = people["actions"].tolist()
    named = [at >= 0 and name in actions[at] for at, name in zip(nearest, best, strict=True)]
    return np.asarray(named, bool) & (overlap >= protocol.iou_threshold)


def _labels(data: Data, clips: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """The first of the labels that each clip is annotated with."""
    table = data.clips.table[data.clips.table["clip"].isin(clips)]
    found = {}
    for clip, actions in zip(table["clip"], table["actions"], strict=True):
        own = [label for label in labels if label in actions]
        if own:
            found[str(clip)] = own[0]
    return found


def _shown(
    clip: str,
    label: str,
    scores: Scores,
    data: Data,
    *,
    right: Bool[np.ndarray, " N"],
    fps: Mapping[str, float],
    patience_s: float,
) -> ShownClip:
    rows = np.flatnonzero(scores.table["clip"] == clip)
    own = scores.table.iloc[rows].reset_index(drop=True)
    numbers = tracks(own, fps=fps, patience_s=patience_s)
    values = combined(scores)[rows]
    persons: dict[int, list[ShownPerson]] = {}
    for at in np.argsort(values.max(1), kind="stable").tolist():  # the best one on top
        best = np.argsort(-values[at], kind="stable")[:BEST_NAMES].tolist()
        persons.setdefault(int(own.loc[at, "frame"]), []).append(
            ShownPerson(
                box_xyxy=own.loc[at, BOX_COLUMNS].astype(float).tolist(),
                names=[(scores.labels[k], float(values[at, k])) for k in best],
                colour=RIGHT if right[rows[at]] else WRONG,
                track=int(numbers[at]) + 1,
            )
        )
    truth = data.boxes.table[data.boxes.table["clip"] == clip]
    keys = data.key_frames.table
    return ShownClip(
        clip=clip,
        label=label,
        frames=sorted(persons),
        step_s=float(keys.loc[keys["clip"] == clip, "step_s"].iloc[0]),
        persons=persons,
        annotated={
            frame: truth.loc[truth["frame"] == frame, BOX_COLUMNS].to_numpy(np.float64)
            for frame in persons
        },
    )


def write_video(
    out: Path, clips: Sequence[ShownClip], frames: Path, *, title: str, lines: Sequence[str]
) -> None:
    """Draw the clips side by side as a GIF; who ends early waits on the last key frame.

    Args:
        out: the picture, a GIF.
        clips: of `shown_clips`.
        frames: of the data set.
        title: the first line.
        lines: below it.

    Raises:
        DataError: a frame is missing or damaged.
    """
    length = max(len(clip.frames) for clip in clips)
    panels = [_panels(clip, frames) for clip in clips]
    pictures = [
        _picture(clips, [own[min(t, len(own) - 1)] for own in panels], title, lines)
        for t in range(length)
    ]
    step_ms = 10 * round(100 * max(clip.step_s for clip in clips))  # a GIF counts in 10 ms
    _write_gif(out, pictures, durations=[step_ms] * (length - 1) + [round(1000 * REST_S)])
    logger.info(
        "video: %d key frames of %d clips, %d ms apart; %s has %.0f kB",
        *(length, len(clips), step_ms, out, out.stat().st_size / 1e3),
    )


def _panels(clip: ShownClip, frames: Path) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The key frames as they are drawn."""
    drawn: list[np.ndarray] = []
    before: np.ndarray | None = None
    for frame in clip.frames:
        pixels = read_pixels(frames, clip.clip, frame)
        if before is not None:  # a GIF stores what changes; noise is not that
            change = np.abs(pixels.astype(np.int16) - before).max(-1, keepdims=True)
            pixels = np.where(change > NOISE, pixels, before)
        before = pixels
        annotated, scale = clip.annotated[frame], PANEL / pixels.shape[1]
        drawn.append(
            draw_persons(pixels, clip.persons[frame], annotated_xyxy=annotated, scale=scale)
        )
    return drawn


def _picture(
    clips: Sequence[ShownClip], panels: Sequence[np.ndarray], title: str, lines: Sequence[str]
) -> Image.Image:
    rows = -(-len(panels) // COLUMNS)
    high = max(len(panel) for panel in panels)
    top = MARGIN + LINE * (2 + len(lines)) + MARGIN // 2
    width = COLUMNS * (PANEL + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, top + rows * (high + STRIP)), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, INK, font(FONT_SIZE, bold=True))
    for number, line in enumerate([*lines, LEGEND], start=1):
        pen.text((MARGIN, MARGIN + number * LINE), line, FAINT, font(FONT_SIZE - 3))
    for number, (clip, panel) in enumerate(zip(clips, panels, strict=True)):
        row, column = divmod(number, COLUMNS)
        left, upper = MARGIN + column * (PANEL + MARGIN), top + row * (high + STRIP)
        sheet.paste(Image.fromarray(panel), (left, upper))
        text = fitting(f"annotated: {clip.label}", PANEL)
        pen.text((left, upper + high + 3), text, INK, font(FONT_SIZE - 1))
    return sheet


def _write_gif(out: Path, pictures: Sequence[Image.Image], *, durations: Sequence[int]) -> None:
    """All pictures in one palette, so that nothing flickers; without dithering, which costs."""
    own = [int(colour[i : i + 2], 16) for colour in OWN_COLOURS for i in (1, 3, 5)]
    most = COLOURS - len(OWN_COLOURS)
    some = np.concatenate([np.asarray(each)[::SAMPLED, ::SAMPLED] for each in pictures])
    found = Image.fromarray(some).quantize(most, Image.Quantize.MAXCOVERAGE, kmeans=KMEANS)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*own, *(found.getpalette() or [])[: 3 * most]])
    first, *others = (
        picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures
    )
    with whole_file(out) as temporary:
        first.save(
            temporary, "gif", save_all=True, append_images=others, duration=list(durations), loop=0
        )
