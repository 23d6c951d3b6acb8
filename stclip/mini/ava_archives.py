"""Writes the miniature as AVA v2.2 comes: a zip of annotations, the list of films, the films.

Beside them lie the boxes of the props at the key frames, as a detector of objects would hand them
out: COCO results and the list of images that they are of.

Layout, names and formats are those of the real files, so that the same parser reads both: the csv
files have no header and a row per person and class, some seconds are excluded though they have
rows, some have no person and so no row, and films come in several containers and at several rates.
A film begins at second 0; its first and last seconds are not annotated, as the real films' are not.
"""

import logging
import string
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from stclip.errors import ConfigError
from stclip.mini.archive_files import (
    ThingBoxes,
    add_to_zip,
    check_counts,
    drawn_in_order,
    write_listing,
    xywh,
)
from stclip.mini.ava.containers import CONTAINERS, film_file
from stclip.mini.ava.film import HEIGHT, WIDTH, KeyFrame, render_film
from stclip.mini.ava.repertoire import AvaRepertoire, load_ava_repertoire
from stclip.progress import Progress
from stclip.storage.files import whole_file

logger = logging.getLogger(__name__)
ANNOTATIONS, FILM_LIST = "ava_v2.2.zip", "ava_file_names_trainval_v2.1.txt"
Side = Literal["train", "val"]
SIDES: tuple[Side, ...] = ("train", "val")
FIRST_SECOND, MARGIN_SECONDS = 2, 2  # annotated from here on, but for the last seconds
LEAST_SECONDS, LEAST_ANNOTATED = 8, 2  # of a film
SUFFIXES = {".mkv": 0.68, ".mp4": 0.28, ".webm": 0.04}  # shares as among the 299 real films
RATES = {  # frames a second; most films are of half a cinema's rate, to be drawn in little time
    Fraction(12000, 1001): 0.82,
    Fraction(24000, 1001): 0.05,
    Fraction(24): 0.04,
    Fraction(25): 0.05,
    Fraction(30): 0.04,
}
FIRST_FILMS = (  # containers and rates that even a few films have
    (".mkv", Fraction(25)),
    (".mp4", Fraction(12000, 1001)),
    (".webm", Fraction(24)),
    (".mkv", Fraction(24000, 1001)),
    (".mp4", Fraction(30)),
)
OFFSETS, OFFSET_CHANCE = (0.2, 2.0), 0.3  # seconds at which a Matroska film may begin
EXCLUDED_CHANCE, MOST_EXCLUDED = 0.12, 3  # that a film has excluded seconds, and how many
ID_LENGTH, ID_LETTERS = 11, string.ascii_letters + string.digits + "-_"
ID_SEED = 17  # names are the same whatever the films' seed is


@dataclass(frozen=True)
class _Job:
    """One film to draw."""

    seed: int
    side: Side
    index: int  # among the films of its side
    video: str  # its id
    theme: str
    seconds: int
    annotated: range  # of them
    height: int  # rows


@dataclass(frozen=True)
class _Packed:
    """One film as a file, and what is known about it."""

    job: _Job
    name: str
    content: bytes
    num_frames: int
    key_frames: tuple[KeyFrame, ...]  # the annotated ones
    excluded: tuple[int, ...]  # seconds


