"""Writes the miniature as the official J-HMDB archives: frames, splits and puppet masks.

Beside them lie the boxes of the props, as a detector of objects would hand them out: COCO results
and the list of images that they are of.

Layout, names and quirks are those of the real archives, so that the same parser reads both: frame
files count from 1, some masks end a few frames before their video, names carry signs.
"""

import gzip
import io
import logging
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from pydantic import NonNegativeInt, PositiveInt
from scipy.io import savemat

from stclip.errors import ConfigError
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
from stclip.mini.choreography import ACTIONS, load_repertoire
from stclip.mini.enlarge import enlarged
from stclip.mini.props import BEHIND, HELD
from stclip.mini.render import HEIGHT, Video, render
from stclip.mini.scenery import VIDEO
from stclip.progress import Progress
from stclip.storage.files import whole_file

logger = logging.getLogger(__name__)
FRAMES_ARCHIVE, SPLITS_ARCHIVE = "Rename_Images.tar.gz", "splits.zip"
MASKS_ARCHIVE = "puppet_mask.zip"
NUM_SPLITS = 3
SHORTEST, LONGEST, MEAN = 15, 40, 20  # frames of a video
SHORT_MASKS = {("clap", 0): 6, ("clap", 1): 4, ("pour", 0): 1}  # frames without a mask at the end
PNG_PARAMS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY]
PNG_PARAMS += [cv2.IMWRITE_PNG_STRATEGY_RLE]  # for noisy pictures as small as the slow levels
MAT_HEADER = b"MATLAB 5.0 MAT-file, stclip miniature".ljust(116)  # scipy writes the date there
TITLES = (
    "April_09",
    "Best_Of_Sunday!",
    "Training_(Part_2)",
    "How_to_@_home",
    "1+1_Family_Film",
    "The_Slow_Motion_Show",
    "__at_the_park",
    "Holiday_2008_(short)",
    "HowTo!!_Lesson_3",
    "my_friend_+_me",
)


@dataclass(frozen=True)
class _Job:
    """One video to draw."""

    seed: int
    action: str
    index: int  # among the videos of its class
    longest: int  # frames
    height: int  # rows


@dataclass(frozen=True)
class _Packed:
    """One video as bytes, ready for the archives."""

    action: str
    name: str
    frames: list[bytes]  # PNG
    mask: bytes  # MATLAB file
    props: list[list[tuple[str, list[int]]]]  # of each frame: kinds and boxes, xywh


def render_jhmdb(
    out: Path,
    *,
    seed: NonNegativeInt,
    train_videos: PositiveInt = 20,
    test_videos: PositiveInt = 30,
    classes: Sequence[str] = ACTIONS,
    longest: PositiveInt = LONGEST,
    height: PositiveInt = HEIGHT,
    workers: int = 1,
) -> None:
    """Render the mini J-HMDB into the folder `out`: three archives, boxes of props, SHA256SUMS.

    Args:
        out: folder of the files; each is written whole or not at all, the archives' checksums last.
        seed: same seed, same bytes, whatever the number of workers.
        train_videos: videos of each class that each of the three splits trains on.
        test_videos: videos of each class that each of the three splits tests on.
        classes: those that are drawn.
        longest: frames that a video has at most; 15 at least.
        height: rows of the pictures, which are drawn in 96 and enlarged; J-HMDB's have 240.
        workers: processes to render with.

    Raises:
        ConfigError: a class would have no training or no test videos, there is no such class,
            videos would be too short, or there are no workers.
    """
    check_counts(train_videos=train_videos, test_videos=test_videos, workers=workers)
    num_videos = train_videos + test_videos
    wanted = chosen_classes(classes, ACTIONS)
    if longest < SHORTEST:
        raise ConfigError(f"longest is {longest}; a video has at least {SHORTEST} frames.")
    names: dict[str, list[str]] = {action: [] for action in wanted}
    jobs = [
        _Job(seed, action, video, longest, height)
        for action in wanted
        for video in range(num_videos)
    ]
    things = ThingBoxes([*BEHIND, *HELD])
    progress = Progress("render", total=len(jobs))
    with (
        whole_file(out / FRAMES_ARCHIVE) as frames_path,
        whole_file(out / MASKS_ARCHIVE) as masks_path,
        _tar_gz(frames_path) as frames,
        zipfile.ZipFile(masks_path, "w") as masks,
        closing(drawn_in_order(_pack, jobs, workers=workers)) as videos,
    ):
        for packed in videos:
            names[packed.action].append(packed.name)
            folder = f"{packed.action}/{packed.name}"
            for i, (png, seen) in enumerate(zip(packed.frames, packed.props, strict=True), start=1):
                name = f"{folder}/{i:05d}.png"
                _add_to_tar(frames, f"Rename_Images/{name}", png)
                things.add(name, seen)
            add_to_zip(masks, f"puppet_mask/{folder}/puppet_mask.mat", packed.mask)
            progress.advance()
    with whole_file(out / SPLITS_ARCHIVE) as path, zipfile.ZipFile(path, "w") as splits:
        for name, text in _split_files(names, seed=seed, num_train=train_videos):
            add_to_zip(splits, f"splits/{name}", text.encode())
    things.write(out)
    archives = (FRAMES_ARCHIVE, SPLITS_ARCHIVE, MASKS_ARCHIVE)
    write_listing(out, [*archives, *things.FILES])
    size = sum((out / archive).stat().st_size for archive in archives)
    logger.info(
        "rendered %d videos, %d frames with %d boxes of props, of %d classes (seed %d) into %s: "
        "%.0f MB",
        len(jobs),
        len(things.images),
        len(things.boxes),
        len(wanted),
        seed,
        out,
        size / 1e6,
    )


