from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, World
from safetensors.torch import save_file

from stclip.config import DetectorConfig, load_scale
from stclip.detect import detect, load_detector
from stclip.errors import ConfigError, DataError
from stclip.pictures import clip_file, write_clip
from stclip.records import Clips, Detections
from stclip.targets import resolve_target


class Stub(torch.nn.Module):
    """Answers like a torchvision detector: a person by brightness, one dog, one faint person."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        boxes = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
        labels, scores = torch.tensor([1, 18, 1]), torch.tensor([0.9, 0.8, 0.01])
        assert all(p.min() >= 0 and p.max() <= 1 and p.shape[0] == 3 for p in pictures)
        empty = {"boxes": boxes[:0], "labels": labels[:0], "scores": scores[:0]}
        whole = {"boxes": boxes, "labels": labels, "scores": scores}
        return [whole if p.mean() > 0.25 else empty for p in pictures]


def config() -> DetectorConfig:
    return DetectorConfig(architecture="test_detect:Stub", weights="", batch_frames=3)


def weights(folder: Path) -> Path:
    path = folder / "detector.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    return path


def test_persons_of_test_key_frames_above_the_threshold(world: World) -> None:
    found = detect(
        config(), weights=weights(world.folder), clips=world.clips, frames=world.frames,
        key_frame_stride=5,
    )  # fmt: skip
    # test clips 5..9 have 13, 11, 12, 13, 11 frames: three key frames 0 5 10 each
    assert len(found) == 15
    assert found.boxes_xyxy.tolist() == [[1, 2, 3, 4]] * 15
    assert found.table["frame"].tolist() == [0, 5, 10] * 5
    assert set(found.table["clip"]) == {f"clip_{i}" for i in range(5, 10)}


def test_weights_missing_or_of_another_model_are_named(world: World) -> None:
    keywords = {"clips": world.clips, "frames": world.frames, "key_frame_stride": 5}
    with pytest.raises(DataError, match=r"none\.safetensors: no detector weights"):
        detect(config(), weights=world.folder / "none.safetensors", **keywords)
    path = world.folder / "other.safetensors"
    save_file({"strange": torch.zeros(1)}, path)
    with pytest.raises(DataError, match=r"other\.safetensors: not the weights of test_detect:Stub"):
        detect(config(), weights=path, **keywords)


def test_unknown_architecture_is_a_configuration_error(world: World) -> None:
    wrong = config().model_copy(update={"architecture": "torchvision.models.detection:yolo"})
    with pytest.raises(ConfigError, match=r"yolo.*must be module:name"):
        detect(
            wrong, weights=weights(world.folder), clips=world.clips, frames=world.frames,
            key_frame_stride=5,
        )  # fmt: skip


def test_no_person_anywhere_gives_an_empty_table(world: World) -> None:
    for row in world.clips.table.itertuples():
        write_clip(world.frames, row.clip, np.zeros((row.num_frames, 48, 64, 3), np.uint8))
    found = detect(
        config(), weights=weights(world.folder), clips=world.clips, frames=world.frames,
        key_frame_stride=5,
    )  # fmt: skip
    assert isinstance(found, Detections)
    assert isinstance(found.table, pd.DataFrame)
    assert len(found) == 0


def test_the_paper_s_detector_is_built_and_loaded_as_configured(world: World) -> None:
    """torchvision's Faster R-CNN v2 as config/scales/paper.yaml names it, with random weights."""
    paper = load_scale(ROOT / "config", "paper").detector
    torch.manual_seed(0)
    path = world.folder / "random.pth"
    torch.save(resolve_target(paper.architecture)(**paper.params).state_dict(), path)
    model = load_detector(paper, path).eval()
    with torch.inference_mode():
        (found,) = model([torch.rand(3, 48, 64)])
    assert {"boxes", "labels", "scores"} <= found.keys()
    assert model.roi_heads.score_thresh == paper.score_threshold


def test_a_clip_with_a_damaged_header_and_a_missing_one_are_named(world: World) -> None:
    path = clip_file(world.frames, "clip_5")
    keywords = {"clips": world.clips, "frames": world.frames, "key_frame_stride": 5}
    content = bytearray(path.read_bytes())
    content[20] ^= 0xFF  # inside the header
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"clip_5\.npy: damaged"):
        detect(config(), weights=weights(world.folder), **keywords)
    path.unlink()
    with pytest.raises(DataError, match=r"clip_5\.npy: frames of clip 'clip_5' are missing"):
        detect(config(), weights=weights(world.folder), **keywords)


def test_no_test_clip_is_told(world: World) -> None:
    train = Clips(world.clips.table.assign(official_split="train"))
    with pytest.raises(DataError, match="no clip of the official test split"):
        detect(
            config(), weights=weights(world.folder), clips=train, frames=world.frames,
            key_frame_stride=5,
        )  # fmt: skip
