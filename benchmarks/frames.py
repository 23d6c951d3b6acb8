"""How prepared frames are best stored: picture files, or the stores `decoded` and `jpeg`.

    python benchmarks/frames.py VIDEO [VIDEO ...] --out benchmarks/results/frames.txt
    python benchmarks/frames.py VIDEO [VIDEO ...] --out benchmarks/results/frames_ucf.txt
        --size 320x240 --clip-frames 170 --frames 1020 --forms decoded jpeg

Cuts real videos into clips of 34 frames (J-HMDB's mean), resized to J-HMDB's 320x240 and to the
miniature's 128x96, stores them in each form and measures: bytes, writing, reading a random frame,
a window of 9 frames at a random place, a clip, all from files that the system has in memory, and a
random frame and window right after the system was told to forget the file (a disk may have a memory
of its own). Times are medians, of the processor for what is in memory, so that others on the
machine count less; by the clock for what is not. The second command is of clips of UCF101-24's
length.
A frame read is an RGB Pillow picture, as the methods get it.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from PIL import Image
from results_file import put

from stclip.runtime.device import machine
from stclip.storage.frame_store import StoreName, clip_file, read_frame, write_clip

SIZES = ["320x240", "128x96"]  # width, height
READS, COLD_READS = 400, 100
WINDOW = 9
ENCODED = {"PNG": ("png", {}), "JPEG q95": ("jpg", {"quality": 95})}
STORES: dict[str, StoreName] = {"decoded": "decoded", "jpeg": "jpeg"}
HEADER = (
    "  form            kB/frame   write   frame  window    clip    cold  window"
    "   (ms a frame; the last two from a file not in memory)\n"
)


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
    return np.stack([cv2.resize(p, (320, 240), interpolation=cv2.INTER_AREA) for p in pictures])


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


def seconds(call: Callable[[], object], *, clock: Callable[[], float] = time.process_time) -> float:
    """How long a call takes."""
    start = clock()
    call()
    return clock() - start


def forget(path: Path) -> None:
    """Ask the system to drop a file from its memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(form: str, clips: dict[str, np.ndarray], folder: Path) -> str:
    """Store the clips in one form; a line of the table."""
    rng = np.random.default_rng(0)
    packed = form in STORES

    def write(clip: str, pictures: np.ndarray) -> None:
        if packed:
            write_clip(folder, clip, pictures, store=STORES[form])
        else:
            write_encoded(folder, clip, pictures, form=form)

    def read(clip: str, frame: int) -> Image.Image:
        if packed:
            return read_frame(folder, clip, frame)
        return read_encoded(folder, clip, frame, form=form)

    def files(clip: str, frame: int) -> Path:
        if packed:
            return clip_file(folder, clip, STORES[form])
        return folder / clip / f"{frame:05d}.{ENCODED[form][0]}"

    num_frames = sum(map(len, clips.values()))
    write_s = median([seconds(lambda c=c, p=p: write(c, p)) / len(p) for c, p in clips.items()])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    names = list(clips)
    places = []
    for clip in rng.choice(names, READS):
        places.append((str(clip), int(rng.integers(len(clips[str(clip)]) - WINDOW))))

    def read_window(clip: str, start: int) -> None:
        for frame in range(start, start + WINDOW):
            read(clip, frame)

    def read_whole(clip: str) -> None:
        for frame in range(len(clips[clip])):
            read(clip, frame)

    def forget_window(clip: str, start: int) -> None:
        for path in {files(clip, frame) for frame in range(start, start + WINDOW)}:
            forget(path)

    frame_s = median([seconds(lambda p=p: read(*p)) for p in places])
    window_s = median([seconds(lambda p=p: read_window(*p)) / WINDOW for p in places])
    whole_s = median([seconds(lambda c=c: read_whole(c)) / len(clips[c]) for c in names])
    cold, cold_window = [], []
    for place in places[:COLD_READS]:
        forget(files(*place))
        cold.append(seconds(lambda p=place: read(*p), clock=time.perf_counter))
        forget_window(*place)
        window = seconds(lambda p=place: read_window(*p), clock=time.perf_counter)
        cold_window.append(window / WINDOW)
    numbers = (write_s, frame_s, window_s, whole_s, median(cold), median(cold_window))
    times = "".join(f"{1000 * s:8.3f}" for s in numbers)
    line = f"  {form:14}{size / num_frames / 1000:10.1f}{times}"
    if form.startswith(("JPEG", "jpeg")):
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
    parser.add_argument("--frames", type=int, default=544)
    parser.add_argument("--size", nargs="+", default=SIZES, dest="sizes", metavar="WIDTHxHEIGHT")
    parser.add_argument("--clip-frames", type=int, default=34)
    parser.add_argument("--forms", nargs="+", default=[*ENCODED, *STORES])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    pictures = decoded(options.videos, options.frames)
    names = ", ".join(p.name for p in options.videos)
    text = f"{machine()}; Pillow {Image.__version__}, OpenCV {cv2.__version__}, numpy "
    text += f"{np.__version__}\n{len(pictures)} frames of {names}, in clips of "
    text += f"{options.clip_frames}\n"
    for size in options.sizes:
        width, height = map(int, size.split("x"))
        small = [cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures]
        clips = {
            f"clip_{start:04d}": np.stack(small[start : start + options.clip_frames])
            for start in range(0, len(small), options.clip_frames)
            if start + WINDOW < len(small)
        }
        text += f"{size}\n{HEADER}"
        for form in options.forms:
            with tempfile.TemporaryDirectory() as folder:
                text += measure(form, clips, Path(folder))
    put(text, options.out)


if __name__ == "__main__":
    main()
