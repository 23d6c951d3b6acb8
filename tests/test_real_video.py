"""ST-CLIP on ViT-B/16 with real pixels: two training steps and the scores of one clip, on the CPU.

The CLIP has random weights, so the numbers mean nothing; every other part is what a run at full
size uses, through the functions that the command line calls.
"""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import key_frames
from safetensors.torch import load_file

from stclip.config import BoxSource, MethodConfig, load_method
from stclip.errors import ConfigError
from stclip.methods import build as methods
from stclip.methods.st_clip.st_clip import STCLIP
from stclip.records import BOX_COLUMNS, Boxes, Clips, Data, Detections, LabelSplit, Scores
from stclip.score.score import score
from stclip.storage.frame_store import write_clip
from stclip.train.train import train

CONFIG = Path(__file__).parents[1] / "config"
VIDEO = Path(__file__).parents[2] / "shared" / "data" / "clips" / "test_video_structuralize.mp4"
pytestmark = pytest.mark.skipif(not VIDEO.exists(), reason=f"the real video is not at {VIDEO}")

SEED = 3
NUM_FRAMES = 10  # of each clip: one more than the window, so windows move and clamp
# Around the two basketball players, by hand, on the first 20 frames (426x240), x1 y1 x2 y2.
PLAYERS = [(74.0, 97.0, 136.0, 239.0), (215.0, 105.0, 330.0, 235.0)]
SPLIT = LabelSplit(
    dataset="real",
    family="by hand",
    name="1",
    base=("shoot_ball", "walk", "run"),
    unseen=("clap", "sit", "wave", "throw", "pullup", "catch"),
    rule="by hand",
    train_clips=("first",),
    unseen_clips=("second",),
)


def write_frames(video: Path, folder: Path) -> pd.DataFrame:
    """The first frames of the video as clips "first" and "second"; returns the clips table."""
    capture = cv2.VideoCapture(str(video))
    rows = []
    for clip, action in (("first", "shoot_ball"), ("second", "throw")):
        pictures = []
        for frame in range(NUM_FRAMES):
            read, picture = capture.read()
            assert read, f"{video} ends before frame {frame} of clip {clip}"
            pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        write_clip(folder, clip, np.stack(pictures))
        height, width = picture.shape[:2]
        rows.append((clip, NUM_FRAMES, height, width, [action]))
    capture.release()
    return pd.DataFrame(rows, columns=["clip", "num_frames", "height", "width", "actions"])


