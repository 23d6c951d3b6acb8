"""Vita-CLIP written down slowly: video by video, frame by frame, head by head.

Made from the published formulas and the layout of the official checkpoints alone, independent of
`baselines`; tensors go by their official names ("visual.blocks.0.local_prompts"). A block's output
is computed for every token that it sees, in the official order, and thrown away where the official
code throws it away. Prompts of which there are no tensors are left out.

Legend: T frames, n patches, G global prompts, M context vectors, D image width, E joint width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from st_clip_reference import MEAN, STD, Weights, attend, clip_block, layer_norm, linear, quick_gelu
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the weights do not say."""

    patch: int
    layers: int
    heads: int  # image blocks and summary attention
    text_layers: int
    text_heads: int


def segment_middles(length: int, num_frames: int) -> list[int]:
    """The middle frame of each of T equal segments; a shorter video repeats its last frame."""
    if length < num_frames:
        return [min(i, length - 1) for i in range(num_frames)]
    return [int((i + 0.5) * length / num_frames) for i in range(num_frames)]


def self_attention(w: Weights, name: str, x: Tensor, *, heads: int) -> Tensor:
    """Self-attention of tokens (m, D); queries, keys, values and output are layers of their own."""
    q, k, v = (linear(w, f"{name}.{part}_proj", x) for part in "qkv")
    return linear(w, f"{name}.out_proj", attend(q, k, v, heads=heads))


def frame_tokens(w: Weights, s: Settings, picture: Tensor, slot: int) -> Tensor:
    """Tokens (1 + n, D) of frame `slot` of a video, a picture (3, H, W) in 0..255."""
    normalised = torch.stack([(picture[c] / 255 - MEAN[c]) / STD[c] for c in range(3)])
    kernel = w["visual.patch_embed.proj.weight"].flatten(1)
    tokens = [w["visual.cls_token"]]
    for top in range(0, picture.shape[1], s.patch):
        for left in range(0, picture.shape[2], s.patch):
            tile = normalised[:, top : top + s.patch, left : left + s.patch]
            tokens.append(kernel @ tile.flatten() + w["visual.patch_embed.proj.bias"])
    x = torch.stack(tokens) + w["visual.pos_embed"] + w["visual.time_embed"][slot]
    return layer_norm(w, "visual.ln_pre", x)


def block(w: Weights, s: Settings, i: int, frames: list[Tensor]) -> list[Tensor]:
    """Block `i` on the frames' tokens, each (1 + n, D)."""
    name = f"visual.blocks.{i}"
    local = f"{name}.local_prompts" in w
    summary = f"{name}.summary_ln.weight" in w
    num_global = w["visual.global_prompts"].shape[1] if "visual.global_prompts" in w else 0
    if num_global:
        shared = w["visual.global_prompts"][i]
        frames = [torch.cat([x[:1], shared, x[1:]]) for x in frames]
    if local or summary:
        c = torch.stack([linear(w, f"{name}.cls_proj", x[0]) for x in frames])  # (T, D)
    if summary:
        normed = layer_norm(w, f"{name}.summary_ln", c)
        summaries = c + self_attention(w, f"{name}.summary_attn_layer", normed, heads=s.heads)
    out = []
    for t, x in enumerate(frames):
        if local:
            own = [w[f"{name}.local_prompts"][0, row] + c[row] for row in range(len(frames))]
            x = torch.cat([x[:1], torch.stack(own), x[1:]])
        if summary:
            x = torch.cat([x, summaries[t : t + 1]])
        y = x + self_attention(w, f"{name}.attn", layer_norm(w, f"{name}.norm1", x), heads=s.heads)
        if summary:
            y = y[:-1]
        if local:
            y = torch.cat([y[:1], y[1 + len(frames) :]])
        hidden = quick_gelu(linear(w, f"{name}.mlp.fc1", layer_norm(w, f"{name}.norm2", y)))
        y = y + linear(w, f"{name}.mlp.fc2", hidden)
        out.append(torch.cat([y[:1], y[1 + num_global :]]))
    return out


def encode_video(w: Weights, s: Settings, pictures: Sequence[Tensor]) -> Tensor:
    """The video feature (E,) of its T chosen pictures, not normalised."""
    frames = [frame_tokens(w, s, picture, slot) for slot, picture in enumerate(pictures)]
    for i in range(s.layers):
        frames = block(w, s, i, frames)
    features = [layer_norm(w, "visual.ln_post", x[0]) @ w["visual.proj"] for x in frames]
    return torch.stack(features).mean(0)


def encode_class(w: Weights, s: Settings, ids: Tensor) -> Tensor:
    """The text feature (E,) of token ids (context,) in which an X stands for each learned vector.

    Positions 1..M are theirs; without a learned context there is no X.
    """
    x = w["textual.token_embedding.weight"][ids]
    if "prompt_learner.ctx" in w:
        vectors = w["prompt_learner.ctx"]
        x = torch.cat([x[:1], vectors, x[1 + len(vectors) :]])
    x = x + w["textual.positional_embedding"]
    for i in range(s.text_layers):
        name = f"textual.transformer.resblocks.{i}"
        x = clip_block(w, name, x, heads=s.text_heads, causal=True)
    return layer_norm(w, "textual.ln_final", x)[ids.argmax()] @ w["textual.text_projection"]


def logits(w: Weights, video: Tensor, texts: Sequence[Tensor]) -> Tensor:
    """exp(logit_scale) times the cosine of a video (E,) to each class: (K,)."""
    cosines = [video @ t / (video @ video).sqrt() / (t @ t).sqrt() for t in texts]
    return w["logit_scale"].exp() * torch.stack(cosines)
