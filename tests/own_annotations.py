"""Videos and annotations as somebody brings them along, for tests of own data."""

import shutil
from pathlib import Path

from drawn_videos import write_video

HEADER = "video,frame,class,x1,y1,x2,y2,person\n"
# pictures 0 to 5 at 25 a second, then five times slower
SLOWER = [0, 1, 2, 3, 4, 5, 10, 15, 20, 25, 30, 35]


def write_videos(folder: Path) -> Path:
    """Videos a to f; b is turned, c of a varying rate, d larger."""
    videos = folder / "videos"
    write_video(videos / "a.mp4")
    write_video(videos / "b.mp4", turned=True)
    write_video(videos / "below" / "c.mkv", at=SLOWER)
    write_video(videos / "d.avi", size=(96, 160))
    for name in ("e", "f"):
        shutil.copy(videos / "a.mp4", videos / f"{name}.mp4")
    (videos / "notes.txt").write_text("no video")
    (folder / "labels.txt").write_text("run\nsit\n\nwave\n")
    return folder


def line(video: str, frame: object, label: str, *box: float, person: object = 1) -> str:
    return f"{video},{frame},{label},{','.join(map(str, box or (10, 5, 30, 40)))},{person}\n"


LABELLED = "".join(
    line(video, frame, label)
    for video, label in {"a": "run", "b": "run", "c": "sit", "d": "sit", "e": "wave", "f": "wave"}
    .items()
    for frame in (2, 6)
)  # fmt: skip
