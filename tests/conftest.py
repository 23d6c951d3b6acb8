"""A tiny world for tests: a few short clips with random pictures and a small random CLIP."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from download_server import server  # noqa: F401  a fixture
from jhmdb_archives import raw  # noqa: F401  a fixture

from stclip.config import EveryFrames, MethodConfig, load_method
from stclip.records import Boxes, Clips, Data, Detections, KeyFrames, LabelSplit
from stclip.splits.key_frames import make_key_frames
from stclip.storage.frame_store import write_clip

ROOT = Path(__file__).parents[1]
LABELS = ("run", "walk", "wave", "clap", "jump")
BASE, UNSEEN = LABELS[:3], LABELS[3:]
METHODS = [  # every file of config/methods, each followed by its variants
    name
    for path in sorted((ROOT / "config" / "methods").glob("*.yaml"))
    for variants in [yaml.safe_load(path.read_text()).get("variants", {})]
    for name in [path.stem, *(f"{path.stem}+{variant}" for variant in variants)]
]


@dataclass(frozen=True)
class World:
    folder: Path
    clips: Clips
    boxes: Boxes
    detections: Detections
    objects: Detections
    split: LabelSplit

    @property
    def frames(self) -> Path:
        return self.folder / "frames"

    @property
    def data(self) -> Data:
        """Every frame of a test clip is a key frame."""
        return self.with_key_frames(every=1)

    def with_key_frames(self, *, every: int) -> Data:
        return Data(
            clips=self.clips, boxes=self.boxes, frames=self.frames, detections=self.detections,
            objects=self.objects, key_frames=key_frames(self.clips, self.boxes, every=every),
        )  # fmt: skip

    @property
    def config(self) -> Path:
        """A config folder whose scale `small` uses the small random CLIP for every method."""
        return self.folder / "config"

    def method(self, name: str, **train: object) -> MethodConfig:
        path = self.config / "scales" / "small.yaml"
        scale = yaml.safe_load(path.read_text())
        scale["methods"].setdefault(name, {})["train"] = train
        path.write_text(yaml.safe_dump(scale))
        return load_method(self.config, name, dataset="jhmdb", scale="small")


# Files of tests that take longest: begun first, or the other cores wait for them at the end.
LONGEST = (
    *("faults", "slurm", "rehearsal", "pipeline", "versions", "pipeline_ucf", "pipeline_ava"),
    *("losses", "resume_identity", "train", "mini"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def key_frames(clips: Clips, boxes: Boxes, *, every: int = 1) -> KeyFrames:
    """Every n-th frame of the test clips, and the annotated ones of the training clips."""
    rule = EveryFrames(rule="every", frames=every)
    return make_key_frames(rule, clips=clips, boxes=boxes, test_split="test")


def made_key_frames(*tables: pd.DataFrame, every: int = 1, fps: float = 30.0) -> KeyFrames:
    """Key frames 0, every, 2 every, ... of the clips in `tables`, to the last frame there."""
    last = pd.concat([table[["clip", "frame"]] for table in tables]).groupby("clip")["frame"].max()
    rows = [
        (clip, frame, frame // every, every / fps, True)
        for clip, end in last.items()
        for frame in range(0, int(end) + 1, every)
    ]
    return KeyFrames(pd.DataFrame(rows, columns=list(KeyFrames.COLUMNS)))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def make_world(folder: Path) -> World:
    rng = np.random.default_rng(0)
    clips, boxes, found, things = [], [], [], []
    for number in range(10):
        clip, action = f"clip_{number}", LABELS[number % 5]
        num_frames = 11 + number % 3
        split = "train" if number < 5 else "test"
        clips.append((clip, split, num_frames, 48, 64, 30.0, "none", [action]))
        pictures = rng.integers(0, 256, (num_frames, 48, 64, 3), dtype=np.uint8)
        write_clip(folder / "frames", clip, pictures)
        for frame in range(num_frames):
            boxes.append((clip, frame, 10, 5, 30, 40, 0, [action]))
            found.append((clip, frame, 11, 6, 31, 41, 0.9))
            if frame % 2:
                found.append((clip, frame, 35, 8, 60, 45, 0.8995))
            # 0 to 2 objects: one at the first person, one away from everybody
            things += [(clip, frame, 25, 20, 45, 44, 0.8), (clip, frame, 0, 0, 6, 4, 0.9)][
                : frame % 3
            ]
    box = ["clip", "frame", "x1", "y1", "x2", "y2"]
    base = [c[0] for c in clips if c[7][0] in BASE]
    config = folder / "config"
    for part in ("methods", "datasets"):
        (config / part).mkdir(parents=True)
        for source in (ROOT / "config" / part).glob("*.yaml"):
            (config / part / source.name).write_text(source.read_text())
    (config / "scales").mkdir()
    (folder / "splits").symlink_to(ROOT / "splits")  # methods name the data sets that have some
    (config / "scales" / "small.yaml").write_text(
        yaml.safe_dump(
            {
                "title": "small",
                "published": False,
                "backbones": {"small": {"model": str(write_small_clip(folder)), "weights": None}},
                "methods": {
                    "*": {"backbone": "small", "features": []},
                    # the small text tower has 16 positions
                    "vitaclip": {"params": {"context_length": 3}},
                    "vitaclip+context_16": {"params": {"context_length": 5}},
                    "iclip+no_objects": {"features": []},
                    "st_clip+its_80": {"params": {"interest_tokens": 3}},  # of 6 tokens
                    # what fits into 16 tokens with a long name
                    "a5": {"params": {"prefix": 2, "postfix": 2}},
                    "actionclip": {"params": {"templates": ["{}", "{}, an action"]}},
                },
            }
        )
    )
    return World(
        folder=folder,
        clips=Clips(pd.DataFrame(clips, columns=list(Clips.COLUMNS))),
        boxes=Boxes(pd.DataFrame(boxes, columns=[*box, "tube", "actions"])),
        detections=Detections(pd.DataFrame(found, columns=[*box, "score"])),
        objects=Detections(pd.DataFrame(things, columns=[*box, "score"])),
        split=LabelSplit(
            dataset="jhmdb",
            family="st-clip",
            name="1",
            base=BASE,
            unseen=UNSEEN,
            rule="test",
            train_clips=[c for c in base if c in {f"clip_{i}" for i in range(5)}],
            base_clips=[c for c in base if c in {f"clip_{i}" for i in range(5, 10)}],
            unseen_clips=["clip_8", "clip_9"],
        ),
    )


def write_small_clip(folder: Path) -> Path:
    """An open_clip model config of two narrow layers on 32 x 32 pictures."""
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    content = {"embed_dim": 64, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    path = folder / "small-clip.json"
    path.write_text(json.dumps(content))
    return path
