"""A small random CLIP and a few clips for the parity tests of methods that leave CLIP frozen.

Clips of several lengths, also of one frame and shorter than what is looked at, all in one batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from st_clip_reference import Settings, encode_picture
from torch import Tensor, nn

from stclip.inputs.batch import ClipBatch, Sample
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import assemble
from stclip.methods.clip.backbone import Backbone
from stclip.methods.contract import Method
from stclip.storage.frame_store import write_clip

SIZE = (32, 48)  # height, width
LABELS = ["brush_hair", "run", "Ice Dancing", "shoot_ball"]
LENGTHS = {"one": 1, "short": 5, "middle": 19, "long": 40}  # frames of each clip
EMBED, HEADS = 128, 2  # joint width; heads of a transformer in it, 64 channels each


@contextmanager
def double_precision() -> Iterator[None]:
    """New tensors are float64, those of the backbone's normalisation too."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def small_backbone(*, context: int = 77) -> Backbone:
    """Three widths that differ: image 64, text 32, joint 128."""
    clip = open_clip.CLIP(
        EMBED,
        {"image_size": SIZE, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32},
        {"context_length": context, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
        quick_gelu=True,
    )
    return Backbone(clip, open_clip.get_tokenizer("ViT-B-16"))


SETTINGS = Settings(  # of that CLIP, for the reference
    patch=16, layers=2, heads=2, text_layers=2, text_heads=2, prompt_heads=1, lora_scale=0.0
)


def meta_backbone(model: str) -> Backbone:
    """An OpenAI CLIP of shapes without values: nothing is computed."""
    content = open_clip.get_model_config(model)
    with torch.device("meta"):
        clip = open_clip.CLIP(**content)
    return Backbone(clip, None)


def shaken(module: nn.Module) -> None:
    """No parameter stays at a value that hides it."""
    with torch.no_grad():
        for p in module.parameters():
            p += 0.1 * torch.randn_like(p)


class Scene:
    """Clips, their samples, and the batches that the loader makes of them."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(3)
        self.folder = folder
        self.pictures: dict[str, Tensor] = {}  # (n, 3, H, W) as they were drawn
        self.samples = []
        for clip, length in LENGTHS.items():
            pictures = rng.integers(0, 256, (length, *SIZE, 3), np.uint8)
            write_clip(folder, clip, pictures)
            self.pictures[clip] = torch.from_numpy(pictures).permute(0, 3, 1, 2).double()
            box = np.array([[1, 2, 20, 30]], np.float32)
            self.samples.append(Sample(clip, length, box, np.arange(1)))

    def batch(
        self, method: Method, samples: Sequence[Sample] | None = None, *, training: bool = False
    ) -> ClipBatch:
        reader, samples = FrameReader(self.folder, SIZE), samples or self.samples
        batch = assemble(reader, method.inputs, samples, training=training)
        assert isinstance(batch, ClipBatch)
        return batch

    def training(self, draws: Sequence[int]) -> list[Sample]:
        """The samples as a training has them, a random number each."""
        return [replace(s, draw=draw) for s, draw in zip(self.samples, draws, strict=True)]

    def features(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """CLIP's features (n, e) of every clip's frames, by the reference."""
        return {
            clip: torch.stack([encode_picture(weights, SETTINGS, p) for p in pictures])
            @ weights["visual.proj"]
            for clip, pictures in self.pictures.items()
        }


def gap(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    difference = (found.detach().double() - expected.detach().double()).abs().max()
    return float(difference / expected.detach().abs().max())
