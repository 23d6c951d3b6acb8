"""Tiny person detectors: a Faster R-CNN with a small backbone, trained on rendered stills.

It is imperfect on purpose: trained briefly, it misses some persons, finds bystanders (who are not
annotated) and places boxes roughly, as detectors do on real data. It never sees a benchmark video.
"""

import logging
import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from stclip.config import TinyDetector
from stclip.config.target import call_target
from stclip.mini.ava.film import HEIGHT as FILM_HEIGHT
from stclip.mini.ava.film import WIDTH as FILM_WIDTH
from stclip.mini.render import HEIGHT, WIDTH
from stclip.mini.reproducible import finite, one_thread, write_weights
from stclip.mini.stills import Stills, load_stills
from stclip.progress import Progress

logger = logging.getLogger(__name__)
PERSON = 1  # torchvision's label 0 is the background
CHANNELS = 16
ROI_SIZE = 5
HIDDEN = 128
WEIGHT_DECAY, WARMUP_STEPS, LAST_LR = 1e-3, 20, 0.02


class _Head(nn.Module):
    """What a region's features say: one hidden layer."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(num_features, HIDDEN)

    def forward(self, regions: Float[Tensor, "R C h w"]) -> Float[Tensor, "R D"]:
        return self.hidden(regions.flatten(1)).relu()


class _Predictor(nn.Module):
    """Class logits and box deltas of each region."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Linear(HIDDEN, 2)
        self.boxes = nn.Linear(HIDDEN, 8)

    def forward(
        self, regions: Float[Tensor, "R D"]
    ) -> tuple[Float[Tensor, "R 2"], Float[Tensor, "R 8"]]:
        return self.classes(regions), self.boxes(regions)


class _Backbone(nn.Sequential):
    """Seven 3 x 3 convolutions, stride 8."""

    def __init__(self) -> None:
        widths = (CHANNELS, CHANNELS, 2 * CHANNELS, 2 * CHANNELS, *[4 * CHANNELS] * 3)
        strides = (2, 1, 2, 1, 2, 1, 1)
        layers: list[nn.Module] = []
        for before, after, stride in zip((3, *widths), widths, strides, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        super().__init__(*layers)
        self.out_channels: int = widths[-1]  # FasterRCNN asks for it


def build() -> FasterRCNN:
    """The untrained detector of pictures with one acting person, with torchvision's API.

    It takes a list of float pictures (3, H, W) in 0..1 and gives dicts of boxes (N, 4) xyxy in
    pixels, labels (1 is a person) and scores.
    """
    return _faster_rcnn(anchors=(28, 44, 68), proposals=20, sampled=32, detections=8, overlap=0.4)


def build_many() -> FasterRCNN:
    """The same for pictures with several persons: smaller anchors, more proposals and boxes."""
    return _faster_rcnn(
        anchors=(20, 32, 50, 72), proposals=80, sampled=64, detections=16, overlap=0.5
    )


def build_films() -> FasterRCNN:
    """The same for films: wider pictures, several smaller persons."""
    return _faster_rcnn(
        picture=(FILM_HEIGHT, FILM_WIDTH),
        anchors=(20, 32, 46),
        proposals=60,
        sampled=64,
        detections=12,
        overlap=0.5,
    )


def _faster_rcnn(
    *,
    picture: tuple[int, int] = (HEIGHT, WIDTH),
    anchors: tuple[int, ...],
    proposals: int,
    sampled: int,
    detections: int,
    overlap: float,
) -> FasterRCNN:
    """A Faster R-CNN for the miniature's pictures.

    Args:
        picture: their height and width; others are scaled to it.
        anchors: square roots of their areas, in pixels.
        proposals: regions of a picture that are looked at.
        sampled: regions of a picture that the head is trained on.
        detections: boxes of a picture, at most.
        overlap: IoU from which two boxes are of one person.
    """
    backbone = _Backbone()
    return FasterRCNN(
        backbone,
        min_size=picture[0],
        max_size=picture[1],
        rpn_anchor_generator=AnchorGenerator((anchors,), ((0.75, 1.4, 2.4),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], ROI_SIZE, 1),
        box_head=_Head(backbone.out_channels * ROI_SIZE**2),
        box_predictor=_Predictor(),
        rpn_pre_nms_top_n_train=200,
        rpn_pre_nms_top_n_test=5 * proposals,
        rpn_post_nms_top_n_train=50,
        rpn_post_nms_top_n_test=proposals,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=sampled,
        box_detections_per_img=detections,
        box_score_thresh=0.05,
        box_nms_thresh=overlap,
    )


def train_detector(out: Path, recipe: TinyDetector) -> None:
    """Train a detector on stills rendered as it goes; write its state dict (.safetensors).

    Raises:
        TrainingError: the loss is not finite.
    """
    seed, steps, batch = recipe.seed, recipe.steps, recipe.batch
    where = "a tiny detector"
    stills = load_stills(recipe.stills, where=where)
    with one_thread(seed):
        detector: FasterRCNN = call_target(recipe.builder, params={}, where=where)
        detector.train()
        optimizer = torch.optim.AdamW(detector.parameters(), recipe.lr, weight_decay=WEIGHT_DECAY)
        logger.info("training the detector on %d stills", steps * batch)
        progress = Progress("tiny detector", total=steps)
        for step in range(steps):
            decay = max(LAST_LR, 0.5 + 0.5 * math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * min(1.0, (step + 1) / WARMUP_STEPS) * decay
            losses = detector(*_pictures(stills, seed, step, batch))
            loss = torch.stack(list(losses.values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress.advance(loss=finite(loss, "tiny detector", step))
    write_weights(out, detector.state_dict())


def _pictures(
    stills: Stills, seed: int, step: int, batch: int
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """A batch in torchvision's form; bystanders are persons too."""
    rng = np.random.default_rng([seed, step])
    images: list[Tensor] = []
    targets: list[dict[str, Tensor]] = []
    while len(images) < batch:
        still = stills.for_detector(stills.draw_action(rng), rng)
        boxes = torch.from_numpy(still.boxes_xyxy)
        has_area = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)  # a sliver at the edge has none
        boxes = boxes[has_area]
        images.append(torch.from_numpy(still.picture).permute(2, 0, 1).float() / 255)
        targets.append({"boxes": boxes, "labels": torch.full((len(boxes),), PERSON)})
    return images, targets