def render_ava(
    out: Path,
    *,
    seed: NonNegativeInt,
    train_films: PositiveInt = 48,
    val_films: PositiveInt = 36,
    seconds: PositiveInt = 30,
    first: PositiveInt = FIRST_SECOND,
    margin: PositiveInt = MARGIN_SECONDS,
    height: PositiveInt = HEIGHT,
    workers: int = 1,
) -> None:
    """Render the mini AVA into the folder `out`: annotations, list of films, films, props.

    Args:
        out: folder of the files; each is written whole or not at all, the checksums last.
        seed: same seed, same bytes, whatever the number of workers.
        train_films: films of the training set.
        val_films: films of the validation set.
        seconds: how long a film is.
        first: the first annotated one of them.
        margin: how many at the end are not annotated.
        height: rows of the films, which are drawn in 108 and enlarged.
        workers: processes to render with.

    Raises:
        ConfigError: there would be no films of a side, films are too short, or there are no
            workers.
    """
    check_counts(workers=workers, of="each side", train_films=train_films, val_films=val_films)
    if seconds < LEAST_SECONDS:
        raise ConfigError(f"seconds is {seconds}; a film needs at least {LEAST_SECONDS}.")
    repertoire = load_ava_repertoire()
    annotated = annotated_seconds(seconds, first=first, margin=margin)
    if len(annotated) < LEAST_ANNOTATED:
        raise ConfigError(
            f"of {seconds} seconds {len(annotated)} lie from {first} on and {margin} before the "
            f"end; at least {LEAST_ANNOTATED} are needed."
        )
    counts: dict[Side, int] = {"train": train_films, "val": val_films}
    jobs = list(_jobs(repertoire, seed, counts, seconds, annotated, height))
    kinds = {thing.kind for thing in repertoire.things.values() if thing.kind is not None}
    things = ThingBoxes(sorted(kinds))
    rows: dict[Side, list[str]] = {side: [] for side in SIDES}
    excluded: dict[Side, list[str]] = {side: [] for side in SIDES}
    names: list[str] = []
    num_frames = num_boxes = 0
    progress = Progress("render", total=len(jobs))
    with closing(drawn_in_order(_pack, jobs, workers=workers)) as films:
        for packed in films:
            with whole_file(out / packed.name) as path:
                path.write_bytes(packed.content)
            progress.advance()
            names.append(packed.name)
            num_frames += packed.num_frames
            num_boxes += sum(len(key.persons) for key in packed.key_frames)
            video, side = packed.job.video, packed.job.side
            rows[side] += _rows(packed, repertoire)
            excluded[side] += [f"{video},{second:04d}\n" for second in packed.excluded]
            for key in packed.key_frames:
                factor = height / HEIGHT
                boxes = [(prop.kind, xywh(prop.box_xyxy, factor=factor)) for prop in key.props]
                things.add(f"{video}/{key.second:04d}.jpg", boxes)
    included = [f"{second:04d}\n" for second in annotated]
    with whole_file(out / ANNOTATIONS) as path, zipfile.ZipFile(path, "w") as archive:
        for side in SIDES:
            add_to_zip(archive, f"ava_{side}_v2.2.csv", "".join(rows[side]).encode())
            name = f"ava_{side}_excluded_timestamps_v2.2.csv"
            add_to_zip(archive, name, "".join(excluded[side]).encode())
        add_to_zip(archive, "ava_included_timestamps_v2.2.txt", "".join(included).encode())
        action_list = _action_list(repertoire).encode()
        add_to_zip(archive, "ava_action_list_v2.2.pbtxt", action_list)
    with whole_file(out / FILM_LIST) as path:
        path.write_text("".join(f"{name}\n" for name in sorted(names)), "utf-8")
    things.write(out)
    write_listing(out, [ANNOTATIONS, FILM_LIST, *things.FILES, *names])
    logger.info(
        "rendered %d films (%d train, %d val) with %d frames; of %d key frames %d boxes of persons "
        "with %d labels and %d of props, %d seconds excluded (seed %d) into %s: %.1f MB of films",
        len(names),
        train_films,
        val_films,
        num_frames,
        len(things.images),
        num_boxes,
        sum(map(len, rows.values())),
        len(things.boxes),
        sum(map(len, excluded.values())),
        seed,
        out,
        sum((out / name).stat().st_size for name in names) / 1e6,
    )


def annotated_seconds(
    seconds: int, *, first: int = FIRST_SECOND, margin: int = MARGIN_SECONDS
) -> range:
    """The seconds of a film that are annotated; `seconds` is its length."""
    return range(first, seconds - margin)


def film_names(*, train_films: int, val_films: int) -> list[str]:
    """The files that films are written into, training first; they do not depend on the seed."""
    counts: dict[Side, int] = {"train": train_films, "val": val_films}
    return [
        video + _form(side, index)[0]
        for side, videos in _ids(counts).items()
        for index, video in enumerate(videos)
    ]


def _jobs(
    repertoire: AvaRepertoire,
    seed: int,
    counts: dict[Side, int],
    seconds: int,
    annotated: range,
    height: int = HEIGHT,
) -> Iterator[_Job]:
    for side, videos in _ids(counts).items():
        shares = {
            name: theme.train if side == "train" else theme.val
            for name, theme in repertoire.themes.items()
        }
        themes = _in_turn(shares, len(videos))
        for index, (video, theme) in enumerate(zip(videos, themes, strict=True)):
            yield _Job(seed, side, index, video, theme, seconds, annotated, height)


