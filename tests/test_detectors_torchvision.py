"""The torchvision backend beside torchvision's own way to build and run its models."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import World
from safetensors.torch import save_file
from stub_detectors import eager_tiny_detector
from torchvision.models.detection import (
    FasterRCNN_ResNet50_FPN_Weights,
    fasterrcnn_resnet50_fpn,
)

from stclip.config import DetectorConfig
from stclip.detect.backends.detector_weights import load_weights
from stclip.detect.backends.torchvision import TorchvisionDetector, fasterrcnn_v1
from stclip.errors import DataError


def test_v1_computes_what_torchvision_computes_with_its_coco_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    ours = fasterrcnn_v1().eval()
    # variances so that eps matters: torchvision's plain build would differ
    state = {
        k: v + 1e-5 * torch.rand_like(v) if "running_var" in k else v
        for k, v in ours.state_dict().items()
    }
    ours.load_state_dict(state)
    monkeypatch.setattr(FasterRCNN_ResNet50_FPN_Weights, "get_state_dict", lambda *_, **__: state)
    theirs = fasterrcnn_resnet50_fpn(weights=FasterRCNN_ResNet50_FPN_Weights.COCO_V1).eval()
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for name, features in ours.backbone(picture).items():
            assert features.isfinite().all()
            assert torch.equal(features, theirs.backbone(picture)[name])


@pytest.fixture
def tiny(world: World) -> World:
    save_file(eager_tiny_detector().state_dict(), world.folder / "tiny.safetensors")
    return world


def backend(world: World, precision: str) -> TorchvisionDetector:
    settings = DetectorConfig(
        target="stclip.detect.backends.torchvision:TorchvisionDetector",
        params={"builder": "stclip.mini.tiny_detector:build"},
        precision=precision,
    )
    return TorchvisionDetector(
        TorchvisionDetector.Config(**settings.params),
        settings=settings, files={"weights": world.folder / "tiny.safetensors"}, clips=world.clips,
    )  # fmt: skip


def test_bf16_keeps_the_corners_in_fp32(tiny: World) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(2)]
    keys = [("a", 0), ("a", 1)]
    full = backend(tiny, "fp32").find(keys, pictures)
    half = backend(tiny, "bf16").find(keys, pictures)
    corners = np.concatenate([p.boxes_xyxy for p in half])
    assert len(corners) > 0
    assert half[0].boxes_xyxy.dtype == half[0].scores.dtype == np.float32
    # Beyond 128 a bf16 number is whole: autocast around the model would leave no fractions.
    inside = corners[(corners > 128) & (corners < 239)]
    assert (inside != np.round(inside)).mean() > 0.9
    best = [full[0].boxes_xyxy[0], half[0].boxes_xyxy[0]]
    assert np.abs(best[0] - best[1]).max() < 3
    assert full[0].scores[0] == pytest.approx(half[0].scores[0], abs=0.02)


def test_batching_changes_no_box_by_more_than_rounding(tiny: World) -> None:
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(3)]
    model = backend(tiny, "fp32")
    together = model.find([("a", i) for i in range(3)], pictures)
    alone = [model.find([("a", i)], [p])[0] for i, p in enumerate(pictures)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-3)


def test_weights_of_another_model_are_named_and_old_names_are_read(world: World) -> None:
    """torchvision renames tensors of files without versions, as its own first ones are."""
    model = fasterrcnn_v1()
    old = {name.replace("rpn.head.conv.0.0", "rpn.head.conv"): t for name, t in
           model.state_dict().items()}  # fmt: skip
    path = world.folder / "old.pth"
    torch.save(old, path)
    other = fasterrcnn_v1()
    load_weights(other, path, what="v1")
    assert torch.equal(other.rpn.head.conv[0][0].weight, model.rpn.head.conv[0][0].weight)
    for changes, message in (
        ({"rpn.head.conv.weight": torch.zeros(3)}, r"v1: .*size mismatch for rpn\.head\.conv"),
        ({"roi_heads.box_predictor.cls_score.bias": torch.zeros(11)}, r"\(11,\) in place of \(91,"),
        (
            {"roi_heads.mask.bias": torch.zeros(1)},
            r"1 tensors unexpected, of 295 \(roi_heads",
        ),
    ):
        torch.save(old | changes, path)
        with pytest.raises(DataError, match=rf"(?s)old\.pth: not the weights of .*{message}"):
            load_weights(other, path, what="v1")
    torch.save({"model": old | {"what": Path("x")}}, path)
    with pytest.raises(DataError, match=r"not a checkpoint of tensors and plain values") as told:
        load_weights(other, path, what="v1")
    assert "weights_only" not in str(told.value)  # torch's advice is to unpickle it all
