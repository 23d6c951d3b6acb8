"""Small random X-CLIPs, their official names, and videos for them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from st_clip_reference import Settings, Weights, encode_text
from torch import Tensor
from xclip_reference import frame_numbers, video_logits

from baselines.xclip import XCLIP
from stclip.inputs.batch import ClipBatch, Sample
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import assemble
from stclip.methods.clip.backbone import Backbone
from stclip.storage.frame_store import write_clip

PATCH, LAYERS, WIDTH, HEAD_WIDTH, EMBED, CONTEXT = 16, 3, 64, 32, 128, 16
SIZE = (32, 48)  # height, width
LABELS = ["brush hair", "run", "shoot ball", "ice dancing"]
LENGTHS = (11, 3, 1)  # of the videos, in frames: also fewer than are looked at

# Our names -> names in the official checkpoint.
NAMES = [
    (r"^backbone\.clip\.", ""),
    (r"^messages\.(\d+)\.fc\.", r"visual.transformer.resblocks.\1.message_fc."),
    (r"^messages\.(\d+)\.norm\.", r"visual.transformer.resblocks.\1.message_ln."),
    (r"^messages\.(\d+)\.attention\.", r"visual.transformer.resblocks.\1.message_attn."),
    (r"^integration\.positions$", "mit.positional_embedding"),
    (r"^integration\.blocks\.", "mit.resblocks."),
    (r"^prompting\.norm_patches\.", "prompts_visual_ln."),
    (r"^prompting\.projection$", "prompts_visual_proj"),
    (r"^prompting\.norm_visual\.", "prompts_generator.norm."),
    (r"^prompting\.alpha$", "prompts_generator.alpha"),
    (r"^prompting\.layers\.(\d+)\.norm_text\.", r"prompts_generator.decoder.\1.norm1."),
    (r"^prompting\.layers\.(\d+)\.norm_mlp\.", r"prompts_generator.decoder.\1.norm3."),
    (r"^prompting\.layers\.(\d+)\.attention\.", r"prompts_generator.decoder.\1.cross_attn."),
    (r"^prompting\.layers\.(\d+)\.mlp\.0\.", r"prompts_generator.decoder.\1.mlp.0."),
    (r"^prompting\.layers\.(\d+)\.mlp\.2\.", r"prompts_generator.decoder.\1.mlp.3."),
]


def official_name(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def official_weights(method: XCLIP) -> dict[str, Tensor]:
    """The weights as X-CLIP's training code saves them, each a leaf of its own."""
    found = {}
    for name, p in method.named_parameters():
        theirs, tensor = official_name(name), p.detach().clone()
        found[theirs] = tensor[None] if theirs == "mit.positional_embedding" else tensor
        found[theirs].requires_grad_(p.requires_grad)
    return found


def small_method(
    *, seed: int = 7, perturbed: bool = True, size: tuple[int, int] = SIZE, **params: Any
) -> XCLIP:
    """X-CLIP on a small random CLIP, float64; `perturbed`: nothing stays at a value that hides."""
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)  # also for the constants of the normalisation
    try:
        clip = open_clip.CLIP(
            EMBED,
            {"image_size": size, "patch_size": PATCH, "width": WIDTH, "layers": LAYERS,
             "head_width": HEAD_WIDTH},
            {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
            quick_gelu=True,
        )  # fmt: skip
        backbone = Backbone(clip, open_clip.get_tokenizer("ViT-B-16"))
        method = XCLIP(backbone, XCLIP.Config(**{"num_frames": 4, **params})).double()
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for p in method.parameters() if perturbed else ():
            p += 0.1 * torch.randn_like(p)
    return method.eval()


def settings_of(method: XCLIP) -> Settings:
    return Settings(
        patch=PATCH,
        layers=LAYERS,
        heads=WIDTH // HEAD_WIDTH,
        text_layers=2,
        text_heads=2,
        prompt_heads=EMBED // 64,
        lora_scale=0.0,
    )


class Videos:
    """Videos of several lengths on disk, and the batch that the loader makes of them."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(3)
        self.folder, self.pictures, self.samples = folder, [], []
        for number, length in enumerate(LENGTHS):
            drawn = rng.integers(0, 256, (length, *SIZE, 3), np.uint8)
            write_clip(folder, f"video_{number}", drawn)
            self.pictures.append(list(torch.from_numpy(drawn).permute(0, 3, 1, 2).double()))
            box = np.array([[1, 2, 20, 30]], np.float32)
            self.samples.append(Sample(f"video_{number}", length, box, np.array([number])))

    def batch(self, method: XCLIP, which: slice = slice(None)) -> ClipBatch:
        reader = FrameReader(self.folder, SIZE)
        batch = assemble(reader, method.inputs, self.samples[which], training=False)
        assert isinstance(batch, ClipBatch)
        return batch

    def reference(self, method: XCLIP, weights: Weights) -> Tensor:
        """Reference logits (S, K), texts and all, video by video."""
        settings, config = settings_of(method), method.config
        ids = method.backbone.tokenize(LABELS)
        text = torch.stack([encode_text(weights, settings, row) for row in ids]).detach()
        rows = []
        for pictures in self.pictures:
            numbers = frame_numbers(len(pictures), config.num_frames)
            rows.append(
                video_logits(
                    weights, settings, [pictures[i] for i in numbers], text,
                    mit_layers=config.mit_layers, prompt_layers=config.prompt_layers,
                )
            )  # fmt: skip
        return torch.stack(rows)
