"""UCF101-24: videos of UCF101, the corrected annotations -> frames, Boxes, Clips.

Videos come as an archive, or as a folder unpacked from one. In it they lie in a folder per class or
all in one; the class is read from the name:

    UCF-101/<Class>/v_<Class>_g<group>_c<number>.avi    UCF101.rar
    UCF101/v_<Class>_g<group>_c<number>.avi             UCF101_videos.zip

Only annotated videos are read, of 24 of the 101 classes. Videos are not trimmed: frames without a
box are frames, too. Annotations are as `stclip.prepare.pyannot` tells.
"""

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from stclip.errors import DataError
from stclip.prepare.pyannot import (
    AnnotatedVideo,
    boxes_table,
    official_splits,
    read_annotations,
    read_test_list,
)
from stclip.prepare.store import write_prepared
from stclip.prepare.videos import StoredVideo, VideoFile, frames_depend_on, store_videos
from stclip.records import Boxes, Clips
from stclip.storage.archives import iterate_members
from stclip.storage.frame_store import StoreName
from stclip.storage.outside_files import content_of, parse_value

logger = logging.getLogger(__name__)

# Whole names of the files to read; a leading dot is what file managers leave behind (._v_x.avi).
_VIDEO_FILE = re.compile(r"(?:.*/)?(?P<clip>v_(?P<action>[^/_]+)_g\d+_c\d+)\.(?i:avi)")
_SHOWN = 3  # names in a message


def prepare(
    raw: Path,
    out: Path,
    *,
    videos: str,
    annotations: str,
    test_list: str,
    licence: str,
    frame_store: StoreName = "decoded",
) -> None:
    """Write `out`/frames, boxes.parquet and, last, clips.parquet.

    A try that is killed is gone on with: a video that was stored is not decoded again, if its file
    is still the same. Boxes are 0-based corners, numbers of frames those of the decoder.

    Args:
        raw: Folder of the files below; or the folder of an unpacked archive, with annotations and
            list of test videos in it.
        out: Folder of the prepared data; other files in it are left alone.
        videos: File name of the archive of videos.
        annotations: File name of the annotations: a pickle or JSON, gzip allowed.
        test_list: File name of the list of test videos; all other annotated ones are for training.
        licence: Written into every row of clips.parquet.
        frame_store: How the frames are stored (`stclip.storage.frame_store`).

    Raises:
        DataError: a file is missing, damaged or not of its form; an annotated video is missing or
            there twice, does not decode, or ends before its boxes do; a box leaves the picture.
    """
    truth = read_annotations(
        parse_value(_content(raw / annotations), raw / annotations), raw / annotations
    )
    tested = read_test_list(_content(raw / test_list), raw / test_list)
    official = official_splits(truth.videos, tested, side="test", where=raw / test_list)
    source = _source(raw, videos)
    by_clip = {video.clip: video for video in truth.videos.values()}
    members = _list_members(source, by_clip, truth.actions)

    def check(clip: str, stored: StoredVideo) -> None:
        _check_video(by_clip[clip], stored, f"{source}: {members[clip]}")

    def build(folder: Path) -> tuple[Clips, Boxes]:
        files = _read_videos(source, members)
        stored = store_videos(files, folder, frame_store, total=len(members), check=check)
        _log_frames(by_clip, stored)
        clips = _clips_table(list(truth.videos.values()), stored, official, licence)
        boxes = boxes_table(truth.videos.values())
        logger.info(
            "UCF101-24: %d videos, %d frames, %d boxes in %d frames",
            *(len(clips), clips.table["num_frames"].sum(), len(boxes)),
            len(boxes.table[["clip", "frame"]].drop_duplicates()),
        )
        return clips, boxes

    write_prepared(out, build, resume=frames_depend_on(frame_store))


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; run the download stage first, or put it into the folder of an "
            "extracted copy."
        )
    return content_of(path)


def _source(raw: Path, videos: str) -> Path:
    """The archive or, where there is none, the folder with an unpacked copy."""
    packed = raw / videos
    unpacked = not packed.exists() and raw.is_dir() and any(raw.rglob("v_*_g*_c*.avi"))
    return raw if unpacked else packed


def _list_members(
    source: Path, annotated: Mapping[str, AnnotatedVideo], actions: Collection[str]
) -> dict[str, str]:
    """Clip -> its file's name in the source, of the annotated videos; counts the others.

    Raises:
        DataError: an annotated video is missing, is there twice or in the folder of another class.
    """
    members: dict[str, str] = {}
    unannotated: set[str] = set()
    others: Counter[str] = Counter()  # other kinds of files, videos of other classes

    def pass_over(name: str) -> bool:
        match = _VIDEO_FILE.fullmatch(name)
        if match is None:
            others["files of other kinds"] += 1
            return False
        clip, action, folder = match["clip"], match["action"], PurePosixPath(name).parent.name
        if folder in actions and folder != action:
            raise DataError(
                f"{source}: {name}: a video of {action!r} by its name, in the folder of "
                f"{folder!r}. Unpack the archive anew."
            )
        if action not in actions:
            others["videos of other classes"] += 1
        elif clip not in annotated:
            unannotated.add(clip)
        elif members.setdefault(clip, name) != name:
            raise DataError(f"{source}: video {clip!r} is there twice, {members[clip]} and {name}.")
        return False

    for _ in iterate_members(source, pass_over, verify_unwanted=False):
        pass
    _refuse_missing(source, annotated, members)
    logger.info(
        "%s: %d annotated videos; %d of their classes without annotation passed over%s; %s",
        *(source, len(members), len(unannotated)),
        f" ({', '.join(sorted(unannotated))})" if unannotated else "",
        ", ".join(f"{number} {kind}" for kind, number in sorted(others.items())) or "no others",
    )
    return members


