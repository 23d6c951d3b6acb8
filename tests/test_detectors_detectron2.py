"""The detectron2 backend against a stand-in for the library, and where it is installed itself."""

import pickle
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


MODELS = ("faster_rcnn_R_50_FPN_3x", "rpn_R_50_FPN_1x", "fast_rcnn_R_50_FPN_1x")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the backend uses of detectron2, as modules; the package has no `model_zoo` to import."""
    configs = tmp_path / "site" / "detectron2" / "model_zoo" / "configs"
    for name in ("COCO-Detection", "LVISv1-InstanceSegmentation"):
        (configs / name).mkdir(parents=True)
    for name in (*MODELS, "Base-RCNN-FPN"):
        (configs / "COCO-Detection" / f"{name}.yaml").touch()
    (configs / "LVISv1-InstanceSegmentation" / "mask_rcnn_R_50_FPN_1x.yaml").touch()

    class Cfg(SimpleNamespace):
        def merge_from_file(self, path: str) -> None:
            seen.path = Path(path)
            assert seen.path.exists()
            self.MODEL.LOAD_PROPOSALS = "fast_rcnn_" in path
            if "rpn_" in path:
                self.MODEL.META_ARCHITECTURE = "ProposalNetwork"

    threshold = {"SCORE_THRESH_TEST": 0.05}
    model = SimpleNamespace(
        DEVICE=None, META_ARCHITECTURE="GeneralizedRCNN", LOAD_PROPOSALS=False,
        ROI_HEADS=SimpleNamespace(**threshold), RETINANET=SimpleNamespace(**threshold),
        PIXEL_MEAN=[103.53, 116.28, 123.675], PIXEL_STD=[1.0, 1.0, 1.0],
    )  # fmt: skip
    cfg = Cfg(MODEL=model, INPUT=SimpleNamespace(MIN_SIZE_TEST=96, MAX_SIZE_TEST=200, FORMAT="BGR"))
    seen = SimpleNamespace(cfg=cfg, model=Model(), path=None)

    class Resize:
        """Doubles the picture."""

        def __init__(self, sides: list[int], longest: int) -> None:
            assert (sides, longest) == ([96, 96], 200)

        def get_transform(self, picture: np.ndarray) -> SimpleNamespace:
            return SimpleNamespace(apply_image=lambda p: p.repeat(2, axis=0).repeat(2, axis=1))

    contents = {
        "detectron2": {"__file__": str(configs.parents[1] / "__init__.py")},
        "detectron2.config": {"get_cfg": lambda: cfg},
        "detectron2.modeling": {"build_model": lambda cfg: seen.model},
        "detectron2.data": {},
        "detectron2.data.transforms": {"ResizeShortestEdge": Resize},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "detectron2.model_zoo", None)  # it needs pkg_resources
    return seen


@pytest.fixture
def weights(world: World) -> Path:
    return zoo_file(world.folder / "zoo.pkl", Model())


def zoo_file(path: Path, model: torch.nn.Module, **changes: np.ndarray | None) -> Path:
    """A pickle as in detectron2's model zoo; `changes`: other tensors, None for one left out."""
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    state = {name: array for name, array in (state | changes).items() if array is not None}
    path.write_bytes(pickle.dumps({"model": state, "__author__": "Detectron2 Model Zoo"}))
    return path


def test_pictures_go_in_as_bgr_0_to_255_and_only_persons_come_out(
    world: World, library: SimpleNamespace, weights: Path
) -> None:
    backend = load_backend(
        settings(score_threshold=0.3), files={"weights": weights}, clips=world.clips
    )
    assert library.path.parts[-2:] == ("COCO-Detection", "faster_rcnn_R_50_FPN_3x.yaml")
    expected = torch.from_numpy(pickle.loads(weights.read_bytes())["model"]["backbone.weight"])
    assert torch.equal(library.model.backbone.weight, expected)
    assert library.cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST == 0.3
    assert library.cfg.MODEL.RETINANET.SCORE_THRESH_TEST == 0.3  # where RetinaNet looks
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
    world: World, library: SimpleNamespace, weights: Path
) -> None:
    asked = settings(params={"objects": True})
    backend = load_backend(asked, files={"weights": weights}, clips=world.clips)
    (found,) = backend.find([("a", 0)], [np.full((48, 64, 3), 250, np.uint8)])
    assert found.boxes_xyxy.tolist() == [[1, 1, 2, 2]]  # the bicycle
    assert found.scores.tolist() == [np.float32(0.8)]


def test_bf16_holds_inside_the_heavy_parts_alone(
    world: World, library: SimpleNamespace, weights: Path
) -> None:
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


class Evil:
    def __reduce__(self) -> object:
        return Path.touch, (Path("PROOF"),)