def _ids(counts: dict[Side, int]) -> dict[Side, list[str]]:
    """Ids as YouTube's; those that begin with - or _ are among the first, as they are real too.

    Those of a side are the same however many there are of the other.
    """
    ids: dict[Side, list[str]] = {}
    for number, side in enumerate(SIDES):
        rng = np.random.default_rng([ID_SEED, number])
        letters = [
            "".join(ID_LETTERS[i] for i in rng.integers(len(ID_LETTERS), size=ID_LENGTH))
            for _ in range(counts[side])
        ]
        for index, first in enumerate("-_"[: counts[side]]):
            letters[index] = first + letters[index][1:]
        ids[side] = letters
    return ids


def _in_turn(shares: dict[str, int], count: int) -> list[str]:
    """`count` names by their shares, so mixed that the first few have them about right too."""
    total = sum(shares.values())
    names: list[str] = []
    for number in range(1, count + 1):
        lacks = {name: part * number / total - names.count(name) for name, part in shares.items()}
        names.append(max(lacks, key=lacks.__getitem__))
    return names


def _form(side: Side, index: int) -> tuple[str, Fraction]:
    """Container and rate of a film; they are fixed by its place, as its name is."""
    if index < len(FIRST_FILMS):
        return FIRST_FILMS[index]
    rng = np.random.default_rng([ID_SEED, SIDES.index(side), index])
    suffix = rng.choice(list(SUFFIXES), p=list(SUFFIXES.values()))
    return str(suffix), list(RATES)[rng.choice(len(RATES), p=list(RATES.values()))]


def _pack(job: _Job) -> _Packed:
    """Render and encode one film; a function of its argument alone."""
    rng = np.random.default_rng([job.seed, SIDES.index(job.side), job.index])
    suffix, rate = _form(job.side, job.index)
    film = render_film(job.theme, load_ava_repertoire(), seconds=job.seconds, rate=rate, rng=rng)
    starts_at = Fraction(0)
    if suffix == ".mkv" and (job.index == 0 or rng.random() < OFFSET_CHANCE):
        starts_at = Fraction(rng.uniform(*OFFSETS)).limit_denominator(1000)
    excluded: Sequence[int] = ()
    if job.index == 0 or rng.random() < EXCLUDED_CHANCE:
        count = min(int(rng.integers(1, MOST_EXCLUDED, endpoint=True)), len(job.annotated) - 1)
        excluded = sorted(rng.choice(job.annotated, count, replace=False).tolist())
    content = film_file(
        film.frames, CONTAINERS[suffix], rate=rate, starts_at=starts_at, height=job.height
    )
    keys = tuple(key for key in film.key_frames if key.second in job.annotated)
    return _Packed(job, job.video + suffix, content, len(film.frames), keys, tuple(excluded))


def _rows(packed: _Packed, repertoire: AvaRepertoire) -> Iterator[str]:
    """Lines of the csv: video, second, box (0..1), class, person. Persons count from 0."""
    numbers: dict[int, int] = {}
    for key in packed.key_frames:
        rows = []
        for seen in key.persons:
            person = numbers.setdefault(seen.person, len(numbers))
            x1, y1, x2, y2 = (int(v) for v in seen.box_xyxy)
            box = (x1 / WIDTH, y1 / HEIGHT, (x2 + 1) / WIDTH, (y2 + 1) / HEIGHT)
            for label in seen.labels:
                rows.append((*box, repertoire.action_list.numbers[label], person))
        for *corners_xyxy, action, person in sorted(rows):
            corners = ",".join(f"{corner:.3f}" for corner in corners_xyxy)
            yield f"{packed.job.video},{key.second:04d},{corners},{action},{person}\n"


def _action_list(repertoire: AvaRepertoire) -> str:
    """The classes as protocol buffers write them."""
    return "".join(
        f'label {{\n  name: "{name}"\n  label_id: {number}\n  label_type: {kind}\n}}\n'
        for number, (name, kind) in enumerate(repertoire.action_list.classes, start=1)
    )
