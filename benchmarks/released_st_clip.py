"""The structure of the released ST-CLIP, as far as it costs time: what `st_clip.py` compares with.

Frame by frame; the whole frame encoded once per box; the window's pictures decoded and embedded
anew for every key frame; all tokens through the last block; the temporal attention over all frames
before the mean; keys and values of all tokens for every label set; the text tower in every call;
LoRA not merged. Interest tokens were not released: here they are the plain structure, the attention
map of all tokens computed a second time and a text per person. Weights and modules are those of the
method, so both must agree.

P persons, T frames of the window, N patches, n tokens, K labels, d image and e joint width.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from stclip.config import Preprocessing
from stclip.inputs.batch import PersonSample
from stclip.inputs.frame_reader import window
from stclip.inputs.preprocess import crop_box, to_model
from stclip.methods.st_clip.context_prompt import ContextPrompting
from stclip.methods.st_clip.st_clip import STCLIP

AS_CLIP = Preprocessing()  # boxes are cut as CLIP cuts pictures


def png(folder: Path, clip: str, frame: int) -> Path:
    """Where the released code has a frame."""
    return folder / clip / f"{frame + 1:05d}.png"


class Released:
    """A method's weights in the released structure."""

    def __init__(self, method: STCLIP, labels: Sequence[str], pngs: Path) -> None:
        """`pngs`: the frames as published, a folder a clip."""
        self.method, self.labels, self.pngs = method, labels, pngs
        self.device = method.backbone.mean.device

    def __call__(self, samples: Sequence[PersonSample]) -> Tensor:
        """Logits of a batch (rows, K), a row a box."""
        text = self.method.backbone.encode_text(self.labels)
        return torch.cat([self._key_frame(sample, text) for sample in samples])

    def _open(self, sample: PersonSample, frame: int) -> Image.Image:
        with Image.open(png(self.pngs, sample.clip, frame)) as file:
            return file.convert("RGB")

    def _to_device(self, pictures: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(pictures)).to(self.device)

    def _key_frame(self, sample: PersonSample, text: Tensor) -> Tensor:
        backbone, config = self.method.backbone, self.method.config
        size = backbone.image_size
        frames = window(sample.key_frame, sample.num_frames, before=4, after=4)
        context = self._context(
            self._to_device([to_model(self._open(sample, f), size) for f in frames])
        )
        key = self._open(sample, sample.key_frame)
        crops = [crop_box(key, box, size, AS_CLIP) for box in sample.boxes_xyxy]
        persons = self.method.adapter(self._encode(self._to_device(crops)))  # (P, d)
        whole = to_model(self._open(sample, sample.key_frame), size)
        whole = backbone.project(self._encode(self._to_device([whole] * len(crops))))  # (P, e)
        embedded = backbone.embed(context[None])
        tokens = torch.cat([embedded[:, :1], persons[None], embedded[:, 1:]], 1)  # (1, n, d)
        spotting = config.interest_tokens > 0
        prompted = text.expand(len(crops) if spotting else 1, -1, -1)  # (P or 1, K, e)
        for block, prompting in zip(backbone.blocks, self.method.prompting, strict=True):
            before, tokens = tokens, block(tokens)
            seen = self._interest(block, before, tokens, len(crops)) if spotting else tokens
            prompted = _prompt(prompting, prompted, seen)
        people = backbone.clip.visual.ln_post(tokens[0, 1 : 1 + len(crops)])
        visual = F.normalize(backbone.project(people) + whole, dim=-1)
        similarity = F.normalize(prompted, dim=-1) @ visual[..., None]  # (P, K, 1)
        return similarity[..., 0] / config.temperature

    def _interest(self, block: nn.Module, before: Tensor, after: Tensor, num_people: int) -> Tensor:
        """The tokens (P, k, d) of a block's output that each person attends to most in it."""
        normed = block.ln_1(before)
        attention = block.attn(normed, normed, normed, need_weights=True)[1]  # (1, n, n)
        rows = attention[0, 1 : 1 + num_people]
        return after[0][rows.topk(min(self.method.config.interest_tokens, rows.shape[1])).indices]

    def _encode(self, pictures: Tensor) -> Tensor:
        tokens = self.method.backbone.embed(self.method.backbone.patches(pictures))
        for block in self.method.backbone.blocks:
            tokens = block(tokens)
        return self.method.backbone.clip.visual.ln_post(tokens[:, 0])

    def _context(self, pictures: Tensor) -> Tensor:
        """Pictures of a window to (N, d)."""
        temporal = self.method.temporal
        x = self.method.backbone.patches(pictures).transpose(0, 1)  # (N, T, d)
        x = x + temporal.slots.weight[: x.shape[1]]
        for layer in temporal.layers:
            normed = layer.norm(x)
            x = x + layer.attention(normed, normed, normed, need_weights=False)[0]
        return x.mean(1)


def _prompt(layer: ContextPrompting, text: Tensor, tokens: Tensor) -> Tensor:
    attention = layer.attention
    visual = layer.norm_visual(layer.projector(tokens))
    q, k, v = (
        project(x).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for project, x in (
            (attention.q_proj, layer.norm_text(text)),
            (attention.k_proj, visual),
            (attention.v_proj, visual),
        )
    )
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    updated = text + attention.proj(mixed)
    updated = updated + layer.mlp(layer.norm_mlp(updated))
    return text + layer.rho * updated
