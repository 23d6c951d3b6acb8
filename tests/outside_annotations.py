"""Small annotations as others publish them."""

from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the annotations in {SHARED}")


MAP = {11: "sit", 12: "wave"}


FULL_MAP = MAP | {13: "run"}


def label_map(folder: Path, names: dict[int, str] = MAP) -> Path:
    path = folder / "labels.pbtxt"
    blocks = (f'label {{\n name: "{name}"\n label_id: {n}\n}}\n' for n, name in names.items())
    path.write_text("".join(blocks), "utf-8")
    return path


def ava(folder: Path, *lines: str, name: str = "ava.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def released(**changes: Any) -> dict[str, Any]:
    """Two images and annotations like those released with ST-CLIP."""
    images = [{"id": n, "movie": "s", "timestamp": f"{n:05d}"} for n in (1, 2)]
    boxes = [{"image_id": n, "action_ids": [2], "bbox": [0, 0, 10, 10]} for n in (1, 2)]
    found: dict[str, Any] = {"images": images, "annotations": boxes}
    for path, value in changes.items():
        key, name = path.split("__")
        found[key][0][name] = value
    return found


def ucf(*, train: list[str] | None = None, numf: Any = 5, **tube: Any) -> dict[str, Any]:
    """A training and a test video like those of the corrected UCF101-24 annotations."""
    own = {"label": 1, "sf": 0, "ef": 2, "boxes": [[1, 1, 10, 10], [1, 1, 10, 10]]} | tube
    return {
        "classes": ["run", "sit", "wave"],
        "trainvideos": ["sit/t"] if train is None else train,
        "db": {key: {"numf": numf, "label": 1, "annotations": [own]} for key in ("sit/s", "sit/t")},
    }
