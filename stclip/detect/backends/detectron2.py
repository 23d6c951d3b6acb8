"""detectron2's Faster R-CNN R50-FPN: optional, imported only when it is chosen."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stclip.config import DetectorConfig, pick
from stclip.detect.backends.backend import Found, Key, needed_file
from stclip.detect.backends.detector_weights import load_weights
from stclip.detect.backends.detectron2_config import Detectron2DetectorConfig
from stclip.detect.backends.half import set_precision
from stclip.errors import ConfigError, DataError
from stclip.records import Clips
from stclip.runtime.device import best_device

INSTALL = "conda env update -n stclip -f environment-detectron2.yml"
PERSON = 0  # detectron2 numbers COCO's things from 0
# Old files hold what the model computes from its configuration; others do not.
NOT_LEARNED = ("pixel_mean", "pixel_std", "anchor_generator.cell_anchors")


class Detectron2Detector:
    """A model of detectron2's package that finds COCO's things, with weights from a file."""

    needs_frames = True
    libraries = ("detectron2",)

    Config = Detectron2DetectorConfig

    def __init__(
        self,
        config: Detectron2DetectorConfig,
        *,
        settings: DetectorConfig,
        files: Mapping[str, Path],
        clips: Clips,
    ) -> None:
        """Build the model that the package's own configuration describes and load `weights`.

        Raises:
            ConfigError: the library is not installed, or its package has no such model.
            DataError: the weights are missing, damaged or another model's.
        """
        library, settings_of, modeling, transforms = (
            _import(name)
            for name in (
                "detectron2", "detectron2.config", "detectron2.modeling",
                "detectron2.data.transforms",
            )
        )  # fmt: skip
        # not its `model_zoo`, which says the same but imports what setuptools no longer has
        known = models_of(Path(library.__file__).parent / "model_zoo" / "configs")
        path = pick(known, config.model, what="model of detectron2")
        weights = needed_file(files, "weights", settings=settings)
        self.device = best_device()
        cfg = settings_of.get_cfg()
        cfg.merge_from_file(str(path))
        if cfg.MODEL.META_ARCHITECTURE == "ProposalNetwork" or cfg.MODEL.LOAD_PROPOSALS:
            raise ConfigError(
                f"detector {settings.target}: {config.model} is half a detector (boxes without "
                "classes, or classes of given boxes); take one like faster_rcnn_R_50_FPN_3x.yaml."
            )
        cfg.MODEL.DEVICE = str(self.device)
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = settings.score_threshold
        cfg.MODEL.RETINANET.SCORE_THRESH_TEST = settings.score_threshold
        self.model = modeling.build_model(cfg).eval()
        left_out = load_weights(
            self.model, weights, what=config.model, ignored=NOT_LEARNED, upgrade=False
        )
        _check_normalization(left_out, cfg, weights)
        sides = [cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MIN_SIZE_TEST]
        self.resize = transforms.ResizeShortestEdge(sides, cfg.INPUT.MAX_SIZE_TEST)
        self.bgr = cfg.INPUT.FORMAT == "BGR"
        self.threshold, self.objects = settings.score_threshold, config.objects
        self.computed = set_precision(self.model, settings, self.device)

    def find(self, keys: Sequence[Key], pictures: Sequence[np.ndarray]) -> list[Found]:
        """The persons (or objects) at or above the score threshold, in the model's order."""
        inputs = [self._input(picture) for picture in pictures]
        with torch.inference_mode():
            found = self.model(inputs)
        return [self._found(result["instances"].to("cpu")) for result in found]

    def _input(self, picture: np.ndarray) -> dict[str, Any]:
        """Floats 0..255 in the model's colour order, resized; boxes come back unresized."""
        height, width = picture.shape[:2]
        ordered = picture[:, :, ::-1] if self.bgr else picture
        resized = self.resize.get_transform(ordered).apply_image(ordered)
        image = torch.as_tensor(np.ascontiguousarray(resized.transpose(2, 0, 1)).astype(np.float32))
        return {"image": image, "height": height, "width": width}

    def _found(self, instances: Any) -> Found:
        wanted = (instances.pred_classes == PERSON) != self.objects
        kept = wanted & (instances.scores >= self.threshold)
        boxes = instances.pred_boxes.tensor[kept].float().numpy()
        return Found(boxes, instances.scores[kept].float().numpy())


def models_of(configs: Path) -> dict[str, Path]:
    """The package's models that are trained on COCO, whose class 0 are persons: name -> file."""
    found = {path.relative_to(configs).as_posix(): path for path in configs.glob("COCO-*/*.yaml")}
    return {name: path for name, path in found.items() if not path.name.startswith("Base-")}


def _check_normalization(tensors: Mapping[str, Tensor], cfg: Any, weights: Path) -> None:
    """Mean and deviation of pixels, if the file has them, must be those the model was built with.

    Raises:
        DataError: they are others.
    """
    for name, expected in (
        ("pixel_mean", cfg.MODEL.PIXEL_MEAN),
        ("pixel_std", cfg.MODEL.PIXEL_STD),
    ):
        found = tensors[name].flatten().tolist() if name in tensors else expected
        if len(found) != len(expected) or not np.allclose(found, expected, rtol=1e-4):
            raise DataError(
                f"{weights}: its {name} is {found}, the model's configuration says "
                f"{list(expected)}: the weights of another model."
            )


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, AttributeError) as error:  # or it asks another library for what is gone
        raise ConfigError(
            f"this detector needs detectron2, which cannot be imported ({error}). Install it: "
            f"{INSTALL}, or with pip as docs/detectors.md says."
        ) from None
