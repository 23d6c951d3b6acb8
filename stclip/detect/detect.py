"""Finds the persons, or the objects: runs a detector over the key frames of the test clips.

A killed job goes on after the last finished clip and ends with the same bytes: the batches are
planned over all clips, and a batch that holds an unfinished clip runs again as it was. Frames of a
batch have one size: a detector pads others to the largest, which moves their boxes.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stclip.config import DetectorConfig
from stclip.config.hashes import config_hash, detection_settings
from stclip.detect.backends.backend import Backend, Found, Key, load_backend
from stclip.errors import DataError
from stclip.progress import Progress
from stclip.records import BOX_COLUMNS, Clips, Detections, KeyFrames
from stclip.runtime.identity import files_content
from stclip.storage.frame_store import manifest
from stclip.storage.resume_log import open_journal

logger = logging.getLogger(__name__)


def frames_to_look_at(key_frames: KeyFrames, *, train_clips: bool = False) -> list[Key]:
    """Clip and frame of every key frame of the tested clips, in order; and of training clips."""
    table = key_frames.table if train_clips else key_frames.tested
    return list(zip(table["clip"], table["frame"].tolist(), strict=True))


def plan_batches(wanted: Sequence[Key], clips: Clips, *, size: int) -> list[list[Key]]:
    """The frames in order, at most `size` in a batch, those of a batch of one height and width.

    So what is found in a frame does not depend on the frames beside it.

    Raises:
        DataError: a frame is of a clip that is not listed.
    """
    table = clips.table
    strangers = {clip for clip, _ in wanted} - set(table["clip"])
    if strangers:
        raise DataError(
            f"key frames of clip {min(strangers)!r}, which clips.parquet does not list: they are "
            "of another data set or an older prepare. Run key-frames again."
        )
    sizes = dict(zip(table["clip"], zip(table["height"], table["width"], strict=True), strict=True))
    runs = [list(run) for _, run in groupby(wanted, key=lambda key: sizes[key[0]])]
    return [run[start : start + size] for run in runs for start in range(0, len(run), size)]


def detect(
    settings: DetectorConfig,
    *,
    files: Mapping[str, Path],
    clips: Clips,
    key_frames: KeyFrames,
    frames: Path,
    out: Path,
    train_clips: bool = False,
    workers: int = 0,
    version: int = 0,
) -> Detections:
    """Write the boxes of every key frame of the tested clips, unfiltered, to `out`.

    They are of persons, or of objects if the detector is asked for those. Boxes are in pixels of
    the frame as the detector gives them; those under `settings.score_threshold` are not kept.
    Frames where nothing is found have no row.

    Args:
        settings: the detector.
        files: what it reads, by name (`stclip.detect.backends.backend.files_of`).
        clips: the data set's clips.
        key_frames: those of tested clips are looked at.
        frames: folder of the prepared frames.
        out: parquet file, whose metadata say in which precision and on which device a model
            found them; `.{name}.journal` beside it holds the finished clips meanwhile.
        train_clips: look at the key frames of training clips too.
        workers: processes that read frames ahead of the model.
        version: `stage_version.detect`; a journal of another one, or of other content of what is
            read, is begun anew.

    Raises:
        ConfigError: a wrong setting, or a library that is not installed.
        DataError: weights, boxes or a frame missing or damaged, or no test clip.
    """
    wanted = frames_to_look_at(key_frames, train_clips=train_clips)
    if not wanted:
        raise DataError("no key frame to look at; run prepare.")
    per_clip: dict[str, list[int]] = {}
    for clip, frame in wanted:
        per_clip.setdefault(clip, []).append(frame)
    backend = load_backend(settings, files=files, clips=clips)
    computed: dict[str, str] = getattr(backend, "computed", {})  # nothing is from a file
    planned = plan_batches(wanted, clips, size=settings.batch_frames)
    read = {
        "files": files_content(files),
        "clips": clips.content(),
        "key_frames": per_clip,
        "frames": manifest(frames, per_clip) if backend.needs_frames else None,
        "version": version,
        "batches": [len(batch) for batch in planned],
    }
    if settings.precision == "auto":  # a journal of another precision is not continued
        read["precision"] = computed.get("precision")
    key = config_hash(detection_settings(settings), read)
    with open_journal(out.with_name(f".{out.name}.journal"), key=key) as journal:
        batches = [b for b in planned if any(clip not in journal.done for clip, _ in b)]
        done = sum(len(per_clip[clip]) for clip in journal.done)
        if done:
            logger.info("detect: %d of %d frames are done already", done, len(wanted))
        progress = Progress("detect", total=len(wanted), done=done)
        found: dict[Key, Found] = {}
        pictures_of: Iterable[list[np.ndarray]] = ([] for _ in batches)
        if backend.needs_frames:
            from stclip.inputs.feed import feed_frames  # torch, which boxes from a file do without

            pictures_of = feed_frames(frames, batches, workers=workers)
        for keys, pictures in zip(batches, pictures_of, strict=True):
            found |= zip(keys, _find(backend, keys, pictures), strict=True)
            for clip in dict.fromkeys(clip for clip, _ in keys):
                its = [(clip, frame) for frame in per_clip[clip]]
                if clip not in journal.done and all(k in found for k in its):
                    journal.add(clip, [_as_rows(found.pop(k)) for k in its])
                    progress.advance(len(its))
        detections = _table(per_clip, journal.done)
        detections.write(out, **computed)
    boxed = set(zip(detections.table["clip"], detections.table["frame"].tolist(), strict=True))
    if computed:
        logger.info("detect: computed in %(precision)s on %(device)s", computed)
    logger.info(
        "detect: %d frames of %d clips, %d boxes; %d frames and %d whole clips have none and %s",
        len(wanted), len(per_clip), len(detections), len(wanted) - len(boxed),
        len(per_clip.keys() - {clip for clip, _ in boxed}),
        "show no object" if settings.finds_objects else "count as missed",
    )  # fmt: skip
    return detections


def _find(backend: Backend, keys: list[Key], pictures: list[np.ndarray]) -> list[Found]:
    try:
        return backend.find(keys, pictures)
    except DataError as error:
        (first, frame), (last, final) = keys[0], keys[-1]
        raise DataError(
            f"frames {frame} of clip {first!r} to {final} of {last!r}: the detector's {error} "
            "Are its weights whole? With precision bf16, try fp32."
        ) from None


def _as_rows(found: Found) -> list[list[float]]:
    """x1, y1, x2, y2, score; float32 survives JSON as the shortest float64 that means it."""
    scores = found.scores[:, None]
    return np.concatenate([found.boxes_xyxy, scores], axis=1).astype(np.float32).tolist()


def _table(per_clip: Mapping[str, Sequence[int]], done: Mapping[str, Any]) -> Detections:
    rows = [
        (clip, frame, *row)
        for clip, numbers in per_clip.items()
        for frame, found in zip(numbers, done[clip], strict=True)
        for row in found
    ]
    return Detections(pd.DataFrame(rows, columns=["clip", "frame", *BOX_COLUMNS, "score"]))
