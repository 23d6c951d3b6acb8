"""detectron2's Faster R-CNN R50-FPN: optional, imported only when it is chosen."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stclip.config import DetectorConfig
from stclip.detect.backends.backend import Found, Key, needed_file
from stclip.detect.backends.detectron2_config import Detectron2DetectorConfig
from stclip.detect.backends.half import compute_in_bf16
from stclip.errors import ConfigError, DataError
from stclip.records import Clips
from stclip.runtime.device import best_device

INSTALL = "conda env update -n stclip -f environment-detectron2.yml"
PERSON = 0  # detectron2 numbers COCO's things from 0


class Detectron2Detector:
    """A detector of detectron2's model zoo, with weights from a file."""

    needs_frames = True

    Config = Detectron2DetectorConfig

    def __init__(
        self,
        config: Detectron2DetectorConfig,
        *,
        settings: DetectorConfig,
        files: Mapping[str, Path],
        clips: Clips,
    ) -> None:
        """Build the model from the zoo's configuration and load `weights` with its own loader.

        The zoo's weights are pickles. detectron2 unpickles them without restriction: give it only
        files from its publisher.
        """
        zoo, modeling, checkpoint, transforms = (
            _import(f"detectron2.{name}")
            for name in ("model_zoo", "modeling", "checkpoint", "data.transforms")
        )
        weights = needed_file(files, "weights", settings=settings)
        self.device = best_device()
        cfg = zoo.get_config(config.model)
        cfg.MODEL.DEVICE = str(self.device)
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = settings.score_threshold
        self.model = modeling.build_model(cfg).eval()
        try:
            checkpoint.DetectionCheckpointer(self.model).load(str(weights))
        except OSError:
            raise
        except Exception as error:  # it unpickles: anything may go wrong in a damaged file
            raise DataError(f"{weights}: not the weights of {config.model}: {error}") from None
        sides = [cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MIN_SIZE_TEST]
        self.resize = transforms.ResizeShortestEdge(sides, cfg.INPUT.MAX_SIZE_TEST)
        self.bgr = cfg.INPUT.FORMAT == "BGR"
        self.threshold, self.objects = settings.score_threshold, config.objects
        if settings.precision == "bf16":
            compute_in_bf16(self.model)

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


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"this detector needs detectron2, which cannot be imported ({error}). Install it: "
            f"{INSTALL}"
        ) from None
