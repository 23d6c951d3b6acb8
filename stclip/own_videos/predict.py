"""Predicts several videos into a folder each; what is done already is left, what broke off goes on.

A video that cannot be read does not stop the others.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stclip.errors import ConfigError, DataError
from stclip.own_videos.found_persons import Prediction
from stclip.own_videos.key_sheet import cell_picture, chosen_key_frames, write_sheet
from stclip.own_videos.opened import open_video, video_name
from stclip.own_videos.prediction_files import (
    OVERLAY,
    SHEET,
    Summary,
    read_summary,
    summary_of,
    write_csv,
    write_tracks,
)
from stclip.own_videos.predictor import Predictor
from stclip.own_videos.video_overlay import Marks, encoder, overlay_at
from stclip.progress import Progress
from stclip.storage.resume_log import open_journal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of every video."""

    labels: tuple[str, ...]
    exclusive: bool = True
    templates: tuple[str, ...] | None = None
    overlay: bool = True


def predict_videos(
    predictor: Predictor, videos: Sequence[Path], asked: Asked, *, out: Path
) -> list[Summary]:
    """Write `out`/VIDEO/ with overlay.mp4, sheet.png, predictions.csv and predictions.json.

    Args:
        predictor: the models.
        videos: files and folders of images.
        asked: labels, and how they are read.
        out: folder; made if it is not there.

    Returns:
        What was found, by video, in their order.

    Raises:
        ConfigError: labels that do not fit, `out` cannot be written, no encoder.
        DataError: some videos cannot be read; the others are written.
    """
    names = _names(videos)
    predictor.settings(asked.labels, asked.templates)  # refuses labels before any work
    check_writable(out)
    if asked.overlay:
        encoder()
    found, failed = [], []
    for path in videos:
        try:
            found.append(_predict_one(predictor, path, asked, out / names[path]))
        except DataError as error:
            if len(videos) == 1:
                raise
            logger.error("error: %s", error)
            failed.append(f"{path}")
    if failed:
        raise DataError(
            f"{len(failed)} of {len(videos)} videos cannot be read, the reasons stand above: "
            f"{failed}. The others are in {out}."
        )
    return found


def _names(videos: Sequence[Path]) -> dict[Path, str]:
    """A folder for each video: its name without suffix, with it where two are alike."""
    counts = Counter(video_name(path) for path in videos)
    names = {p: video_name(p) if counts[video_name(p)] == 1 else p.name for p in videos}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        alike = [str(path) for path in videos if names[path] == twice[0]]
        raise ConfigError(
            f"{alike} have the same name, so they would be written into one folder; predict them "
            "in two calls with another --out each."
        )
    return names


def check_writable(out: Path) -> None:
    """Make the folder, and refuse one that cannot be written before anything is computed.

    Raises:
        ConfigError: it cannot be made or written.
    """
    probe = out / ".writable"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"--out {out}: cannot be written ({error.strerror}); name a folder that can."
        ) from None


def _predict_one(predictor: Predictor, path: Path, asked: Asked, folder: Path) -> Summary:
    key = predictor.key(path, asked.labels, exclusive=asked.exclusive, templates=asked.templates)
    known = read_summary(folder, key=key)
    if known is not None and ((folder / OVERLAY).exists() or not asked.overlay):
        logger.info("%s: done already, in %s", path, folder)
        return known
    with open_journal(folder.with_name(f".{folder.name}.journal"), key=key) as journal:
        if journal.done:
            logger.info("%s: %d parts are done already", path, len(journal.done))
        found = predictor.predict(
            path, asked.labels, exclusive=asked.exclusive, templates=asked.templates,
            journal=journal,
        )  # fmt: skip
        for problem in found.problems:
            logger.warning("%s: %s; what was read is kept", path, problem)
        draw(predictor, path, found, folder, overlay=asked.overlay)
        write_csv(folder, found)
        write_tracks(folder, found, key=key)
    tracks = len(found.tracks)
    logger.info(
        "%s: %d key frames, %d persons in %d tracks%s; written to %s",
        path, len(found.key_frames), len(found.boxes), tracks,
        "" if tracks else f" (no box of score {predictor.own.min_score:g} and more)", folder,
    )  # fmt: skip
    return summary_of(found, folder)


def draw(
    predictor: Predictor, path: Path, found: Prediction, folder: Path, *, overlay: bool
) -> None:
    """Read the video once more and write what people look at: the sheet and the overlay.

    Raises:
        ConfigError: no encoder. DataError: the encoder refuses the pictures.
    """
    own = predictor.own
    recording = open_video(path, image_rate=own.image_rate)
    wanted = set(chosen_key_frames(found))
    marks = Marks(found, hold_s=own.every_s / 2)
    pictures: dict[int, np.ndarray] = {}
    length = None if recording.duration_s is None else round(recording.duration_s)
    progress = Progress(f"draw {path.name}", total=length, unit="s of video")
    context = overlay_at(folder / OVERLAY, marks, rate=recording.rate) if overlay else nullcontext()
    with context as writer:
        for shown in recording.frames():
            take = writer is not None and writer.wants(float(shown.time))
            if not take and shown.number not in wanted:
                continue
            pixels = shown.picture.pixels()
            if shown.number in wanted:
                pictures[shown.number] = cell_picture(pixels)
            if writer is not None and take:
                writer.add(float(shown.time), pixels)
            progress.reach(int(shown.time))
    write_sheet(folder / SHEET, found, pictures)
