"""Writes the miniature as UCF101 comes: a zip of videos, the corrected annotations, the test list.

Beside them lie the boxes of the props, as a detector of objects would hand them out: COCO results
and the list of images that they are of.

Layout, names, types and quirks are those of the real files, so that the same parser reads both: the
zip also holds a class that has no boxes at all, one video of either side was never annotated, one
is so long that its number of frames needs two bytes, and the videos are hard to read (`avi`).
"""

import logging
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveInt

from stclip.mini.archive_files import (
    ThingBoxes,
    add_to_zip,
    check_counts,
    chosen_classes,
    drawn_in_order,
    drawn_length,
    write_listing,
    xywh,
)
from stclip.mini.avi import Manner, as_avi
from stclip.mini.enlarge import enlarged, enlarged_boxes
from stclip.mini.render import HEIGHT
from stclip.mini.scenery import VIDEO
from stclip.mini.ucf.film import Film, Tube, render_film
from stclip.mini.ucf.repertoire import UCF_ACTIONS, load_film_repertoire
from stclip.progress import Progress
from stclip.storage.files import whole_file

logger = logging.getLogger(__name__)
VIDEOS_ARCHIVE, ANNOTATIONS, TEST_LIST = "UCF101_videos.zip", "pyannot.pkl", "testlist01.txt"
Side = Literal["test", "train"]
GROUPS: dict[Side, range] = {"test": range(1, 8), "train": range(8, 26)}  # of the official split
SHORTEST, LONGEST, MEAN = 32, 96, 48  # frames of a video
LONG: tuple[str, Side, int, int] = ("Fencing", "train", 0, 260)  # its number needs uint16
UNANNOTATED: tuple[tuple[str, Side], ...] = (("LongJump", "test"), ("Diving", "train"))
OTHER_CLASS, LOOKS_LIKE = "ApplyEyeMakeup", "SoccerJuggling"  # one of the 77 classes without boxes
MANNERS = {Manner.PLAIN: 0.4, Manner.ONE_KEY: 0.3, Manner.PACKED: 0.3}  # share of the videos
PICKLE_PROTOCOL = 2  # that of Python 2, which wrote the original


@dataclass(frozen=True)
class _Job:
    """One video to draw."""

    seed: int
    class_name: str
    action: str  # that is drawn
    side: Side
    index: int  # among the videos of its class and side
    longest: int  # frames
    height: int  # rows
    annotated: bool = True

    @property
    def video(self) -> str:
        """Official name: class, group, clip."""
        groups = GROUPS[self.side]
        clip, group = divmod(self.index, len(groups))
        return f"v_{self.class_name}_g{groups[group]:02d}_c{clip + 1:02d}"


@dataclass(frozen=True)
class _Packed:
    """One video as bytes, ready for the archive, and what is known about it."""

    job: _Job
    avi: bytes
    num_frames: int
    tubes: tuple[Tube, ...]
    props: list[list[tuple[str, list[int]]]]  # of each frame: kinds and boxes, xywh

    @property
    def key(self) -> str:
        """Its name in annotations and lists."""
        return f"{self.job.class_name}/{self.job.video}"


def render_ucf(
    out: Path,
    *,
    seed: NonNegativeInt,
    train_videos: PositiveInt = 12,
    test_videos: PositiveInt = 12,
    classes: Sequence[str] = UCF_ACTIONS,
    longest: PositiveInt = LONGEST,
    height: PositiveInt = HEIGHT,
    workers: int = 1,
) -> None:
    """Render the mini UCF101-24 into the folder `out`: archive, annotations, test list, props.

    Args:
        out: folder of the files; each is written whole or not at all, the checksums last.
        seed: same seed, same bytes, whatever the number of workers.
        train_videos: annotated training videos of each class.
        test_videos: annotated test videos of each class.
        classes: those that are drawn.
        longest: frames that a video has at most.
        height: rows of the pictures, which are drawn in 96 and enlarged; UCF101's have 240.
        workers: processes to render with.

    Raises:
        ConfigError: a class would have no training or no test videos, there is no such class, or
            there are no workers.
    """
    check_counts(train_videos=train_videos, test_videos=test_videos, workers=workers)
    wanted = chosen_classes(classes, UCF_ACTIONS)
    counts: dict[Side, int] = {"test": test_videos, "train": train_videos}
    jobs = list(_jobs(wanted, seed, counts, longest, height))
    known = load_film_repertoire().things.values()
    things = ThingBoxes(sorted({thing.kind for thing in known if thing.kind is not None}))
    database: dict[str, dict[str, Any]] = {}
    test_list: list[str] = []
    progress = Progress("render", total=len(jobs))
    with (
        whole_file(out / VIDEOS_ARCHIVE) as path,
        zipfile.ZipFile(path, "w") as archive,
        closing(drawn_in_order(_pack, jobs, workers=workers)) as videos,
    ):
        for packed in videos:
            name = f"UCF101/{packed.job.video}.avi"
            add_to_zip(archive, name, packed.avi, method=zipfile.ZIP_STORED)
            progress.advance()
            if not packed.job.annotated:
                continue
            database[packed.key] = _annotation(packed)
            if packed.job.side == "test":
                test_list.append(packed.key)
            for number, seen in enumerate(packed.props, start=1):
                things.add(f"{packed.key}/{number:05d}.jpg", seen)
    with whole_file(out / ANNOTATIONS) as path:
        path.write_bytes(pickle.dumps(database, PICKLE_PROTOCOL))
    with whole_file(out / TEST_LIST) as path:
        path.write_text("\n".join(test_list), "utf-8")  # the original's last line has no end either
    things.write(out)
    write_listing(out, [VIDEOS_ARCHIVE, ANNOTATIONS, TEST_LIST, *things.FILES])
    logger.info(
        "rendered %d videos, %d of them annotated, with %d frames, %d tubes and %d boxes of props, "
        "of %d classes (seed %d) into %s: %.1f MB",
        len(jobs),
        len(database),
        len(things.images),
        sum(len(video["annotations"]) for video in database.values()),
        len(things.boxes),
        len(wanted),
        seed,
        out,
        (out / VIDEOS_ARCHIVE).stat().st_size / 1e6,
    )