def test_a_damaged_pickle_is_named_and_no_pickle_runs_anything(
    world: World, library: SimpleNamespace, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder)
    files = {"weights": weights}
    weights.write_bytes(weights.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"zoo\.pkl: not a readable pickle"):
        load_backend(settings(), files=files, clips=world.clips)
    weights.write_bytes(pickle.dumps({"model": {"backbone.weight": Evil()}}))
    with pytest.raises(DataError, match=r"zoo\.pkl: the pickle asks for pathlib"):
        load_backend(settings(), files=files, clips=world.clips)
    assert not Path("PROOF").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone.weight": None}, r"1 tensors missing, of 4 \(backbone\.weight\)"),
        ({"mask_head.bias": np.zeros(2)}, r"1 tensors unexpected, of 4 \(mask_head\.bias\)"),
        (
            {"roi_heads.box_head.bias": np.zeros(11, np.float32)},
            r"1 tensors of another shape, of 4 \(roi_heads\.box_head\.bias \(11,\) in place of",
        ),
        ({"pixel_mean": np.zeros((3, 1, 1))}, r"its pixel_mean is \[0\.0, 0\.0, 0\.0\]"),
        ({"pixel_mean": np.zeros(2)}, r"its pixel_mean is \[0\.0, 0\.0\]"),
        ({"pixel_std": np.full((3, 1, 1), 57.0)}, r"its pixel_std is \[57"),
        ({"backbone.bias": np.array(["a"])}, r"expected tensors by name; 'backbone\.bias' is none"),
    ],
)  # fmt: skip
def test_weights_of_another_model_are_refused(
    world: World,
    library: SimpleNamespace,
    changes: dict[str, np.ndarray | None],
    message: str,
) -> None:
    path = zoo_file(world.folder / "zoo.pkl", Model(), **changes)
    with pytest.raises(DataError, match=rf"zoo\.pkl: .*{message}"):
        load_backend(settings(), files={"weights": path}, clips=world.clips)


def test_what_old_files_hold_beside_the_weights_is_left_out(
    world: World, library: SimpleNamespace
) -> None:
    old = {
        "pixel_mean": np.array([103.53, 116.28, 123.675], np.float32).reshape(3, 1, 1),
        "pixel_std": np.ones((3, 1, 1), np.float32),
        "proposal_generator.anchor_generator.cell_anchors.0": np.zeros((3, 4), np.float32),
    }
    path = zoo_file(world.folder / "zoo.pkl", Model(), **old)
    load_backend(settings(), files={"weights": path}, clips=world.clips)


def test_a_file_of_a_training_is_read(world: World, library: SimpleNamespace) -> None:
    path, trained = world.folder / "model_final.pth", Model()
    torch.save({"model": trained.state_dict(), "iteration": 9}, path)
    load_backend(settings(), files={"weights": path}, clips=world.clips)
    assert torch.equal(library.model.backbone.weight, trained.backbone.weight)


def test_an_unknown_model_is_named_with_the_known_ones(
    world: World, library: SimpleNamespace, weights: Path
) -> None:
    known = sorted(f"COCO-Detection/{name}.yaml" for name in MODELS)
    for name in (
        "faster_rcnn_R_50_FPN_3x",
        "LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
    ):
        asked = settings(params={"model": name})
        with pytest.raises(ConfigError) as told:  # class 0 of LVIS is no person
            load_backend(asked, files={"weights": weights}, clips=world.clips)
        assert f"unknown model of detectron2 {name!r}" in str(told.value)
        assert str(known) in str(told.value)


@pytest.mark.parametrize("name", ["rpn_R_50_FPN_1x", "fast_rcnn_R_50_FPN_1x"])
def test_half_a_detector_is_refused(
    world: World, library: SimpleNamespace, weights: Path, name: str
) -> None:
    asked = settings(params={"model": f"COCO-Detection/{name}.yaml"})
    with pytest.raises(ConfigError, match=rf"{name}\.yaml is half a detector"):
        load_backend(asked, files={"weights": weights}, clips=world.clips)


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


def test_the_library_itself_gives_the_boxes_of_its_own_predictor(world: World) -> None:
    """Random weights that see persons everywhere; a file of another model is refused."""
    library = pytest.importorskip("detectron2", reason="detectron2 is not installed")
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultPredictor
    from detectron2.modeling import build_model

    cfg = get_cfg()
    name = "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"
    cfg.merge_from_file(str(Path(library.__file__).parent / "model_zoo" / "configs" / name))
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.001
    torch.manual_seed(0)
    bias = "roi_heads.box_predictor.cls_score.bias"
    persons = np.eye(81, dtype=np.float32)[0] * 5
    path = zoo_file(world.folder / "zoo.pkl", build_model(cfg).cpu(), **{bias: persons})
    cfg.MODEL.WEIGHTS = str(path)
    asked = settings(score_threshold=0.001)
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    backend = load_backend(asked, files={"weights": path}, clips=world.clips)
    (found,) = backend.find([("a", 0)], [picture])
    theirs = DefaultPredictor(cfg)(picture[:, :, ::-1])["instances"].to("cpu")
    theirs = theirs[theirs.pred_classes == 0]
    assert len(found.scores) > 0
    assert np.array_equal(found.boxes_xyxy, theirs.pred_boxes.tensor.numpy())
    assert np.array_equal(found.scores, theirs.scores.numpy())
    other = zoo_file(path, build_model(cfg).cpu(), **{bias: persons[:11]})
    with pytest.raises(DataError, match=r"\(11,\) in place of \(81,\)"):
        load_backend(asked, files={"weights": other}, clips=world.clips)
