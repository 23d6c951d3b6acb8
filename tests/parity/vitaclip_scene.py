"""A small random Vita-CLIP, its weights under official names, and videos of several lengths.

Longer than T frames, shorter, a single frame; all in one batch.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor
from vitaclip_reference import Settings, encode_class, encode_video, logits, segment_middles

from baselines.vitaclip import VitaCLIP
from stclip.inputs.batch import ClipBatch, Sample
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import assemble
from stclip.methods.clip.backbone import Backbone
from stclip.storage.frame_store import write_clip

PATCH, LAYERS, WIDTH, HEAD_WIDTH, EMBED, CONTEXT = 16, 3, 64, 32, 32, 20
SIZE = (32, 48)  # height, width
NUM_FRAMES, NUM_GLOBAL, NUM_VECTORS = 4, 3, 5
LABELS = ["brush_hair", "run", "Ice Dancing", "turn (e.g., a screwdriver)"]
LENGTHS = {"long": 11, "short": 3, "single": 1, "exact": 4}

# Our names -> official names; of q, k and v in one tensor, the first part's.
NAMES = [
    (r"^backbone\.clip\.logit_scale$", "logit_scale"),
    (r"^backbone\.clip\.visual\.class_embedding$", "visual.cls_token"),
    (r"^backbone\.clip\.visual\.positional_embedding$", "visual.pos_embed"),
    (r"^backbone\.clip\.visual\.conv1\.", "visual.patch_embed.proj."),
    (r"^backbone\.clip\.visual\.transformer\.resblocks\.", "visual.blocks."),
    (r"^backbone\.clip\.visual\.", "visual."),
    (r"^backbone\.clip\.", "textual."),
    (r"^(visual\.blocks\.\d+)\.ln_(\d)\.", r"\1.norm\2."),
    (r"^(visual\.blocks\.\d+)\.mlp\.c_fc\.", r"\1.mlp.fc1."),
    (r"^(visual\.blocks\.\d+)\.mlp\.c_proj\.", r"\1.mlp.fc2."),
    (r"^encoder\.layers\.(\d+)\.summary_attention\.", r"visual.blocks.\1.summary_attn_layer."),
    (r"^encoder\.layers\.(\d+)\.summary_norm\.", r"visual.blocks.\1.summary_ln."),
    (r"^encoder\.layers\.(\d+)\.class_projection\.", r"visual.blocks.\1.cls_proj."),
    (r"^encoder\.layers\.(\d+)\.local_prompts$", r"visual.blocks.\1.local_prompts"),
    (r"^encoder\.global_prompts$", "visual.global_prompts"),
    (r"^encoder\.time_embedding$", "visual.time_embed"),
    (r"^context$", "prompt_learner.ctx"),
]


def official_tensors(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """One of our tensors under its official name, or names; the text tower's stay packed."""
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    packed = re.fullmatch(r"(visual\..*)in_proj_(\w+)", name)
    if packed is None:
        return {name: tensor}
    parts = zip("qkv", tensor.chunk(3), strict=True)
    return {f"{packed[1]}{part}_proj.{packed[2]}": third for part, third in parts}


def official_weights(method: VitaCLIP) -> dict[str, Tensor]:
    """The weights under their official names, each a leaf of its own in float64."""
    weights = {
        name: part.double().clone().requires_grad_(p.requires_grad)
        for ours, p in method.named_parameters()
        for name, part in official_tensors(ours, p.detach()).items()
    }
    return weights | {"visual.patch_embed.proj.bias": torch.zeros(WIDTH).double()}


def small_method(**params: Any) -> VitaCLIP:
    """Vita-CLIP on a small random CLIP, float64; no parameter is left at a value that hides it."""
    torch.manual_seed(7)
    torch.set_default_dtype(torch.float64)  # also for the constants of the normalisation
    try:
        clip = open_clip.CLIP(
            EMBED,
            {"image_size": SIZE, "patch_size": PATCH, "width": WIDTH, "layers": LAYERS,
             "head_width": HEAD_WIDTH},
            {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
            quick_gelu=True,
        )  # fmt: skip
        backbone = Backbone(clip, open_clip.get_tokenizer("ViT-B-16"))
        settings = {
            "num_frames": NUM_FRAMES, "num_global": NUM_GLOBAL, "context_length": NUM_VECTORS,
        }  # fmt: skip
        method = VitaCLIP(backbone, VitaCLIP.Config(**(settings | params))).double()
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for p in method.parameters():
            p += 0.1 * torch.randn_like(p)
    return method


def settings_of(method: VitaCLIP) -> Settings:
    text = method.backbone.clip.transformer.resblocks
    return Settings(
        patch=method.backbone.clip.visual.conv1.kernel_size[0],
        layers=len(method.backbone.blocks),
        heads=method.backbone.heads,
        text_layers=len(text),
        text_heads=text[0].attn.num_heads,
    )


def placeholder_ids(method: VitaCLIP, labels: list[str]) -> Tensor:
    """Token ids of the official strings: M times X, the name, a full stop."""
    texts = [" ".join(["X"] * method.config.context_length + [f"{label}."]) for label in labels]
    return method.backbone.tokenizer(texts, context_length=method.backbone.clip.context_length)


class Scene:
    """Pictures of the clips and the batches that the loader makes of them."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(3)
        self.folder = folder
        self.videos: dict[str, list[Tensor]] = {}  # pictures (3, H, W) as they were drawn
        for clip, length in LENGTHS.items():
            pictures = rng.integers(0, 256, (length, *SIZE, 3), np.uint8)
            write_clip(folder, clip, pictures)
            self.videos[clip] = list(torch.from_numpy(pictures).permute(0, 3, 1, 2).double())

    def batch(self, method: VitaCLIP, clips: list[str] | None = None) -> ClipBatch:
        box = np.array([[1, 2, 20, 30]], np.float32)
        samples = [Sample(clip, LENGTHS[clip], box, np.array([0])) for clip in clips or LENGTHS]
        reader = FrameReader(self.folder, SIZE)
        batch = assemble(reader, method.inputs, samples, training=False)
        assert isinstance(batch, ClipBatch)
        return batch

    def reference(self, method: VitaCLIP, weights: dict[str, Tensor]) -> Tensor:
        """Reference logits (S, K) of the clips at the middles of their segments."""
        settings, rows = settings_of(method), []
        labels = [x.replace("_", " ") if method.config.spaced_names else x for x in LABELS]
        ids = placeholder_ids(method, labels)
        texts = [encode_class(weights, settings, row) for row in ids]
        for pictures in self.videos.values():
            chosen = segment_middles(len(pictures), method.config.num_frames)
            video = encode_video(weights, settings, [pictures[frame] for frame in chosen])
            rows.append(logits(weights, video, texts))
        return torch.stack(rows)
