"""ActionCLIP's head "Transf" on a frozen CLIP, written down slowly: one clip, one head, one pair.

Made from the published formulas and the layout of the official checkpoints alone; tensors go by
their official names, those of CLIP without prefix, those of the head with `module.`. CLIP itself is
that of `st_clip_reference`.

Legend: n frames of a clip, T frames that are looked at, e joint width, K labels, R clips of a
batch.
"""

from collections.abc import Mapping, Sequence
from math import exp, floor, log, trunc

import torch
from st_clip_reference import linear, quick_gelu, self_attention
from torch import Tensor

Weights = Mapping[str, Tensor]
HEAD = "module.transformer.resblocks"


def scored_frames(num_frames: int, wanted: int) -> list[int]:
    """The 0-based frames of a clip when scoring: the middles of equal segments."""
    length = num_frames / wanted
    if num_frames <= wanted:
        return [floor(i * length) for i in range(wanted)]
    return [trunc(i * length + (length - 1) / 2) for i in range(wanted)]


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """LayerNorm over the last axis with the biased variance, eps 1e-12."""
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / (variance + 1e-12).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def video_feature(w: Weights, frames: Tensor, *, heads: int) -> Tensor:
    """The feature (e,) of a clip from CLIP's features (T, e) of its frames."""
    positions = w["module.frame_position_embeddings.weight"]
    x = torch.stack([frame + positions[t] for t, frame in enumerate(frames)])
    number = 0
    while f"{HEAD}.{number}.ln_1.weight" in w:
        name = f"{HEAD}.{number}"
        x = x + self_attention(w, f"{name}.attn", layer_norm(w, f"{name}.ln_1", x), heads=heads)
        hidden = linear(w, f"{name}.mlp.c_fc", layer_norm(w, f"{name}.ln_2", x))
        x = x + linear(w, f"{name}.mlp.c_proj", quick_gelu(hidden))
        number += 1
    y = x + frames  # the outer residual: without positions
    total = torch.zeros_like(y[0])
    for row in y:
        total = total + row
    return total / len(y)


def similarity(w: Weights, video: Tensor, text: Tensor) -> Tensor:
    """exp(logit_scale) times the cosine of two features (e,)."""
    cosine = (video @ text) / (video @ video).sqrt() / (text @ text).sqrt()
    return w["logit_scale"].exp() * cosine


def probabilities(w: Weights, video: Tensor, texts: Sequence[Sequence[Tensor]]) -> Tensor:
    """Class probabilities (K,): the mean over templates of each one's softmax.

    `texts`: for each template the features of the K labels.
    """
    rows = []
    for of_template in texts:
        scores = torch.stack([similarity(w, video, text) for text in of_template])
        rows.append(scores.exp() / scores.exp().sum())
    return torch.stack(rows).mean(0)


def batch_loss(
    w: Weights, videos: Sequence[Tensor], texts: Sequence[Tensor], labels: Sequence[int]
) -> Tensor:
    """The loss of a batch: clip i with class labels[i], and the one text that was drawn for it."""
    size = len(videos)
    to_text = [[similarity(w, video, text) for text in texts] for video in videos]
    to_video = [[to_text[i][j] for i in range(size)] for j in range(size)]
    total = torch.zeros((), dtype=torch.float64)
    for direction in (to_text, to_video):
        for i in range(size):
            weight = [exp(10.0 * (labels[i] == labels[j])) for j in range(size)]
            normaliser = torch.stack([s.exp() for s in direction[i]]).sum()
            for j in range(size):
                q = weight[j] / sum(weight)
                p = direction[i][j].exp() / normaliser
                total = total + q * (log(q) - p.log()) / size / 2
    return total