def _refuse_missing(
    source: Path, annotated: Mapping[str, AnnotatedVideo], found: Collection[str]
) -> None:
    missing = sorted(annotated.keys() - set(found))
    if not missing:
        return
    there = {annotated[clip].action for clip in found}
    gone = sorted({annotated[clip].action for clip in missing} - there)
    raise DataError(
        f"{source}: {len(missing)} of {len(annotated)} annotated videos are not there, the first: "
        f"{', '.join(missing[:_SHOWN])}"
        + (f"; no video at all of {', '.join(gone)}" if gone else "")
        + ". Is it the whole of UCF101, and are the annotations those of UCF101-24?"
    )


def _read_videos(source: Path, members: Mapping[str, str]) -> Iterator[VideoFile]:
    clips = {name: clip for clip, name in members.items()}
    files = iterate_members(source, clips.__contains__, verify_unwanted=False)
    for name, content in files:
        yield VideoFile(clips[name], content, f"{source}: {name}")


def _check_video(video: AnnotatedVideo, stored: StoredVideo, where: str) -> None:
    """Boxes lie in frames and pictures that the video has.

    Raises:
        DataError: they do not.
    """
    if stored.is_cut and stored.num_frames < video.num_frames:
        raise DataError(
            f"{where}: ends early: {stored.num_frames} of {video.num_frames} frames decode, and "
            "the file is shorter than it says. Get it again: delete the archive and download it, "
            "or unpack it anew."
        )
    if video.last_frame >= stored.num_frames:
        raise DataError(
            f"{where}: has a box in frame {video.last_frame} (0-based), but {stored.num_frames} "
            f"frames decode; the annotators counted {video.num_frames}. Get video and annotations "
            "again."
        )
    x2, y2 = np.concatenate([tube.boxes_xyxy[:, 2:] for tube in video.tubes]).max(axis=0).tolist()
    if x2 >= stored.width or y2 >= stored.height:
        raise DataError(
            f"{where}: is {stored.width}x{stored.height}, but boxes reach x {x2}, y {y2} "
            "(0-based). Take the videos as published, not resized."
        )


def _log_frames(annotated: Mapping[str, AnnotatedVideo], stored: Mapping[str, StoredVideo]) -> None:
    """Tell, once, where decoder and annotators count other frames, and what is odd."""
    differ = {clip: video.num_frames - annotated[clip].num_frames for clip, video in stored.items()}
    differ = {clip: more for clip, more in sorted(differ.items()) if more}
    if differ:
        ends = {min(differ, key=differ.__getitem__), max(differ, key=differ.__getitem__)}
        shown = ", ".join(
            f"{clip} {stored[clip].num_frames} of {annotated[clip].num_frames}"
            for clip in sorted(ends)
        )
        logger.warning(
            "%d of %d videos decode to another number of frames than the annotators counted; the "
            "extremes: %s",
            *(len(differ), len(stored), shown),
        )
    else:
        logger.info("all %d videos decode to as many frames as annotated", len(stored))
    damaged = [clip for clip, video in sorted(stored.items()) if video.num_damaged]
    if damaged:
        logger.warning(
            "the decoder mended damaged frames in %d videos: %s",
            *(len(damaged), ", ".join(damaged[:_SHOWN]) + (", ..." if damaged[_SHOWN:] else "")),
        )
    rates = Counter(round(video.fps, 3) for video in stored.values())
    if len(rates) > 1:
        shown = ", ".join(f"{number} at {rate:g}" for rate, number in rates.most_common())
        logger.warning("videos have several frame rates: %s", shown)


def _clips_table(
    videos: list[AnnotatedVideo],
    stored: Mapping[str, StoredVideo],
    official: Mapping[str, str],
    licence: str,
) -> Clips:
    found = [stored[video.clip] for video in videos]
    return Clips(
        pd.DataFrame(
            {
                "clip": [video.clip for video in videos],
                "official_split": [official[video.folder] for video in videos],
                "num_frames": [video.num_frames for video in found],
                "height": [video.height for video in found],
                "width": [video.width for video in found],
                "fps": [video.fps for video in found],
                "licence": licence,
                "actions": [[video.action] for video in videos],
            }
        )
    )
