"""AVA: films, or pictures cut from them, and the annotations -> frames, Boxes, Clips.

A clip is the annotated part of a film, from some seconds before its first key frame to some behind
its last one; what is stored of it `stclip.prepare.moments` tells. Annotations are as
`stclip.prepare.ava_annotations` tells.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from stclip.errors import DataError
from stclip.prepare.ava_annotations import Side, Truth, read_truth
from stclip.prepare.counts import COUNTS_FILE
from stclip.prepare.film_pictures import CutPictures, find_pictures
from stclip.prepare.films import find_films
from stclip.prepare.moments import FilmSource, Moments, StoredFilm, moments_depend_on
from stclip.prepare.resumable import ClipJob, store_clips
from stclip.prepare.store import write_prepared
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.files import write_json
from stclip.storage.frame_store import StoreName

logger = logging.getLogger(__name__)

_RATES = (10, 61)  # frames/s of films; others are told
_SHOWN = 10  # names in a warning


def prepare(
    raw: Path,
    out: Path,
    *,
    annotations: dict[Side, str],
    label_map: str,
    included: str,
    excluded: list[str],
    licence: str,
    sha256: dict[str, str] | None = None,
    pictures: CutPictures | None = None,
    without: Sequence[str] = (),
    context_s: int = 4,
    rate: Literal[25, 30] | None = None,
    short_side: int = 256,
    frame_store: StoreName = "jpeg",
) -> None:
    """Write `out`/frames, boxes.parquet, counts.json and, last, clips.parquet.

    A try that is killed is gone on with: a film that was stored is not decoded again, if its file
    has still the same size and time. Boxes are corners in pixels of the stored frames.

    Args:
        raw: Folder of the files below and of the films, or of folders with them.
        out: Folder of the prepared data; other files in it are left alone.
        annotations: The csv of each official split. It and the files below are named `file`, or
            `archive/file` where they lie in one.
        label_map: Names and kinds of the actions, a .pbtxt.
        included: The seconds that have key frames, one a line.
        excluded: csv files `video,second` of key frames that count on neither side. Their boxes
            are kept and counted.
        licence: Written into every row of clips.parquet.
        sha256: What those files are known by, by file name; null: by nothing.
        pictures: How the films were cut into pictures; null: they are films.
        without: Names of films to go on without.
        context_s: Seconds stored before the first key frame and behind the last one.
        rate: Frames/s of four frames before and four behind each key frame; null: one frame a
            second.
        short_side: Pixels that the shorter side of a stored frame has at most.
        frame_store: How the frames are stored (`stclip.storage.frame_store`).

    Raises:
        DataError: a file is missing, damaged or not of its form; or films, all named in one
            message, are missing, do not decode or end before their annotations.
    """
    truth = read_truth(
        raw,
        annotations,
        label_map=label_map,
        included=included,
        excluded=excluded,
        sha256=sha256,
    )
    kept, counts = _leave_out(truth, without)
    first, last = min(truth.seconds), max(truth.seconds)
    moments = Moments(max(first - context_s, 0), last + context_s, rate)
    if pictures is None:
        sources = find_films(raw, kept)
    else:
        sources = find_pictures(raw, kept, pictures, moments)
    _refuse_missing(raw, kept, sources, "films" if pictures is None else pictures.files)
    depends_on = moments_depend_on(moments, short_side, frame_store)

    def build(folder: Path) -> tuple[Clips, Boxes]:
        how = {"moments": moments, "short_side": short_side}
        jobs = (
            ClipJob(name, its.identity, partial(its.store, name, folder, frame_store, **how))
            for name, its in sources.items()
        )
        stored = store_clips(
            jobs, StoredFilm, folder, frame_store, depends_on=depends_on, total=len(sources),
            check=_Check(truth, moments, sources),
        )  # fmt: skip
        boxes = _boxes_table(truth, stored, moments)
        clips = _clips_table(truth, stored, moments, licence)
        _warn(stored, truth, moments)
        logger.info(
            "AVA: %d films, %d frames, %d boxes in %d key frames",
            *(len(clips), clips.table["num_frames"].sum(), len(boxes)),
            len(boxes.table[["clip", "frame"]].drop_duplicates()),
        )
        write_json(out / COUNTS_FILE, truth.counts | counts)
        return clips, boxes

    write_prepared(out, build, resume=depends_on)


def ground_truth(
    folder: Path,
    *,
    annotations: dict[Side, str],
    label_map: str,
    included: str,
    excluded: list[str],
    licence: str,
    sha256: dict[str, str] | None = None,
) -> tuple[tuple[Clips, Boxes], dict[str, int]]:
    """The files of annotations alone, without a film; and what they count themselves.

    Args are those of `prepare`. Frames are numbered from the first second with a key frame on;
    corners are shares of the picture, and what a film tells (its size and length) is 0.

    Raises:
        DataError: a file is missing, damaged or not of its form.
    """
    truth = read_truth(
        folder,
        annotations,
        label_map=label_map,
        included=included,
        excluded=excluded,
        sha256=sha256,
    )
    unseen = {name: StoredFilm(num_frames=0, height=1, width=1) for name in truth.official}
    moments = Moments(min(truth.seconds), max(truth.seconds))
    clips = _clips_table(truth, unseen, moments, licence).table.assign(height=0, width=0)
    counts = truth.counts | {"films left out": 0}
    return (Clips(clips), _boxes_table(truth, unseen, moments)), counts


def _leave_out(truth: Truth, without: Collection[str]) -> tuple[list[str], dict[str, int]]:
    """The films to read, and what goes with the others.

    Raises:
        DataError: a name is none of a film, or no film of an official split stays.
    """
    unknown = sorted({*without} - {*truth.official})
    if unknown:
        raise DataError(f"without: {unknown} have no annotations; correct the names.")
    kept = sorted(truth.official.keys() - {*without})
    sides = {truth.official[name] for name in kept}
    gone = sorted({*truth.official.values()} - sides)
    if gone:
        raise DataError(f"without: no film of {', '.join(gone)} stays; get some of them.")
    counts = {"films left out": len(truth.official) - len(kept)}
    for name in sorted({*without}):
        own = truth.boxes[truth.boxes["video"] == name]
        seconds = own["second"].nunique()
        counts |= {
            f"left out, {name}: annotated key frames": seconds,
            f"left out, {name}: boxes": len(own),
        }
        logger.warning(
            "without film %s (%s): %d annotated key frames, %d boxes",
            *(name, truth.official[name], seconds, len(own)),
        )
    return kept, counts


def _refuse_missing(
    raw: Path, wanted: Collection[str], sources: Mapping[str, FilmSource], what: str
) -> None:
    missing = sorted({*wanted} - sources.keys())
    if missing:
        raise DataError(
            f"{raw}: {len(missing)} of {len(wanted)} annotated films are not there ({what}): "
            f"{', '.join(missing)}. {_way_out(missing)}"
        )


def _way_out(names: Sequence[str]) -> str:
    return (
        "Get them, or go on without them: `params: {without: ["
        f"{', '.join(map(repr, names))}]}}` of the data set."
    )


class _Check:
    """Collects what is wrong with films, so that all of them are named, and no work is lost."""

    def __init__(self, truth: Truth, moments: Moments, sources: Mapping[str, FilmSource]) -> None:
        self.truth, self.moments, self.sources = truth, moments, sources
        self.problems: dict[str, str] = {}
        self.num_checked = 0

    def __call__(self, clip: str, film: StoredFilm) -> None:
        """Raise what was found when the last film is checked."""
        if problem := film.problem or self._lacks(clip, film):
            self.problems[clip] = problem
            logger.warning("%s: %s", self.sources[clip].where, problem)
        self.num_checked += 1
        if self.num_checked == len(self.sources) and self.problems:
            listed = "".join(
                f"\n  {self.sources[name].where}: {problem}"
                for name, problem in sorted(self.problems.items())
            )
            raise DataError(
                f"{len(self.problems)} of {len(self.sources)} films cannot be used:{listed}\n"
                f"The others are kept. {_way_out(sorted(self.problems))}"
            )

    def _lacks(self, clip: str, film: StoredFilm) -> str:
        """Which key frames a film lacks that it must have."""
        missing = set(film.missing)
        own = self.truth.boxes.loc[self.truth.boxes["video"] == clip, "second"].unique().tolist()
        # before its first picture, which is stored in their place
        early = [
            second
            for second in self.truth.seconds
            if self.moments.frame_of(second) < film.num_frames
        ]
        gone = [s for s in sorted({*own, *early}) if self.moments.frame_of(s) in missing]
        if not gone:
            return ""
        return (
            f"has no picture for {len(gone)} key frames, seconds {gone[0]} to {gone[-1]}; as it "
            f"says, it is {film.length_s:.0f} s long"
        )


def _warn(stored: Mapping[str, StoredFilm], truth: Truth, moments: Moments) -> None:
    """Tell, once, of which films something is odd."""
    last = moments.frame_of(max(truth.seconds))
    odd: dict[str, list[str]] = {
        "end before the last second with a key frame, nobody is annotated after it": [
            name for name, film in stored.items() if film.num_frames <= last
        ],
        f"have a rate beyond {_RATES[0]} to {_RATES[1]} frames/s": [
            f"{name} ({film.rate:.3f})"
            for name, film in stored.items()
            if not _RATES[0] <= film.rate <= _RATES[1]
        ],
        "have gaps: frames are more than half a second from their moment": [
            f"{name} ({film.num_far} frames)" for name, film in stored.items() if film.num_far
        ],
        "have damaged frames that the decoder mended": [
            f"{name} ({film.num_damaged})" for name, film in stored.items() if film.num_damaged
        ],
    }
    for what, names in odd.items():
        if names:
            more = ", ..." if names[_SHOWN:] else ""
            logger.warning("%d films %s: %s%s", len(names), what, ", ".join(names[:_SHOWN]), more)


def _clips_table(
    truth: Truth, stored: Mapping[str, StoredFilm], moments: Moments, licence: str
) -> Clips:
    numbers = truth.boxes.explode("actions").groupby("video")["actions"].unique()
    actions = pd.Series([[truth.labels[n] for n in sorted(numbers[name])] for name in stored])
    return Clips(
        pd.DataFrame(
            {
                "clip": list(stored),
                "official_split": [truth.official[name] for name in stored],
                "num_frames": [film.num_frames for film in stored.values()],
                "height": [film.height for film in stored.values()],
                "width": [film.width for film in stored.values()],
                "fps": float(moments.per_second),
                "licence": licence,
                "actions": actions,
            }
        ).sort_values("clip")
    )


def _boxes_table(truth: Truth, stored: Mapping[str, StoredFilm], moments: Moments) -> Boxes:
    boxes = truth.boxes[truth.boxes["video"].isin(list(stored))]
    sizes = boxes["video"].map({name: (f.width, f.height) for name, f in stored.items()})
    corners = boxes[BOX_COLUMNS].to_numpy(np.float64) * np.tile(np.array(sizes.tolist()), 2)
    table = pd.DataFrame(corners, columns=BOX_COLUMNS)
    return Boxes(
        table.assign(
            clip=boxes["video"].to_numpy(),
            frame=[moments.frame_of(second) for second in boxes["second"]],
            tube=boxes["person"].to_numpy(),
            actions=pd.Series([[truth.labels[n] for n in own] for own in boxes["actions"]]),
        )
    )
