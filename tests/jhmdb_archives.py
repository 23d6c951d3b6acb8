"""J-HMDB's archives in the published layout, quirks included, small enough to build in a test."""

import io
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from stclip.prepare.jhmdb import prepare
from stclip.records import Boxes

HEIGHT, WIDTH = 12, 16
ODD = "Me_(100%)_@_home_+_friends!_clap_u_nm_np1_fr_med_0"


def png(shade: int, *, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    picture = np.full((height, width, 3), shade, np.uint8)
    picture[0, 0] = 255 - shade
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    return buffer.getvalue()


def with_pixels(content: bytes) -> bytes:
    """A PNG of right check sums whose pixel chunk holds `content`."""
    whole = png(1)
    chunk = b"IDAT" + content
    return (
        whole[:33]  # signature and header
        + struct.pack(">I", len(content))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + whole[-12:]  # the end chunk
    )


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    """Mask (H, W) whose first and last non-zero columns are x1 and x2, rows y1 and y2."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y1, x1] = mask[y2, x2] = 3  # two corners are enough for a tight box
    return mask


EMPTY = np.zeros((HEIGHT, WIDTH), np.uint8)


def mat(mask: np.ndarray, name: str = "part_mask") -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {name: mask}, do_compression=True)
    return buffer.getvalue()


def moving(num_frames: int) -> np.ndarray:
    """Mask (H, W, T) whose box is (t, 1, t + 4, 10) in frame t."""
    return np.stack([rectangle(t, 1, t + 4, 10) for t in range(num_frames)], axis=-1)


@dataclass
class Raw:
    """The published archives, as dictionaries to spoil before they are written."""

    pictures: dict[str, bytes] = field(default_factory=dict)
    splits: dict[str, bytes] = field(default_factory=dict)
    masks: dict[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(folder / "Rename_Images.tar.gz", "w:gz") as tar:
            for name, content in self.pictures.items():
                info = tarfile.TarInfo(f"Rename_Images/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        for name, files in (("splits", self.splits), ("puppet_mask", self.masks)):
            with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
                archive.writestr(f"{name}/", "")
                for member, content in files.items():
                    archive.writestr(f"{name}/{member}", content)
        return folder


@pytest.fixture
def raw() -> Raw:
    """Three videos: 3 frames with 3 masks, 4 with 2 (it ends early), 3 with 3 of which 1 is empty.

    The pictures come last first, and what file managers leave behind lies among them.
    """
    raw = Raw()
    for action, clip, num_frames in (("wave", "w_1", 3), ("clap", ODD, 4), ("clap", "c_2", 3)):
        for number in range(num_frames, 0, -1):
            raw.pictures[f"{action}/{clip}/{number:05d}.png"] = png(number)
    raw.pictures |= {".DS_Store": b"x", "wave/w_1/._00001.png": b"x", "wave/w_1/Thumbs.db": b"x"}
    gap = moving(3)
    gap[:, :, 1] = EMPTY
    raw.masks = {
        "wave/w_1/puppet_mask.mat": mat(moving(3)),
        f"clap/{ODD}/puppet_mask.mat": mat(moving(2)),
        "clap/c_2/puppet_mask.mat": mat(gap),
        "clap/c_2/._puppet_mask.mat": b"x",
    }
    for number in (1, 2, 3):
        raw.splits[f"wave_test_split{number}.txt"] = f"w_1.avi {1 + (number > 1)}\n".encode()
        raw.splits[f"clap_test_split{number}.txt"] = f"{ODD}.avi 1 \r\nc_2.avi  2\r\n\r\n".encode()
    return raw


def run(raw: Raw, folder: Path, *, official_split: int = 1) -> Path:
    out = folder / "out"
    prepare(raw.write(folder / "raw"), out, licence="free", fps=30, official_split=official_split)
    return out


def box_of(out: Path, clip: str) -> list[list[float]]:
    boxes = Boxes.read(out / "boxes.parquet")
    return boxes.boxes_xyxy[(boxes.table["clip"] == clip).to_numpy()].tolist()
