"""How prepared frames are best stored: PNG, JPEG or decoded pixels.

    python benchmarks/frames.py VIDEO [VIDEO ...] --out benchmarks/results/frames.txt

Cuts real videos into clips of 34 frames (J-HMDB's mean), resized to J-HMDB's 320x240 and to the
miniature's 128x96, stores them in each form and measures: bytes, writing, reading a random frame
and reading a clip, both from files that the system has in memory, and a random frame right after
the system was told to forget the file (a disk may have a memory of its own).
A frame read is an RGB Pillow picture, as the methods get it.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stclip.runtime.device import machine
from stclip.storage.frame_store import clip_file, read_frame, write_clip

SIZES = ((320, 240), (128, 96))  # width, height
CLIP_FRAMES = 34
READS = 400
ENCODED = {"PNG": ("png", {}), "JPEG q95": ("jpg", {"quality": 95})}
HEADER = "  form            kB/frame   write   frame    clip    cold   (ms; clip: per frame)\n"


def decoded(videos: Iterable[Path], num_frames: int) -> np.ndarray:
    """About equally many frames of each video, uint8 (T, 320 x 240 RGB)."""
    paths = list(videos)
    pictures = []
    for path in paths:
        capture = cv2.VideoCapture(str(path))
        for _ in range(-(-num_frames // len(paths))):
            read, picture = capture.read()
            if not read:
                break
            pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        capture.release()
    return np.stack([cv2.resize(p, SIZES[0], interpolation=cv2.INTER_AREA) for p in pictures])


def write_encoded(folder: Path, clip: str, pictures: np.ndarray, *, form: str) -> None:
    """A folder of picture files."""
    suffix, options = ENCODED[form]
    (folder / clip).mkdir(parents=True)
    for frame, picture in enumerate(pictures):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, suffix.replace("jpg", "jpeg"), **options)
        (folder / clip / f"{frame:05d}.{suffix}").write_bytes(buffer.getvalue())


def read_encoded(folder: Path, clip: str, frame: int, *, form: str) -> Image.Image:
    """One picture file, decoded."""
    with Image.open(folder / clip / f"{frame:05d}.{ENCODED[form][0]}") as file:
        return file.convert("RGB")


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def forget(path: Path) -> None:
    """Ask the system to drop a file from its memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(form: str, clips: dict[str, np.ndarray], folder: Path) -> str:
    """Store the clips in one form; a line of the table."""
    rng = np.random.default_rng(0)
    packed = form not in ENCODED

    def write(clip: str, pictures: np.ndarray) -> None:
        if packed:
            write_clip(folder, clip, pictures)
        else:
            write_encoded(folder, clip, pictures, form=form)

    def read(clip: str, frame: int) -> Image.Image:
        if packed:
            return read_frame(folder, clip, frame)
        return read_encoded(folder, clip, frame, form=form)

    def files(clip: str, frame: int) -> Path:
        if packed:
            return clip_file(folder, clip)
        return folder / clip / f"{frame:05d}.{ENCODED[form][0]}"

    num_frames = sum(map(len, clips.values()))
    write_s = sum(seconds(lambda c=c, p=p: write(c, p)) for c, p in clips.items())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    names = list(clips)
    places = []
    for clip in rng.choice(names, READS):
        places.append((str(clip), int(rng.integers(len(clips[str(clip)])))))
    frame_s = sum(seconds(lambda p=p: read(*p)) for p in places) / READS
    whole_s = sum(seconds(lambda p=(c, f): read(*p)) for c in names for f in range(len(clips[c])))
    cold_s = 0.0
    for place in places[:100]:
        forget(files(*place))
        cold_s += seconds(lambda p=place: read(*p)) / 100
    numbers = (write_s / num_frames, frame_s, whole_s / num_frames, cold_s)
    times = "".join(f"{1000 * s:8.3f}" for s in numbers)
    line = f"  {form:14}{size / num_frames / 1000:10.1f}{times}"
    if form.startswith("JPEG"):
        errors = [
            np.asarray(read(c, f)).astype(int) - clips[c][f]
            for c in names
            for f in range(0, len(clips[c]), 8)
        ]
        off = np.abs(np.stack(errors))
        line += f"   pixels off by {off.mean():.2f} on average, at most {off.max()}"
    return line + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=340)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    pictures = decoded(options.videos, options.frames)
    names = ", ".join(p.name for p in options.videos)
    text = f"{machine()}; Pillow {Image.__version__}, numpy {np.__version__}\n"
    text += f"{len(pictures)} frames of {names}\n"
    for width, height in SIZES:
        small = [cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures]
        clips = {
            f"clip_{start:04d}": np.stack(small[start : start + CLIP_FRAMES])
            for start in range(0, len(small), CLIP_FRAMES)
        }
        text += f"{width}x{height}\n{HEADER}"
        for form in (*ENCODED, "packed uint8"):
            with tempfile.TemporaryDirectory() as folder:
                text += measure(form, clips, Path(folder))
    sys.stdout.write(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
