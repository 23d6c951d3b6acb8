"""A5 on a frozen CLIP, written down slowly: one name, one clip, one head at a time.

Made from the published formulas and the layout of the official checkpoints alone; tensors go by
their official names, with `clipmodel.` before those of CLIP. A text has all of its positions here,
learned rows behind its end too.

Legend: n frames of a clip, T frames that are looked at, m tokens of a name, e joint width, w text
width.
"""

from collections.abc import Mapping, Sequence

import torch
from st_clip_reference import Settings, clip_block, encode_picture, layer_norm
from torch import Tensor

Weights = Mapping[str, Tensor]
START, END = 49406, 49407  # CLIP's token ids


def clip_weights(w: Weights) -> dict[str, Tensor]:
    return {k.removeprefix("clipmodel."): t for k, t in w.items() if k.startswith("clipmodel.")}


def scored_frames(num_frames: int, wanted: int) -> list[int]:
    """The 0-based frames: middles of equal segments; a shorter clip repeats its last frame."""
    if num_frames < wanted:
        return [min(i, num_frames - 1) for i in range(wanted)]
    return [int((i + 0.5) * num_frames / wanted) for i in range(wanted)]


def prompted(
    w: Weights, name_ids: Sequence[int], *, prefix: int, postfix: int
) -> tuple[Tensor, int]:
    """The sequence (context, w) of a name without positions, and where it ends.

    Every position begins with the learned row of that position; start, name and end replace theirs.
    """
    token = w["clipmodel.token_embedding.weight"]
    rows = list(w["embedding.weight"])
    end = prefix + len(name_ids) + postfix + 1
    rows[0] = token[START]
    for i, token_id in enumerate(name_ids):
        rows[prefix + 1 + i] = token[token_id]
    rows[end] = token[END]
    return torch.stack(rows), end


def text_feature(
    w: Weights, s: Settings, name_ids: Sequence[int], *, prefix: int = 16, postfix: int = 16
) -> Tensor:
    """The feature (e,) of a name, at its end."""
    clip = clip_weights(w)
    x, end = prompted(w, name_ids, prefix=prefix, postfix=postfix)
    x = x + clip["positional_embedding"]
    for i in range(s.text_layers):
        name = f"transformer.resblocks.{i}"
        x = clip_block(clip, name, x, heads=s.text_heads, causal=True)
    return layer_norm(clip, "ln_final", x)[end] @ clip["text_projection"]


def video_feature(w: Weights, frames: Tensor, *, heads: int) -> Tensor:
    """The feature (e,) of a clip from CLIP's features (T, e) of its frames."""
    x = frames
    if "temporalEmbedding.weight" in w:
        positions = w["temporalEmbedding.weight"]
        x = torch.stack([frame + positions[t] for t, frame in enumerate(frames)])
    number = 0
    while f"temporalModelling.resblocks.{number}.ln_1.weight" in w:
        x = clip_block(w, f"temporalModelling.resblocks.{number}", x, heads=heads)
        number += 1
    total = torch.zeros_like(x[0])
    for row in x:
        total = total + row
    return total / len(x)


def logits(video: Tensor, texts: Sequence[Tensor], *, temperature: float | None = 0.07) -> Tensor:
    """Cosine / temperature of a clip and each name; without temperature the bare product."""
    if temperature is None:
        return torch.stack([video @ text for text in texts])
    cosines = [video @ t / (video @ video).sqrt() / (t @ t).sqrt() for t in texts]
    return torch.stack(cosines) / temperature


def frame_feature(w: Weights, s: Settings, picture: Tensor) -> Tensor:
    """CLIP's feature (e,) of a picture (3, H, W) in 0..255, not normalised."""
    clip = clip_weights(w)
    return encode_picture(clip, s, picture) @ clip["visual.proj"]


def cross_entropy(scores: Sequence[Tensor], labels: Sequence[int]) -> Tensor:
    """Mean over clips of -log p of the true label."""
    total = torch.zeros((), dtype=torch.float64)
    for row, label in zip(scores, labels, strict=True):
        total = total - (row[label].exp() / row.exp().sum()).log()
    return total / len(labels)