def _pack(job: _Job) -> _Packed:
    """Render and encode one video; a function of its argument alone."""
    action, index = job.action, job.index
    rng = np.random.default_rng([job.seed, ACTIONS.index(action), index])
    num_frames = drawn_length(rng, shortest=SHORTEST, mean=MEAN, longest=job.longest)
    video = render(action, load_repertoire(), style=VIDEO, num_frames=num_frames, rng=rng)
    masks = video.masks[: num_frames - SHORT_MASKS.get((action, index), 0)]
    masks = enlarged(masks, height=job.height, smooth=False)
    bgr = enlarged(video.frames[..., ::-1], height=job.height)
    pngs = [cv2.imencode(".png", frame, PNG_PARAMS)[1].tobytes() for frame in bgr]
    factor = job.height / HEIGHT
    props = [
        [(prop.kind, xywh(prop.box_xyxy, factor=factor)) for prop in seen] for seen in video.props
    ]
    return _Packed(action, _name(rng, action, index, video), pngs, _mat(masks), props)


def _name(rng: np.random.Generator, action: str, index: int, video: Video) -> str:
    """Official manner: title, action, visible part, camera, people, view, quality, number."""
    title = TITLES[rng.integers(len(TITLES))]
    camera = "cm" if rng.random() < 0.5 else "nm"
    view = "ri" if video.direction > 0 else "le"
    quality = "goo" if video.noise < 4 else "med" if video.noise < 6 else "bad"
    return f"{title}_{action}_f_{camera}_np{video.num_people}_{view}_{quality}_{index}"


def _mat(masks: UInt8[np.ndarray, "T H W"]) -> bytes:
    """A MATLAB file with `part_mask` (H, W, T)."""
    buffer = io.BytesIO()
    savemat(buffer, {"part_mask": masks.transpose(1, 2, 0)}, do_compression=True)
    return MAT_HEADER + buffer.getvalue()[len(MAT_HEADER) :]


def _split_files(
    names: dict[str, list[str]], *, seed: int, num_train: int
) -> Iterator[tuple[str, str]]:
    """Name and text of `<class>_test_split<n>.txt`: `<video>.avi 1` trains, `<video>.avi 2` tests.

    The splits of a class are different shuffles; where it has very few videos, two may agree.
    """
    for action, videos in names.items():
        for split in range(1, NUM_SPLITS + 1):
            rng = np.random.default_rng([seed, ACTIONS.index(action), split, len(videos)])
            train = set(rng.permutation(len(videos))[:num_train].tolist())
            lines = [f"{name}.avi {1 if i in train else 2}" for i, name in enumerate(videos)]
            yield f"{action}_test_split{split}.txt", "\n".join(lines) + "\n"


@contextmanager
def _tar_gz(path: Path) -> Iterator[tarfile.TarFile]:
    """A .tar.gz without times; PNGs do not shrink any more, so the fastest level."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        yield tar


def _add_to_tar(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # its owner, mode and time are constants
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
