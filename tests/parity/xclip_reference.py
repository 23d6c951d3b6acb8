"""X-CLIP written down slowly: video by video, frame by frame, head by head.

Made from the formulas and the layout of the official checkpoints alone, independent of `baselines`
and `stclip.methods`; tensors go by their official names. CLIP's own formulas are those of
`st_clip_reference`.

Legend: T frames, N patches, n tokens (1 + N), K labels, d image width, e joint width.
"""

from collections.abc import Sequence

import torch
from st_clip_reference import (
    Settings,
    Weights,
    attend,
    clip_block,
    layer_norm,
    linear,
    patch_conv,
    quick_gelu,
    self_attention,
    with_cls,
)
from torch import Tensor


def frame_numbers(num_frames: int, wanted: int) -> list[int]:
    """The frames that are scored, from 0: floor((i + 1/2) n / T)."""
    return [int((i + 0.5) * num_frames / wanted) for i in range(wanted)]


def encode_frames(
    w: Weights, s: Settings, frames: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Each frame's class feature (e,) and patch tokens (N, d), from pictures in 0..255."""
    tokens = [with_cls(w, patch_conv(w, s, frame)) for frame in frames]
    for i in range(s.layers):
        name = f"visual.transformer.resblocks.{i}"
        told = torch.stack([linear(w, f"{name}.message_fc", x[0]) for x in tokens])  # (T, d)
        normed = layer_norm(w, f"{name}.message_ln", told)
        told = told + self_attention(w, f"{name}.message_attn", normed, heads=s.heads)
        for t in range(len(frames)):
            x = torch.cat([tokens[t], told[t][None]])  # (n + 1, d)
            x = x + self_attention(
                w, f"{name}.attn", layer_norm(w, f"{name}.ln_1", x), heads=s.heads
            )
            x = x[:-1]  # the message goes
            hidden = quick_gelu(linear(w, f"{name}.mlp.c_fc", layer_norm(w, f"{name}.ln_2", x)))
            tokens[t] = x + linear(w, f"{name}.mlp.c_proj", hidden)
    features = [layer_norm(w, "visual.ln_post", x[0]) @ w["visual.proj"] for x in tokens]
    return features, [x[1:] for x in tokens]


def integrate(w: Weights, features: Sequence[Tensor], *, heads: int, layers: int) -> Tensor:
    """The video feature (e,) from the frames' class features."""
    c = torch.stack(list(features))  # (T, e)
    z = c + w["mit.positional_embedding"][0]
    for i in range(layers):
        z = clip_block(w, f"mit.resblocks.{i}", z, heads=heads)
    return (z + c).mean(0)


def prompt(
    w: Weights, text: Tensor, patches: Sequence[Tensor], *, heads: int, layers: int
) -> Tensor:
    """The texts (K, e) of a video."""
    projected = [layer_norm(w, "prompts_visual_ln", p) @ w["prompts_visual_proj"] for p in patches]
    u = layer_norm(w, "prompts_generator.norm", sum(projected) / len(projected))  # (N, e)
    h = text
    for j in range(layers):
        name = f"prompts_generator.decoder.{j}"
        q = linear(w, f"{name}.cross_attn.q_proj", layer_norm(w, f"{name}.norm1", h))
        k = linear(w, f"{name}.cross_attn.k_proj", u)
        v = linear(w, f"{name}.cross_attn.v_proj", u)
        h = h + linear(w, f"{name}.cross_attn.proj", attend(q, k, v, heads=heads))
        hidden = quick_gelu(linear(w, f"{name}.mlp.0", layer_norm(w, f"{name}.norm3", h)))
        h = h + linear(w, f"{name}.mlp.3", hidden)
    return text + w["prompts_generator.alpha"] * h


def video_logits(
    w: Weights,
    s: Settings,
    frames: Sequence[Tensor],
    text: Tensor,
    *,
    mit_layers: int = 1,
    prompt_layers: int = 1,
) -> Tensor:
    """Logits (K,) of one video of T frames (3, H, W) in 0..255; `text`: (K, e), not normed."""
    features, patches = encode_frames(w, s, frames)
    v = integrate(w, features, heads=s.prompt_heads, layers=mit_layers)
    texts = prompt(w, text, patches, heads=s.prompt_heads, layers=prompt_layers)
    cosines = [v @ t / (v @ v).sqrt() / (t @ t).sqrt() for t in texts]
    return w["logit_scale"].exp() * torch.stack(cosines)
