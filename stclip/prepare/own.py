"""One's own videos, with the annotations that `stclip data import` has read -> frames and tables.

The imported clips.parquet and boxes.parquet lie in the folder that the data set names as
`extracted`, built as those that are prepared. What was read, dropped and drawn (import.json,
import.txt, import.png) lies above it, so that it counts for nothing. Videos stay where they are;
each is decoded in its own order of frames, turned upright.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from stclip.config.fields import LocalPath
from stclip.errors import DataError
from stclip.prepare.named_labels import read_label_list
from stclip.prepare.store import write_prepared
from stclip.prepare.survey import find_videos
from stclip.prepare.videos import StoredVideo, VideoFile, frames_depend_on, store_videos
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.splits.label_splits import labels_of
from stclip.storage.frame_store import StoreName

logger = logging.getLogger(__name__)
TARGET = "stclip.prepare.own:prepare"


def prepare(
    raw: Path,
    out: Path,
    *,
    videos: LocalPath,
    labels: LocalPath,
    licence: str,
    short_side: PositiveInt | None = None,
    frame_store: StoreName = "jpeg",
) -> None:
    """Write `out`/frames, boxes.parquet and, last, clips.parquet of the imported clips.

    A try that is killed is gone on with: a video that was stored is not decoded again, if its file
    is still the same.

    Args:
        raw: Folder of the imported tables.
        out: Folder of the prepared data; other files in it are left alone.
        videos: Folder of the videos.
        labels: File of the labels.
        licence: Written into every row of clips.parquet.
        short_side: Pixels that the shorter side of a stored frame has at most; null: as it is.
        frame_store: How the frames are stored (`stclip.storage.frame_store`).

    Raises:
        DataError: nothing was imported; a video is missing, does not decode or is not the one that
            was imported; or boxes show labels that the list lacks.
    """
    if not (raw / "clips.parquet").exists():
        raise DataError(
            f"{raw}: has no clips.parquet; import the annotations first: `stclip data import`."
        )
    clips, boxes = Clips.read(raw / "clips.parquet"), Boxes.read(raw / "boxes.parquet")
    unknown = sorted({*labels_of(clips)} - {*read_label_list(Path(labels)).names})
    if unknown:
        raise DataError(f"{labels}: lacks {unknown}, which imported boxes show; import them again.")
    paths = find_videos(Path(videos))
    gone = [clip for clip in clips.table["clip"] if clip not in paths]
    if gone:
        raise DataError(
            f"{videos}: {len(gone)} of {len(clips)} imported videos are not there, the first: "
            f"{', '.join(gone[:3])}. Put them back, or import the annotations again."
        )
    table = clips.table.set_index("clip")
    num_frames = table["num_frames"].to_dict()

    def files() -> Iterator[VideoFile]:
        for clip in table.index:
            yield VideoFile(clip, paths[clip], str(paths[clip]))

    def check(clip: str, stored: StoredVideo) -> None:
        known = num_frames[clip]
        if stored.num_frames != known:
            raise DataError(
                f"{paths[clip]}: has {stored.num_frames} frames, it had {known} when its "
                "annotations were imported; import them again."
            )

    def build(folder: Path) -> tuple[Clips, Boxes]:
        stored = store_videos(
            files(), folder, frame_store, total=len(table), check=check, short_side=short_side
        )
        found = [stored[clip] for clip in table.index]
        ratio = np.array([s.width for s in found]) / table["width"].to_numpy()
        down = np.array([s.height for s in found]) / table["height"].to_numpy()
        scale = dict(zip(table.index, zip(ratio, down, ratio, down, strict=True), strict=True))
        factors = np.array([scale[clip] for clip in boxes.table["clip"]])
        corners = boxes.table[BOX_COLUMNS].to_numpy(np.float64) * factors
        sized = clips.table.assign(
            height=[s.height for s in found], width=[s.width for s in found], licence=licence
        )
        logger.info(
            "own data: %d videos, %d frames, %d boxes",
            *(len(sized), sized["num_frames"].sum(), len(boxes)),
        )
        of_size = boxes.table.assign(**dict(zip(BOX_COLUMNS, corners.T, strict=True)))
        return Clips(sized), Boxes(of_size)

    write_prepared(out, build, resume=frames_depend_on(frame_store, short_side))
