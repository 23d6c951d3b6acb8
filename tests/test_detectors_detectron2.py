"""The detectron2 backend against a stand-in for the library, which is not installed here."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, World

from stclip.config import DetectorConfig, load_scale
from stclip.detect.backends.backend import load_backend
from stclip.detect.backends.detectron2 import INSTALL
from stclip.errors import ConfigError, DataError


def settings(**changes: object) -> DetectorConfig:
    paper = load_scale(ROOT / "config", "paper").detectors["detectron2_r50_fpn_3x"]
    return paper.model_copy(update={"precision": "fp32", **changes})


class Instances(SimpleNamespace):
    def to(self, device: str) -> "Instances":
        assert device == "cpu"
        return self


class Model(torch.nn.Module):
    """A person where the picture is blue (COCO's class 0), a bicycle, a faint person."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Linear(2, 2)
        self.roi_heads = torch.nn.ModuleDict({"box_head": torch.nn.Linear(2, 2)})

    def forward(self, inputs: list[dict]) -> list[dict]:  # type: ignore[type-arg]
        self.inputs = inputs
        self.features = self.backbone(torch.tensor([1 / 3, 2 / 3]))
        results = []
        for one in inputs:
            scores = torch.tensor([0.9, 0.8, 0.01])
            if one["image"][0].mean() < 128:  # the first channel is blue
                scores[0] = 0.0
            boxes = torch.tensor(
                [[0.0, 0, one["width"], one["height"]], [1, 1, 2, 2], [3, 3, 4, 4]]
            )
            results.append(
                {
                    "instances": Instances(
                        pred_classes=torch.tensor([0, 1, 0]), scores=scores,
                        pred_boxes=SimpleNamespace(tensor=boxes),
                    )
                }
            )  # fmt: skip
        return results


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the backend uses of detectron2, as modules."""
    heads = SimpleNamespace(SCORE_THRESH_TEST=None)
    cfg = SimpleNamespace(
        MODEL=SimpleNamespace(DEVICE=None, ROI_HEADS=heads),
        INPUT=SimpleNamespace(MIN_SIZE_TEST=96, MAX_SIZE_TEST=200, FORMAT="BGR"),
    )
    seen = SimpleNamespace(cfg=cfg, model=Model(), loaded=None, name=None)

    class Checkpointer:
        def __init__(self, model: torch.nn.Module) -> None:
            assert model is seen.model

        def load(self, path: str) -> None:
            if "damaged" in Path(path).read_text():
                raise EOFError("Ran out of input")
            seen.loaded = path

    class Resize:
        """Doubles the picture."""

        def __init__(self, sides: list[int], longest: int) -> None:
            assert (sides, longest) == ([96, 96], 200)

        def get_transform(self, picture: np.ndarray) -> SimpleNamespace:
            return SimpleNamespace(apply_image=lambda p: p.repeat(2, axis=0).repeat(2, axis=1))

    def get_config(name: str) -> SimpleNamespace:
        seen.name = name
        return cfg

    contents = {
        "detectron2": {},
        "detectron2.model_zoo": {"get_config": get_config},
        "detectron2.modeling": {"build_model": lambda cfg: seen.model},
        "detectron2.checkpoint": {"DetectionCheckpointer": Checkpointer},
        "detectron2.data": {},
        "detectron2.data.transforms": {"ResizeShortestEdge": Resize},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return seen


def test_pictures_go_in_as_bgr_0_to_255_and_only_persons_come_out(
    world: World, library: SimpleNamespace
) -> None:
    weights = world.folder / "zoo.pkl"
    weights.write_text("a pickle")
    backend = load_backend(
        settings(score_threshold=0.3), files={"weights": weights}, clips=world.clips
    )
    assert library.name == "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"
    assert library.loaded == str(weights)
    assert library.cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST == 0.3
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[:, :, 2] = 250
    red = blue[:, :, ::-1].copy()
    one, other = backend.find([("a", 0), ("a", 1)], [blue, red])
    first = library.model.inputs[0]
    assert first["image"].shape == (3, 96, 128)
    assert first["image"].dtype == torch.float32
    assert first["image"].mean((1, 2)).tolist() == [250, 0, 0]
    assert (first["height"], first["width"]) == (48, 64)  # boxes come in pixels of the frame
    assert one.boxes_xyxy.tolist() == [[0, 0, 64, 48]]
    assert one.boxes_xyxy.dtype == one.scores.dtype == np.float32
    assert len(other.scores) == 0


def test_asked_for_objects_it_gives_every_class_but_persons(
    world: World, library: SimpleNamespace
) -> None:
    weights = world.folder / "zoo.pkl"
    weights.write_text("a pickle")
    asked = settings(params={"objects": True})
    backend = load_backend(asked, files={"weights": weights}, clips=world.clips)
    (found,) = backend.find([("a", 0)], [np.full((48, 64, 3), 250, np.uint8)])
    assert found.boxes_xyxy.tolist() == [[1, 1, 2, 2]]  # the bicycle
    assert found.scores.tolist() == [np.float32(0.8)]


def test_bf16_holds_inside_the_heavy_parts_alone(world: World, library: SimpleNamespace) -> None:
    weights = world.folder / "zoo.pkl"
    weights.write_text("a pickle")
    features = []
    for precision in ("fp32", "bf16"):
        keywords = {"files": {"weights": weights}, "clips": world.clips}
        load_backend(settings(precision=precision), **keywords).find(
            [("a", 0)], [np.zeros((4, 4, 3), np.uint8)]
        )
        features.append(library.model.features)
    full, half = features
    assert full.dtype == half.dtype == torch.float32
    assert torch.equal(half, half.bfloat16().float())
    assert not torch.equal(full, half)


def test_a_damaged_pickle_is_named(world: World, library: SimpleNamespace) -> None:
    weights = world.folder / "zoo.pkl"
    weights.write_text("damaged")
    with pytest.raises(DataError, match=r"zoo\.pkl: not the weights of COCO-Detection.*Ran out"):
        load_backend(settings(), files={"weights": weights}, clips=world.clips)


def test_without_the_library_the_error_names_the_line_that_installs_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "detectron2", None)
    with pytest.raises(ConfigError, match=f"needs detectron2.*Install it: {INSTALL}"):
        load_backend(settings(), files={"weights": world.folder / "x"}, clips=world.clips)
    assert (ROOT / "environment-detectron2.yml").exists()


def test_nothing_imports_the_library_unasked() -> None:
    import subprocess

    code = "import sys, stclip.detect.detect, stclip.detect.backends.torchvision\n"
    code += "sys.exit('detectron2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
