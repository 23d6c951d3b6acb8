"""UCF101's videos and the corrected annotations as published, small enough to draw in a test.

Every picture shows its number in blocks of black and white, so that a test can read which it is.
"""

import io
import pickle
import tarfile
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rar4 import write_rar

from stclip.mini.avi import Manner, as_avi
from stclip.prepare.ucf101_24 import prepare
from stclip.storage.frame_store import read_clip

HEIGHT, WIDTH = 32, 320
BITS = 12  # of a number
_BLOCK = 16  # pixels of one


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    pixels = np.full((height, width, 3), 90, np.uint8)
    for bit in range(BITS):
        pixels[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = 255 * (number >> bit & 1)
    return pixels


def number_of(pixels: np.ndarray) -> int:
    blocks = pixels[:_BLOCK, : BITS * _BLOCK].reshape(_BLOCK, BITS, _BLOCK * 3)
    return sum(int(blocks[:, bit].mean() > 127) << bit for bit in range(BITS))


@cache
def packed_avi(num_frames: int, *, first: int = 0, height: int = HEIGHT) -> bytes:
    """MPEG-4 as UCF101 has it: one key frame, two pictures in a packet, an empty one behind it."""
    pictures = [picture(first + number, height) for number in range(num_frames)]
    return as_avi(np.stack(pictures), manner=Manner.PACKED)


def tube(label: int, start: int, boxes: list[list[int]], dtype: Any = np.uint8) -> dict[str, Any]:
    return {"label": label, "sf": start, "ef": start + len(boxes), "boxes": np.array(boxes, dtype)}


ONE, TWO, THREE, FOUR = (
    "Biking/v_Biking_g01_c01", "Biking/v_Biking_g08_c01", "Diving/v_Diving_g02_c03",
    "Diving/v_Diving_g19_c01",
)  # fmt: skip
UNANNOTATED, OTHER = "Diving/v_Diving_g19_c02", "ApplyLipstick/v_ApplyLipstick_g01_c01"
FRAMES = {ONE: 9, TWO: 8, THREE: 12, FOUR: 10, UNANNOTATED: 8, OTHER: 8}
FIRST = {name: 100 * n for n, name in enumerate(FRAMES)}  # number on the first picture


def _annotations() -> dict[str, Any]:
    tubes = {
        # two persons; 200 + 100 is more than uint8 holds; the second one's boxes are the same
        ONE: [tube(0, 2, [[200, 5, 100, 20]] * 3), tube(0, 0, [[1, 1, 319, 31]] * 4, np.uint16)],
        TWO: [tube(0, 0, [[10, 2, 30, 20]] * 8)],
        # not trimmed, and a gap between two tubes
        THREE: [tube(1, 1, [[5, 1, 9, 9]] * 2), tube(1, 6, [[5, 1, 9, 9], [6, 1, 9, 9]])],
        FOUR: [tube(1, 0, [[10 + n, 2, 30, 20] for n in range(9)])],
    }
    return {
        name: {"numf": np.uint8(FRAMES[name]), "label": label, "annotations": found}
        for (name, found), label in zip(tubes.items(), (0, 0, 1, 1), strict=True)
    }


def _jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=95)
    return file.getvalue()


def _tubes(video: dict[str, Any]) -> dict[int, list[np.ndarray]]:
    """Rows of frame (from 1) and corners (from 0)."""
    found = []
    for tube in video["annotations"]:
        x, y, width, height = tube["boxes"].astype(np.float32).T
        frames = np.arange(tube["sf"], tube["ef"], dtype=np.float32) + 1
        found.append(np.stack([frames, x - 1, y - 1, x + width - 1, y + height - 1], axis=1))
    return {video["label"]: found}


@dataclass
class Raw:
    """What a test spoils before it is written in one of the forms."""

    videos: dict[str, bytes] = field(
        default_factory=lambda: {n: packed_avi(FRAMES[n], first=FIRST[n]) for n in FRAMES}
    )
    annotations: dict[str, Any] = field(default_factory=_annotations)
    tested: list[str] = field(default_factory=lambda: [ONE, THREE])

    def beside(self, folder: Path) -> Path:
        """Write annotations and list."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pyannot.pkl").write_bytes(pickle.dumps(self.annotations, 2))
        (folder / "testlist01.txt").write_text("\n".join(self.tested))
        return folder

    def flat_names(self) -> dict[str, bytes]:
        return {f"UCF101/{name.split('/')[1]}.avi": avi for name, avi in self.videos.items()}

    def zipped(self, folder: Path) -> Path:
        """As THUMOS14 has them: all videos in one folder."""
        self.beside(folder)
        with zipfile.ZipFile(folder / "UCF101_videos.zip", "w") as archive:
            for name, avi in self.flat_names().items():
                archive.writestr(name, avi)
        return folder

    def in_rar(self, folder: Path) -> Path:
        """As the publisher has them: a folder per class."""
        self.beside(folder)
        classes = {f"UCF-101/{name.split('/')[0]}": None for name in self.videos}
        files = {f"UCF-101/{name}.avi": avi for name, avi in self.videos.items()}
        write_rar(folder / "UCF101.rar", {"UCF-101": None, **classes, **files})
        return folder

    def as_moc(self, folder: Path) -> Path:
        """As the MOC detector has them: pictures of the 24 classes, tubes with frames from 1."""
        annotated = [name for name in self.videos if name != OTHER]
        files = {
            f"rgb-images/{name}/{number + 1:05d}.jpg": _jpeg(picture(FIRST[name] + number))
            for name in annotated
            for number in range(FRAMES[name])
        }
        sides = [name in self.tested for name in self.annotations]
        truth = {
            "labels": ["Biking", "Diving"],
            "gttubes": {n: _tubes(video) for n, video in self.annotations.items()},
            "nframes": {n: FRAMES[n] for n in self.annotations},
            "resolution": {n: (HEIGHT, WIDTH) for n in self.annotations},
            "train_videos": [
                [n for n, test in zip(self.annotations, sides, strict=True) if not test]
            ],
            "test_videos": [self.tested],
        }
        files |= {"UCF101v2-GT.pkl": pickle.dumps(truth, 2), "brox-images/a/b/00001.jpg": b"flow"}
        folder.mkdir()
        with tarfile.open(folder / "UCF101_v2.tar.gz", "w:gz") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return folder

    def in_folders(self, folder: Path) -> Path:
        return self._unpacked(folder, {f"{name}.avi": avi for name, avi in self.videos.items()})

    def in_one_folder(self, folder: Path) -> Path:
        return self._unpacked(folder, self.flat_names())

    def _unpacked(self, folder: Path, files: dict[str, bytes]) -> Path:
        self.beside(folder)
        for name, avi in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(avi)
        return folder


def run(raw: Path, out: Path, *, videos: str = "UCF101_videos.zip", **params: Any) -> Path:
    files = {"annotations": "pyannot.pkl", "test_list": "testlist01.txt"}
    params = {"licence": "free", "frame_store": "jpeg"} | files | params
    prepare(raw, out, videos=videos, **params)
    return out


ANNOTATED = (ONE, TWO, THREE, FOUR)  # in the order of the tables


def clip_of(name: str) -> str:
    return name.split("/")[1]


def numbers_in(frames: Path, name: str) -> list[int]:
    return [number_of(pixels) for pixels in read_clip(frames, clip_of(name))]


def shown_in(name: str) -> list[int]:
    return [FIRST[name] + n for n in range(FRAMES[name])]


def prepared_in(folder: Path) -> Path:
    """Draw, prepare; the folder of the result."""
    return run(Raw().zipped(folder / "raw"), folder / "out")
