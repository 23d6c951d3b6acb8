"""Looks through one's own videos: how many frames they have, of what size, and when.

A video is decoded once for that, from its first frame to its last: what containers say of numbers
and times is not always so. What was found is kept beside the imported tables, so that it is not
done again for a file that is as it was.
"""

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from av.error import FFmpegError
from pydantic import ValidationError

from stclip.config.names import check_form
from stclip.config.strict import Strict
from stclip.errors import ConfigError, DataError
from stclip.prepare.videos import VideoFile
from stclip.progress import Progress
from stclip.runtime.threads import cpu_threads
from stclip.storage.files import read_json, write_json

logger = logging.getLogger(__name__)
SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
CACHE = ".videos"  # in the folder of the imported tables; hidden, so that it counts for nothing
_DIGITS = 4  # of a second


class Surveyed(Strict):
    """What was found in a video file; or why it cannot be used."""

    num_frames: int = 0
    height: int = 0  # as shown, turned
    width: int = 0
    fps: float = 0.0  # mean
    times_s: list[float] | None = None  # of its frames, from the start; None: frame / fps
    is_turned: bool = False
    num_damaged: int = 0  # frames that the decoder had to mend
    problem: str = ""

    def frame_at(self, seconds: np.ndarray) -> np.ndarray:
        """The frames shown nearest to moments, int (N,); num_frames beyond the end."""
        if self.times_s is None:
            frames = np.rint(seconds * self.fps).astype(np.int64)
            return np.minimum(frames, self.num_frames)
        times = np.asarray(self.times_s)
        after = np.searchsorted(times, seconds).clip(1, len(times) - 1) if len(times) > 1 else 0
        near = np.where(seconds - times[after - 1] <= times[after] - seconds, after - 1, after)
        beyond = seconds > times[-1] + 0.5 / self.fps
        return np.where(beyond, self.num_frames, near)

    @property
    def length_s(self) -> float:
        """Seconds from its start to the end of its last frame."""
        if self.times_s is None:
            return self.num_frames / self.fps
        return self.times_s[-1] + 1 / self.fps


def find_videos(folder: Path) -> dict[str, Path]:
    """The video files of a folder and those below it, by the name of the clip that each becomes.

    A clip is called as its file without suffix.

    Raises:
        DataError: no folder, no video in it, two of one name, or a name that is none of a clip.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; it should hold the videos.")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file() or path.name[0] == ".":
            continue
        try:
            check_form(path.stem, what=f"{path}: video")
        except ConfigError as error:
            raise DataError(str(error)) from None
        if path.stem in found:
            raise DataError(
                f"{path}: video {path.stem!r} is there twice, as {found[path.stem]} too; rename "
                "one, here and in the annotations."
            )
        found[path.stem] = path
    if not found:
        raise DataError(f"{folder}: has no video, a file ending in {', '.join(sorted(SUFFIXES))}.")
    return found


def survey_videos(files: Mapping[str, Path], cache: Path) -> dict[str, Surveyed]:
    """Look through videos, as many at a time as there are CPU threads.

    Args:
        files: by clip.
        cache: folder for what was found of each.

    Returns:
        What was found, by clip, in the order of `files`. A file that cannot be used has a problem.
    """
    progress = Progress("videos looked through", total=len(files))
    known = 0

    def look(clip: str, path: Path) -> tuple[bool, Surveyed]:
        memo, stat = cache / f"{clip}.json", path.stat()
        identity = [str(path.absolute()), stat.st_size, stat.st_mtime_ns]
        earlier = _remembered(memo, identity)
        if earlier is not None:
            return True, earlier
        found = survey_video(VideoFile(clip, path, str(path)))
        write_json(memo, {"identity": identity, "found": found.model_dump()})
        return False, found

    results = {}
    pool = ThreadPoolExecutor(cpu_threads(), thread_name_prefix="decode")
    try:
        futures = {clip: pool.submit(look, clip, path) for clip, path in files.items()}
        for clip, future in futures.items():
            was_known, results[clip] = future.result()
            known += was_known
            progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)
    if known:
        logger.info("%d of them are as they were, and were looked through before", known)
    return results


def _remembered(memo: Path, identity: list[object]) -> Surveyed | None:
    """What was found earlier of the same file."""
    if not memo.exists():
        return None
    try:
        content = read_json(memo)
        return Surveyed(**content["found"]) if content["identity"] == identity else None
    except (DataError, ValidationError, KeyError, TypeError):  # of another version, or damaged
        return None


def survey_video(file: VideoFile) -> Surveyed:
    """Decode a video, and count."""
    times: list[float | None] = []
    sizes: set[tuple[int, int]] = set()
    turned, damaged = False, 0
    try:
        with file.decoded() as (stream, pictures):
            for picture in pictures:
                odd = round(picture.rotation / 90) % 2 == 1
                turned = turned or round(picture.rotation / 90) % 4 != 0
                size = picture.width, picture.height
                sizes.add(size[::-1] if odd else size)
                times.append(picture.time)
                damaged += picture.is_corrupt
            rate = float(stream.average_rate or stream.guessed_rate or 0)
    except FFmpegError as error:
        return Surveyed(problem=f"does not decode after {len(times)} frames ({error.strerror})")
    except DataError as error:
        return Surveyed(problem=str(error).removeprefix(f"{file.where}: "))
    if not times or not rate:
        return Surveyed(problem="none of its frames decodes" if rate else "has no frame rate")
    if len(sizes) > 1:
        shown = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        return Surveyed(problem=f"its pictures change their size ({shown}); encode it anew")
    ((width, height),) = sizes
    seconds = _varying(times, rate)
    fps = rate if seconds is None else (len(times) - 1) / (seconds[-1] - seconds[0])
    return Surveyed(
        num_frames=len(times), height=height, width=width, fps=fps, times_s=seconds,
        is_turned=turned, num_damaged=damaged,
    )  # fmt: skip


def _varying(times: list[float | None], rate: float) -> list[float] | None:
    """The times from the first frame on, None where they are those of a constant rate."""
    known = [time for time in times if time is not None]
    if len(known) < len(times) or len(times) < 2:
        return None
    seconds = np.array(known) - known[0]
    rises = (np.diff(seconds) > 0).all()
    even = np.abs(seconds - np.arange(len(seconds)) / rate).max() < 0.5 / rate
    return None if even or not rises else seconds.round(_DIGITS).tolist()


def tell_problems(
    surveyed: Mapping[str, Surveyed], files: Mapping[str, Path], without: Iterable[str]
) -> None:
    """Refuse videos that cannot be used, all in one message.

    Raises:
        DataError: naming them, and how to go on without.
    """
    bad = {c: its.problem for c, its in surveyed.items() if its.problem and c not in {*without}}
    if bad:
        listed = "".join(f"\n  {files[clip]}: {problem}" for clip, problem in sorted(bad.items()))
        way = " ".join(f"--without {clip}" for clip in sorted(bad))
        raise DataError(
            f"{len(bad)} of {len(surveyed)} videos cannot be used:{listed}\nGet them again, or go "
            f"on without them: {way}"
        )
