"""Small random ViCLIPs, their published names, and videos with boxes for them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from small_clip import double_precision, shaken
from st_clip_reference import Settings, Weights
from torch import Tensor
from viclip_reference import person_logits

from baselines.viclip import ViCLIP
from stclip.config import Preprocessing
from stclip.inputs.batch import Batch, PersonSample
from stclip.inputs.frame_reader import FrameReader, window
from stclip.inputs.loader import assemble
from stclip.inputs.preprocess import to_model
from stclip.methods.clip.backbone import Backbone
from stclip.storage.frame_store import write_clip

SIZE, PATCH, LAYERS, HEADS, WIDTH, EMBED, CONTEXT = (32, 48), 4, 2, 2, 32, 24, 16
GRID = (SIZE[0] // PATCH, SIZE[1] // PATCH)  # 8 x 12: several samples in a bin
FRAME = (40, 72)  # height, width on disk: of another shape than the model's pictures
LABELS = ["brush hair", "run", "shoot ball", "ice dancing"]
SETTINGS = Settings(
    patch=PATCH, layers=LAYERS, heads=HEADS, text_layers=2, text_heads=2, prompt_heads=1,
    lora_scale=0.0,
)  # fmt: skip
SQUASH = Preprocessing(frame_mode="squash", statistics="imagenet")
COVER = Preprocessing(frame_mode="cover", statistics="imagenet")
VIDEOS: list[tuple[int, list[list[float]]]] = [  # frames of a video, its boxes; 4 are looked at
    (11, [[3, 4, 30, 38], [20, 0, 71, 39], [0, 0, 71, 39]]),
    (3, [[40.5, 10, 52.25, 33]]),
    (1, [[9, 9, 12, 11], [14, 2, 60, 12]]),
]


def official_name(name: str) -> str:
    """Our name -> the published one."""
    name = re.sub(r"^backbone\.clip\.visual\.", "vision_encoder.", name)
    name = re.sub(r"^backbone\.clip\.", "text_encoder.", name)
    name = name.replace("encoder.temporal", "vision_encoder.temporal_positional_embedding")
    return "temp" if name == "temperature" else name


def official_weights(method: ViCLIP) -> dict[str, Tensor]:
    """The weights as ViCLIP's are published, each a leaf of its own."""
    found = {}
    for name, p in method.named_parameters():
        theirs, tensor = official_name(name), p.detach().clone()
        if theirs == "text_encoder.logit_scale":
            continue
        if theirs == "vision_encoder.conv1.weight":
            tensor = tensor[:, :, None]
        elif theirs == "vision_encoder.temporal_positional_embedding":
            tensor = tensor[None]
        found[theirs] = tensor.requires_grad_(p.requires_grad)
    return found


def small_method(*, seed: int = 7, perturbed: bool = True, **params: Any) -> ViCLIP:
    """ViCLIP on a small random CLIP, float64; `perturbed`: nothing stays at a value that hides."""
    torch.manual_seed(seed)
    with double_precision():
        clip = open_clip.CLIP(
            EMBED,
            {"image_size": SIZE, "patch_size": PATCH, "width": WIDTH, "layers": LAYERS,
             "head_width": WIDTH // HEADS},
            {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
            quick_gelu=True,
        )  # fmt: skip
        backbone = Backbone(clip, open_clip.get_tokenizer("ViT-B-16"))
        backbone.normalise_by("imagenet")
        method = ViCLIP(backbone, ViCLIP.Config(**{"num_frames": 4, **params}))
    if perturbed:
        temperature = method.temperature.detach().clone()
        shaken(method)
        with torch.no_grad():
            method.temperature.copy_(temperature)
    return method.eval()


class Videos:
    """Videos on disk, and the batch that the loader makes of them."""

    def __init__(self, folder: Path, *, preprocessing: Preprocessing = SQUASH) -> None:
        rng = np.random.default_rng(3)
        self.folder, self.preprocessing = folder, preprocessing
        self.pictures: list[list[Tensor]] = []  # at the model's size, 0..255
        self.samples = []
        for number, (length, boxes) in enumerate(VIDEOS):
            drawn = rng.integers(0, 256, (length, *FRAME, 3), np.uint8)
            write_clip(folder, f"video_{number}", drawn)
            self.pictures.append(
                [
                    torch.from_numpy(to_model(Image.fromarray(d), SIZE, preprocessing)).double()
                    for d in drawn
                ]
            )
            rows, corners = np.arange(len(boxes)), np.array(boxes, np.float32)
            self.samples.append(
                PersonSample(
                    f"video_{number}", length, corners, rows, key_frame=length // 2, size=FRAME
                )
            )

    def batch(self, method: ViCLIP, which: slice = slice(None)) -> Batch:
        reader = FrameReader(self.folder, SIZE, preprocessing=self.preprocessing)
        return assemble(reader, method.inputs, self.samples[which], training=False)

    def reference(self, method: ViCLIP, weights: Weights, boxes: list[list[list[float]]]) -> Tensor:
        """Reference logits (persons, K) of all videos; `boxes` in pixels of the pictures."""
        config, ids = method.config, method.backbone.tokenize(LABELS)
        rows = []
        for pictures, own in zip(self.pictures, boxes, strict=True):
            length, wanted = len(pictures), config.num_frames
            if config.around == "key_frame":
                before = wanted // 2
                numbers = window(length // 2, length, before=before, after=wanted - 1 - before)
            else:  # middles of equal segments
                numbers = [int((i + 0.5) * length / wanted) for i in range(wanted)]
                numbers = numbers if length >= wanted else list(range(length))
            numbers += numbers[-1:] * (wanted - len(numbers))  # the last frame fills up
            frames = [pictures[i] for i in numbers]
            temperature = weights["temp"] if config.learn_temperature else config.temperature
            rows.append(
                person_logits(
                    weights, SETTINGS, frames, own, ids, project=config.project,
                    temperature=temperature,
                )
            )  # fmt: skip
        return torch.cat(rows)


def squashed() -> list[list[list[float]]]:
    """The boxes of `VIDEOS` in pixels of squashed pictures: each side has its own scale."""
    x, y = SIZE[1] / FRAME[1], SIZE[0] / FRAME[0]
    return [[[a * x, b * y, c * x, d * y] for a, b, c, d in boxes] for _, boxes in VIDEOS]


def covered() -> list[list[list[float]]]:
    """The same where the frame covers the picture: 72 x 40 becomes 57 x 32, 4 pixels off."""
    x, y, left = 57 / 72, 32 / 40, round((57 - 48) / 2)
    placed = [[[a * x - left, b * y, c * x - left, d * y] for a, b, c, d in own]
              for _, own in VIDEOS]  # fmt: skip
    return [[[max(a, 0), b, min(c, 48), d] for a, b, c, d in own] for own in placed]
