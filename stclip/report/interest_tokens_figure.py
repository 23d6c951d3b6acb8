"""Draws the interest tokens of a person: which parts of the frame prompt the label texts.

Interest token spotting: Huang et al. 2025, section 3.4, Figures 4 and 5. Nothing is drawn by
chance: same scores and weights, same picture.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from PIL import Image, ImageDraw

from stclip.errors import DataError
from stclip.records import BOX_COLUMNS, Scores
from stclip.report.lettering import EMPTY, FAINT, FONT_SIZE, INK, PAPER, fitting, font
from stclip.storage.files import whole_file
from stclip.storage.frame_store import read_frame

logger = logging.getLogger(__name__)
WIDTH, TEXT_WIDTH, MARGIN, LINE, GAP = 640, 380, 16, 25, 6  # pixels
TARGET, TOKEN, OTHER = "#d55e00", "#0072b2", "#56b4e9"  # of Okabe and Ito's colours
FADED = 0.7  # how far what prompts nothing goes to white


@dataclass(frozen=True)
class HelpedPerson:
    """A person of an unseen label, and the scores of that label."""

    row: int  # of the scores
    label: str


@dataclass(frozen=True)
class Said:
    """What one run says of the person."""

    tokens: str  # which tokens prompt the texts
    score: float  # of the true label
    best: str  # the label of the highest score
    best_score: float


@dataclass(frozen=True)
class TokenPicture:
    """All that the picture shows of a person."""

    clip: str
    frame: int
    window: Sequence[int]  # the frames that the method sees
    label: str
    box: Float[np.ndarray, " 4"]  # of the person; here and below xyxy in pixels of the frame
    others: Float[np.ndarray, "others 4"]  # persons of the frame
    person: int  # number of the person among all of the frame, as tokens count them
    tokens: Int[np.ndarray, " k"]  # numbers as in `stclip.score.explain`
    patches: Float[np.ndarray, "N 4"]  # of the whole frame, row by row
    said: Sequence[Said]

    @property
    def num_people(self) -> int:
        """Persons of the frame."""
        return 1 + len(self.others)

    @property
    def shown_patches(self) -> list[int]:
        """Those that are interest tokens, from 0."""
        first = 1 + self.num_people
        return sorted(int(token) - first for token in self.tokens if token >= first)

    @property
    def token_lines(self) -> list[str]:
        """What the interest tokens are, in words."""
        persons = [int(token) - 1 for token in self.tokens if 1 <= token <= self.num_people]
        own, others = persons.count(self.person), len(persons) - persons.count(self.person)
        patches, everything = len(self.shown_patches), 1 + self.num_people + len(self.patches)
        return [
            f"{len(self.tokens)} of {everything} tokens prompt this person's texts:",
            f"{patches} of {len(self.patches)} patches (outlined, in full colour)",
            f"{'the' if 0 in self.tokens else 'not the'} class token",
            f"{'the' if own else 'not the'} person's own token",
            *([f"{others} of {len(self.others)} other persons"] if len(self.others) else []),
        ]


def most_helped(
    interest: Scores, everything: Scores, table: pd.DataFrame, *, place: int
) -> HelpedPerson:
    """Find the person whom interest tokens help, by the probability of the true unseen label.

    Of each label the person whose probability rises most counts; ties go to the first.

    Args:
        interest: of the run whose texts are prompted by interest tokens.
        everything: of the run whose texts are prompted by all tokens.
        table: of `select_boxes`, the scored boxes with their `actions`.
        place: 1 is the label whose person gains most.

    Raises:
        DataError: the runs have scored other boxes or labels, or there are fewer labels.
    """
    boxes = table[["clip", "frame", *BOX_COLUMNS]].reset_index(drop=True)
    for scores in (interest, everything):
        own = scores.table[["clip", "frame", *BOX_COLUMNS]]
        if scores.labels != interest.labels or not own.equals(boxes.astype(own.dtypes.to_dict())):
            raise DataError(
                f"scores of {len(own)} boxes and the labels {scores.labels} are not those of the "
                f"{len(boxes)} annotated boxes and {interest.labels}; run the score stage again."
            )
    gains = interest.probabilities - everything.probabilities
    index = {label: number for number, label in enumerate(interest.labels)}
    best: dict[str, tuple[float, int]] = {}
    for row, actions in enumerate(table["actions"]):
        for label in actions:
            if label in index:
                gain = float(gains[row, index[label]])
                if label not in best or gain > best[label][0]:
                    best[label] = gain, row
    ranked = sorted(best, key=lambda label: (-best[label][0], index[label]))
    if place > len(ranked):
        raise DataError(
            f"place {place} of {len(ranked)} unseen labels with annotated persons {ranked}; name "
            "a lower place, or a split with more of them."
        )
    label = ranked[place - 1]
    logger.info("figure: interest tokens help %s by %+.3f", label, best[label][0])
    return HelpedPerson(best[label][1], label)


def said_of(person: HelpedPerson, scores: Scores, *, tokens: str) -> Said:
    """What a run says of the person; `tokens` says which prompt its texts."""
    values = scores.probabilities[person.row]
    best = int(values.argmax())
    own = float(values[scores.labels.index(person.label)])
    return Said(tokens, own, scores.labels[best], float(values[best]))


def write_interest_tokens(
    out: Path, shown: TokenPicture, frames: Path, *, title: str, lines: Sequence[str]
) -> None:
    """Draw the key frame with its interest tokens, the scores beside it, the window below.

    Args:
        out: the picture, a PNG.
        shown: what is drawn.
        frames: of the data set.
        title: the first line.
        lines: below it.

    Raises:
        DataError: a frame is missing or damaged.
    """
    picture = _key_frame(shown, read_frame(frames, shown.clip, shown.frame))
    strip = _window(shown, frames, width=WIDTH + TEXT_WIDTH + MARGIN)
    top = MARGIN + LINE * (1 + len(lines)) + MARGIN // 2
    beside = LINE * (6 + 3 * len(shown.said) + len(shown.token_lines)) + 2 * MARGIN
    middle = top + max(picture.height, beside) + MARGIN
    size = (WIDTH + TEXT_WIDTH + 3 * MARGIN, middle + LINE + strip.height + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    sheet.paste(picture, (MARGIN, top))
    sheet.paste(strip, (MARGIN, middle + LINE))
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, INK, font(FONT_SIZE + 2, bold=True))
    for number, line in enumerate(lines, start=1):
        pen.text((MARGIN, MARGIN + LINE * number), line, FAINT, font(FONT_SIZE - 2))
    _write_beside(pen, shown, left=WIDTH + 2 * MARGIN, top=top)
    first, last = shown.window[0], shown.window[-1]
    text = f"what the method sees: frames {first} to {last}; outlined: the key frame"
    pen.text((MARGIN, middle), text, FAINT, font(FONT_SIZE - 2))
    with whole_file(out) as temporary:
        sheet.save(temporary, "png", compress_level=6)


def _key_frame(shown: TokenPicture, frame: Image.Image) -> Image.Image:
    """The frame, pale but for the patches that are interest tokens, with boxes of its persons."""
    scale = WIDTH / frame.width
    size = WIDTH, round(frame.height * scale)
    full = frame.resize(size, Image.Resampling.BICUBIC)
    picture = Image.blend(full.convert("L").convert("RGB"), Image.new("RGB", size, PAPER), FADED)

    def corners(box: np.ndarray) -> tuple[int, int, int, int]:
        x1, y1, x2, y2 = (round(float(value) * scale) for value in box)
        return x1, y1, max(x1, x2), max(y1, y2)

    for number in shown.shown_patches:
        place = corners(shown.patches[number])
        picture.paste(full.crop(place), place[:2])
    pen = ImageDraw.Draw(picture)
    for number in shown.shown_patches:
        pen.rectangle(corners(shown.patches[number]), outline=TOKEN, width=1)
    for box, colour in [*((other, OTHER) for other in shown.others), (shown.box, TARGET)]:
        pen.rectangle(corners(box), outline=PAPER, width=6)
        x1, y1, x2, y2 = corners(box)
        pen.rectangle((x1 + 1, y1 + 1, x2 - 1, y2 - 1), outline=colour, width=4)
    return picture


def _window(shown: TokenPicture, frames: Path, *, width: int) -> Image.Image:
    """The frames of the window side by side."""
    count = len(shown.window)
    each = (width - GAP * (count - 1)) // count
    pictures = [read_frame(frames, shown.clip, frame) for frame in shown.window]
    height = round(each * pictures[0].height / pictures[0].width)
    strip = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(strip)
    for number, (frame, picture) in enumerate(zip(shown.window, pictures, strict=True)):
        left = number * (each + GAP)
        strip.paste(picture.resize((each, height), Image.Resampling.BICUBIC), (left, 0))
        if frame == shown.frame:
            pen.rectangle((left, 0, left + each - 1, height - 1), outline=TARGET, width=4)
    return strip


def _write_beside(pen: ImageDraw.ImageDraw, shown: TokenPicture, *, left: int, top: int) -> None:
    """Who the person is, what the runs say, what the tokens are."""
    down = top

    def write(text: str, colour: str, *, bold: bool = False) -> None:
        nonlocal down
        pen.text((left, down), fitting(text, TEXT_WIDTH, bold=bold), colour, font(bold=bold))
        down += LINE

    write(shown.clip, FAINT)
    write(f"frame {shown.frame}", FAINT)
    write(f"orange box: {shown.label}", TARGET, bold=True)
    if len(shown.others):
        write(f"blue boxes: {len(shown.others)} other annotated persons", TOKEN)
    down += MARGIN // 2
    write(f"score of {shown.label}, the text prompted by", INK, bold=True)
    for said in shown.said:
        write(said.tokens, INK)
        right = left + TEXT_WIDTH - 60
        end = left + round(min(1.0, said.score) * (right - left))
        pen.rectangle((left, down + 4, right, down + 16), EMPTY)
        pen.rectangle((left, down + 4, end, down + 16), TARGET)
        pen.text((left + TEXT_WIDTH, down), f"{said.score:.2f}", INK, font(bold=True), anchor="ra")
        down += LINE
        best = said.best == shown.label
        write(
            "highest of the unseen labels" if best
            else f"highest: {said.best}, {said.best_score:.2f}",
            FAINT,
        )  # fmt: skip
    down += MARGIN // 2
    first, *others = shown.token_lines
    write(first, TOKEN, bold=True)
    for line in others:
        write(line, INK)