def write_config(folder: Path) -> MethodConfig:
    """config/methods/st_clip.yaml at a scale with a random ViT-B/16 and two steps of two frames."""
    # The method has settings of its own for AVA.
    for part in ("methods/st_clip.yaml", "datasets/jhmdb.yaml", "datasets/ava.yaml"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CONFIG / part, folder / part)
    scale = {
        "title": "smoke",
        "published": False,
        "backbones": {"ViT-B-16": {"model": "ViT-B-16-quickgelu", "weights": None}},
        "methods": {
            "st_clip": {
                # No warm-up and a large step: two steps must be visible in single precision.
                "train": {"iterations": 2, "batch_frames": 2, "warmup_iterations": 0, "lr": 0.01},
                "score": {"batch_frames": 2},
            }
        },
    }
    (folder / "scales").mkdir()
    (folder / "scales" / "smoke.yaml").write_text(yaml.safe_dump(scale), "utf-8")
    return load_method(folder, "st_clip", dataset="jhmdb", scale="smoke")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One training and one scoring; what they read and wrote."""
    root = tmp_path_factory.mktemp("real")
    table = write_frames(VIDEO, root / "frames")
    table = table.assign(official_split=["train", "test"], fps=29.97, licence="see the video")
    clips = Clips(table)
    boxes = pd.DataFrame(
        [
            (clip, frame, *box, tube, [action])
            for clip, action, people in (("first", "shoot_ball", 1), ("second", "throw", 2))
            for frame in range(NUM_FRAMES)
            for tube, box in enumerate(PLAYERS[:people])  # as in J-HMDB, one person trains
        ],
        columns=["clip", "frame", *BOX_COLUMNS, "tube", "actions"],
    )
    # Detections: both players and, outside the filter, an uncertain box on the wall.
    detected = pd.DataFrame(
        [
            ("second", frame, *box, confidence)
            for frame in range(NUM_FRAMES)
            for box, confidence in zip(
                [*PLAYERS, (0.0, 0.0, 60.0, 90.0)], (0.98, 0.99, 0.2), strict=True
            )
        ],
        columns=["clip", "frame", *BOX_COLUMNS, "score"],
    )
    config = write_config(root / "config")
    truth = Boxes(boxes)
    data = Data(
        clips=clips,
        boxes=truth,
        key_frames=key_frames(clips, truth, every=9),  # frames 0 and 9: the clip's two ends
        frames=root / "frames",
        detections=Detections(detected),
    )
    train(config, data, split=SPLIT, seed=SEED, out=root / "run")
    scoring = {
        "weights": root / "run" / "weights.safetensors",
        "split": SPLIT,
        "sources": {"detected": BoxSource(source="detections", within=0.5)},
        "out": root / "run",
    }
    score(config, data, seed=SEED, **scoring)
    return SimpleNamespace(config=config, out=root / "run", data=data, scoring=scoring)


def test_two_steps_have_finite_losses_of_chance_size(run: SimpleNamespace) -> None:
    log = [json.loads(line) for line in (run.out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [0, 1]
    # A logit is a cosine over 0.07, so the probabilities stay above exp(-2 / 0.07) / 3.
    assert all(0 < line["loss"] < 2 / 0.07 + np.log(3) for line in log)
    saved = yaml.safe_load((run.out / "config.yaml").read_text())
    assert saved["params"] == STCLIP.Config().model_dump()
    assert MethodConfig.model_validate(saved) == run.config
    assert not (run.out / "checkpoint.pt").exists()


def test_lora_prompting_and_interaction_weights_moved(run: SimpleNamespace) -> None:
    after = load_file(run.out / "weights.safetensors")
    torch.manual_seed(SEED)
    before = methods.load_method(run.config).trained_state()
    assert after.keys() == before.keys()
    assert sum(t.numel() for t in after.values()) == 50_385_408
    still = [name for name, t in after.items() if torch.equal(t, before[name])]
    assert still == []
    assert all(bool(t.isfinite().all()) for t in after.values())
    # LoRA B starts at zero: whatever it holds came from these two steps.
    assert all(not before[name].any() for name in before if "lora_B" in name)


def test_scores_have_a_row_per_box_and_sum_to_one(run: SimpleNamespace) -> None:
    scores = Scores.read(run.out / "scores_detected_unseen.parquet")
    assert scores.labels == list(SPLIT.unseen)
    assert scores.probabilities.shape == (4, 6)  # 2 key frames of 2 players
    assert scores.probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    assert scores.table["clip"].unique().tolist() == ["second"]
    assert scores.table["frame"].tolist() == [0, 0, 9, 9]
    # By falling score: the second player first.
    assert scores.boxes_xyxy.tolist() == [list(PLAYERS[i]) for i in (1, 0, 1, 0)]
    assert scores.table["detector_score"].tolist() == pytest.approx([0.99, 0.98] * 2)
    # The two players are seen differently, and so are the two frames.
    assert len({row.tobytes() for row in scores.probabilities}) == 4


def test_a_group_without_clips_gives_an_empty_score_file(run: SimpleNamespace) -> None:
    scores = Scores.read(run.out / "scores_detected_base.parquet")
    assert len(scores) == 0
    assert scores.labels == list(SPLIT.base)


def test_weights_of_another_seed_are_refused(run: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match=r"weights\.safetensors: these weights are of run"):
        score(run.config, run.data, seed=SEED + 1, **run.scoring)
