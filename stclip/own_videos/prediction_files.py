"""Writes what was found in a video: predictions.csv, predictions.json; tells whether it is there.

The csv is what `stclip evaluate-file` reads. Frames count from 1 in both files, as published data
sets count them; time is in seconds from the video's start.
"""

from dataclasses import dataclass
from pathlib import Path

from stclip.errors import DataError
from stclip.evaluate.outside_rows import DETECTION_COLUMNS
from stclip.own_videos.found_persons import Prediction
from stclip.records import BOX_COLUMNS
from stclip.storage.files import read_json, whole_file, write_json
from stclip.storage.seal import SEAL

CSV, JSON = "predictions.csv", "predictions.json"
OVERLAY, SHEET = "overlay.mp4", "sheet.png"
SHOWN = 3  # labels of a track in a summary


def write_csv(folder: Path, found: Prediction) -> None:
    """One row per box and label: video, frame (from 1), class, score, x1, y1, x2, y2."""
    table = found.table[DETECTION_COLUMNS].assign(frame=lambda rows: rows["frame"] + 1)
    with whole_file(folder / CSV) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def write_tracks(folder: Path, found: Prediction, *, key: str) -> None:
    """The tracks as JSON; it says that all is written, so it comes last.

    `key`: what the prediction depends on (`Predictor.key`).
    """
    boxes = found.boxes
    tracks = [
        {
            "track": track.number,
            "first_s": round(track.first_s, 3),
            "last_s": round(track.last_s, 3),
            "probabilities": _rounded(track.probabilities),
            "boxes": [
                {
                    "frame": int(boxes["frame"].iloc[row]) + 1,
                    "time_s": round(float(boxes["time_s"].iloc[row]), 3),
                    "box_xyxy": [round(float(v), 2) for v in boxes[BOX_COLUMNS].iloc[row]],
                    "detector_score": round(float(boxes["detector_score"].iloc[row]), 5),
                    "probabilities": [round(float(v), 5) for v in found.probabilities[row]],
                }
                for row in track.rows
            ],
        }
        for track in found.tracks
    ]
    content = {
        "video": found.video,
        "path": found.path,
        "width": found.size[0],
        "height": found.size[1],
        "method": found.method,
        "labels": list(found.labels),
        "exclusive": list(found.exclusive),
        "key_frames": [
            {"frame": int(frame) + 1, "time_s": round(float(time_s), 3)}
            for frame, time_s in zip(
                found.key_frames["frame"], found.key_frames["time_s"], strict=True
            )
        ],
        "problems": list(found.problems),
        "tracks": tracks,
        "key": key,
    }
    write_json(folder / JSON, content | SEAL)


@dataclass(frozen=True)
class TrackSummary:
    """A track in a line."""

    track: int
    first_s: float
    last_s: float
    boxes: int
    best: tuple[tuple[str, float], ...]  # labels and mean probabilities, the best first


@dataclass(frozen=True)
class Summary:
    """What was found in a video, for a short table."""

    name: str  # of the folder
    folder: Path
    key_frames: int
    tracks: tuple[TrackSummary, ...]
    problems: tuple[str, ...]


def summary_of(found: Prediction, folder: Path) -> Summary:
    """The summary of a prediction that is written to `folder`."""
    tracks = tuple(
        TrackSummary(t.number, t.first_s, t.last_s, len(t.rows), tuple(t.best(SHOWN)))
        for t in found.tracks
    )
    return Summary(folder.name, folder, len(found.key_frames), tracks, found.problems)


def read_summary(folder: Path, *, key: str) -> Summary | None:
    """What an earlier call has written whole for the same key; None if it has not."""
    path = folder / JSON
    if not path.exists():
        return None
    try:
        content = read_json(path)
    except DataError:
        return None  # damaged: it is made anew
    if not isinstance(content, dict) or content.get("key") != key:
        return None
    tracks = tuple(
        TrackSummary(
            track["track"], track["first_s"], track["last_s"], len(track["boxes"]),
            tuple(sorted(track["probabilities"].items(), key=lambda pair: -pair[1])[:SHOWN]),
        )
        for track in content["tracks"]
    )  # fmt: skip
    problems = tuple(content["problems"])
    return Summary(folder.name, folder, len(content["key_frames"]), tracks, problems)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {label: round(value, 5) for label, value in values.items()}