def _jobs(
    classes: Sequence[str],
    seed: int,
    counts: dict[Side, int],
    longest: int = LONGEST,
    height: int = HEIGHT,
) -> Iterator[_Job]:
    """All videos in the order of their names: the class without boxes comes first."""
    for side in counts:
        yield _Job(seed, OTHER_CLASS, LOOKS_LIKE, side, 0, longest, height, annotated=False)
    for action in classes:
        for side, count in counts.items():
            for index in range(count):
                yield _Job(seed, action, action, side, index, longest, height)
            if (action, side) in UNANNOTATED:
                yield _Job(seed, action, action, side, count, longest, height, annotated=False)


def _pack(job: _Job) -> _Packed:
    """Render and encode one video; a function of its argument alone."""
    groups = [*GROUPS].index(job.side)
    other = int(job.class_name == OTHER_CLASS)
    place = [UCF_ACTIONS.index(job.action), groups, job.index, other]
    rng = np.random.default_rng([job.seed, *place])
    shortest = min(SHORTEST, job.longest)
    num_frames = drawn_length(rng, shortest=shortest, mean=MEAN, longest=job.longest)
    if job.longest == LONGEST and (job.class_name, job.side, job.index) == LONG[:3]:
        num_frames = LONG[3]
    film = render_film(
        job.action, load_film_repertoire(), style=VIDEO, num_frames=num_frames, rng=rng
    )
    manner = list(MANNERS)[rng.choice(len(MANNERS), p=list(MANNERS.values()))]
    factor = job.height / HEIGHT
    frames = enlarged(film.frames, height=job.height)
    tubes = _annotated(film, factor)
    return _Packed(job, as_avi(frames, manner=manner), num_frames, tubes, _seen(film, factor))


def _annotated(film: Film, factor: float) -> tuple[Tube, ...]:
    """The tubes; a box one pixel wide or high, which the annotations cannot tell, ends one."""
    tubes = []
    for tube in film.tubes:
        has_area = (tube.boxes_xyxy[:, 2:] > tube.boxes_xyxy[:, :2]).all(1)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], has_area, [False]])))
        for start, end in edges.reshape(-1, 2).tolist():
            boxes = enlarged_boxes(tube.boxes_xyxy[start:end], factor)
            tubes.append(Tube(tube.first + start, boxes.astype(np.float32)))
    return tuple(tubes)


def _seen(film: Film, factor: float) -> list[list[tuple[str, list[int]]]]:
    return [
        [(prop.kind, xywh(prop.box_xyxy, factor=factor)) for prop in seen] for seen in film.props
    ]


def _annotation(packed: _Packed) -> dict[str, Any]:
    """What the corrected annotations tell of a video, in their types."""
    label = UCF_ACTIONS.index(packed.job.class_name)
    annotations = [
        {
            "label": label,
            "sf": tube.first,  # 0-based
            "ef": tube.first + len(tube.boxes_xyxy),  # the frame after the last
            "boxes": _boxes(tube.boxes_xyxy),
        }
        for tube in packed.tubes
    ]
    number = packed.num_frames
    return {"numf": _smallest(number).type(number), "label": label, "annotations": annotations}


def _boxes(boxes_xyxy: Float[np.ndarray, "n 4"]) -> np.ndarray:
    """x, y, w, h (n, 4): x and y count from 1, the last column of a box is number x - 1 + w."""
    x1, y1, x2, y2 = boxes_xyxy.astype(int).T
    table = np.stack([x1 + 1, y1 + 1, x2 - x1, y2 - y1], 1)
    return table.astype(_smallest(int(table.max())))


def _smallest(number: int) -> np.dtype[Any]:
    """The smallest unsigned type of a number, as MATLAB's annotations were saved."""
    return np.min_scalar_type(number)
