"""Detectors that answer at once, and detections by them."""

from pathlib import Path

import numpy as np
import torch
from conftest import World
from safetensors.torch import save_file

from stclip.config import DetectorConfig, Params, checked
from stclip.detect import detect as stage
from stclip.detect.backends.backend import Found
from stclip.mini.tiny_detector import build
from stclip.records import Detections


class Stub(torch.nn.Module):
    """Answers like a torchvision detector: a person by brightness, one dog, one faint person."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        Stub.calls += len(pictures)
        boxes = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
        labels, scores = torch.tensor([1, 18, 1]), torch.tensor([0.9, 0.8, 0.01])
        assert all(p.min() >= 0 and p.max() <= 1 and p.shape[0] == 3 for p in pictures)
        empty = {"boxes": boxes[:0], "labels": labels[:0], "scores": scores[:0]}
        whole = {"boxes": boxes, "labels": labels, "scores": scores}
        return [whole if p.mean() > 0.25 else empty for p in pictures]


class Pixel:
    """A backend whose box and score follow from the frame's first pixel, and from the batch."""

    needs_frames = True
    batches: list[list[tuple[str, int]]] = []  # noqa: RUF012
    dies_at = -1

    Config = Params  # nothing to set

    def __init__(self, config, *, settings, files, clips) -> None:  # type: ignore[no-untyped-def]
        pass

    def find(self, keys, pictures):  # type: ignore[no-untyped-def]
        if len(Pixel.batches) == Pixel.dies_at:
            raise KeyboardInterrupt
        Pixel.batches.append(list(keys))
        found = []
        for place, picture in enumerate(pictures):
            value = float(picture[0, 0, 0]) + place / 3  # 1/3: not short in decimals
            box = np.array([[0, 0, value + 1, 7]], np.float32)
            found.append(Found(box, np.array([value / 300], np.float32)))
        return found


def config(**changes: object) -> DetectorConfig:
    settings = {
        "target": "stclip.detect.backends.torchvision:TorchvisionDetector",
        "params": {"builder": "stub_detectors:Stub"},
        "batch_frames": 3,
    }
    return checked(DetectorConfig, settings | changes, "test")


PIXEL = config(target="stub_detectors:Pixel", params={})


def weights(folder: Path) -> Path:
    path = folder / "detector.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    return path


def detect(world: World, settings: DetectorConfig, **changes: object) -> Detections:
    keywords = {
        "files": {"weights": weights(world.folder)},
        "clips": world.clips,
        "key_frames": world.with_key_frames(every=5).key_frames,
        "frames": world.frames,
        "out": world.folder / "found.parquet",
    }
    return stage.detect(settings, **(keywords | changes))  # type: ignore[arg-type]


def eager_tiny_detector() -> torch.nn.Module:
    """The tiny detector untrained, but sure of persons: as it is drawn it would find nothing."""
    torch.manual_seed(0)
    model = build()
    with torch.no_grad():
        model.roi_heads.box_predictor.classes.bias.copy_(torch.tensor([0.0, 2.0]))
        model.roi_heads.box_predictor.boxes.weight.mul_(20)
    return model
