"""torchvision's Faster R-CNN, and every detector with its interface."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from stclip.config import DetectorConfig
from stclip.config.target import call_target
from stclip.detect.backends.backend import Found, Key, needed_file
from stclip.detect.backends.detector_weights import load_weights
from stclip.detect.backends.half import set_precision
from stclip.detect.backends.torchvision_config import TorchvisionDetectorConfig
from stclip.records import Clips
from stclip.runtime.device import best_device


class TorchvisionDetector:
    """A model that takes pictures (3, H, W) in 0..1 and gives dicts of boxes, labels, scores."""

    needs_frames = True

    Config = TorchvisionDetectorConfig

    def __init__(
        self,
        config: TorchvisionDetectorConfig,
        *,
        settings: DetectorConfig,
        files: Mapping[str, Path],
        clips: Clips,
    ) -> None:
        """Build the model on the best device and load `weights`."""
        model = self.build_model(config, settings, needed_file(files, "weights", settings=settings))
        self.device = best_device()
        self.computed = set_precision(model, settings, self.device)
        self.person, self.objects = config.person, config.objects
        self.threshold = settings.score_threshold
        self.model = model.to(self.device).eval()

    @classmethod
    def build_model(
        cls, config: TorchvisionDetectorConfig, settings: DetectorConfig, weights: Path
    ) -> nn.Module:
        """The model with its weights, on the CPU, in fp32; fine-tuning begins here too."""
        model: nn.Module = call_target(
            config.builder, params=config.arguments, where=f"detector {settings.target}: arguments"
        )
        load_weights(model, weights, what=config.builder)
        heads = getattr(model, "roi_heads", None)
        if isinstance(heads, nn.Module):  # else the model would drop what a lower threshold keeps
            heads.score_thresh = settings.score_threshold  # type: ignore[assignment]
        return model

    def find(self, keys: Sequence[Key], pictures: Sequence[np.ndarray]) -> list[Found]:
        """The persons (or objects) at or above the score threshold, by falling score."""
        for module in self.model.modules():  # or the scales of the first batch are those of all
            if isinstance(module, MultiScaleRoIAlign):
                module.scales = module.map_levels = None
        with torch.inference_mode():
            results = self.model([as_tensor(p, self.device) for p in pictures])
        found = []
        for result in results:
            wanted = (result["labels"] == self.person) != self.objects
            kept = wanted & (result["scores"] >= self.threshold)
            boxes, scores = (result[k][kept].float().cpu().numpy() for k in ("boxes", "scores"))
            found.append(Found(boxes, scores))
        return found


def as_tensor(picture: np.ndarray, device: torch.device) -> Tensor:
    """A uint8 RGB frame (H, W, 3) as float (3, H, W) in 0..1; it travels as bytes."""
    return torch.from_numpy(picture).to(device).permute(2, 0, 1).float() / 255


def fasterrcnn_v1() -> FasterRCNN:
    """Faster R-CNN R50-FPN as torchvision builds it for its first COCO weights.

    Those were trained with frozen batch norm and eps 0, which `fasterrcnn_resnet50_fpn` only gives
    to a model whose weights it downloads itself; with a plain batch norm (eps 1e-5) all boxes
    move a little.
    """
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3
    )
    model = FasterRCNN(backbone, num_classes=91)
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
    return model
