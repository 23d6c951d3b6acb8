"""ViCLIP written down slowly: video by video, token by token, head by head, sample by sample.

Made from the formulas and the layout of the published weights alone, independent of `baselines` and
`stclip.methods`; tensors go by their published names. CLIP's block is that of `st_clip_reference`.

Legend: T frames, N = h * w patches of a frame, K labels, d image width, e joint width.
"""

import math
from collections.abc import Sequence

import torch
from st_clip_reference import Settings, Weights, clip_block, encode_text, layer_norm
from torch import Tensor

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BINS = 7


def patch_vectors(w: Weights, s: Settings, picture: Tensor) -> list[Tensor]:
    """Patch embeddings (d,) of a picture (3, H, W) in 0..255, row by row."""
    mean, std = IMAGENET
    normalised = torch.stack([(picture[c] / 255 - mean[c]) / std[c] for c in range(3)])
    kernel = w["vision_encoder.conv1.weight"].flatten(1)  # (d, 3 * 1 * patch * patch)
    return [
        kernel @ normalised[:, top : top + s.patch, left : left + s.patch].flatten()
        for top in range(0, picture.shape[1], s.patch)
        for left in range(0, picture.shape[2], s.patch)
    ]


def video_tokens(w: Weights, s: Settings, frames: Sequence[Tensor]) -> Tensor:
    """Tokens (1 + N * T, d) after `ln_post`: CLS, then each position's T frames."""
    space = w["vision_encoder.positional_embedding"]
    time = w["vision_encoder.temporal_positional_embedding"][0]
    patches = [patch_vectors(w, s, frame) for frame in frames]
    tokens = [w["vision_encoder.class_embedding"] + space[0]]
    for p in range(len(patches[0])):
        for t in range(len(frames)):
            tokens.append(patches[t][p] + space[1 + p] + time[t])
    x = layer_norm(w, "vision_encoder.ln_pre", torch.stack(tokens))
    for i in range(s.layers):
        x = clip_block(w, f"vision_encoder.transformer.resblocks.{i}", x, heads=s.heads)
    return layer_norm(w, "vision_encoder.ln_post", x)


def video_feature(w: Weights, s: Settings, frames: Sequence[Tensor]) -> Tensor:
    """The feature (e,) of the whole video."""
    return video_tokens(w, s, frames)[0] @ w["vision_encoder.proj"]


def feature_map(w: Weights, s: Settings, frames: Sequence[Tensor]) -> list[list[Tensor]]:
    """The mean over time of every patch: [row][column] -> (d,)."""
    tokens, num_frames = video_tokens(w, s, frames), len(frames)
    rows, columns = (frames[0].shape[1] // s.patch, frames[0].shape[2] // s.patch)
    found = []
    for row in range(rows):
        found.append([])
        for column in range(columns):
            first = 1 + (row * columns + column) * num_frames
            found[-1].append(sum(tokens[first + t] for t in range(num_frames)) / num_frames)
    return found


def bilinear(cells: Sequence[Sequence[Tensor]], y: float, x: float) -> Tensor:
    """Between the middles of four cells; behind those of the last row and column there are none."""
    y, x = min(y, len(cells) - 1), min(x, len(cells[0]) - 1)
    top, left = math.floor(y), math.floor(x)
    below, right = min(top + 1, len(cells) - 1), min(left + 1, len(cells[0]) - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * cells[top][left] + dx * cells[top][right]
    lower = (1 - dx) * cells[below][left] + dx * cells[below][right]
    return (1 - dy) * upper + dy * lower


def pooled(cells: Sequence[Sequence[Tensor]], box: Sequence[float]) -> Tensor:
    """RoIAlign of a box (xyxy in cells, inside the map), then the maximum over its bins."""
    x1, y1, x2, y2 = box
    width, height = max(x2 - x1, 1), max(y2 - y1, 1)
    across, down = math.ceil(width / BINS), math.ceil(height / BINS)
    best = None
    for i in range(BINS):
        for j in range(BINS):
            samples = []
            for k in range(down):
                for m in range(across):
                    y = y1 + (i + (k + 0.5) / down) * height / BINS
                    x = x1 + (j + (m + 0.5) / across) * width / BINS
                    samples.append(bilinear(cells, y, x))
            mean = sum(samples) / len(samples)
            best = mean if best is None else torch.maximum(best, mean)
    assert best is not None
    return best


def person_logits(
    w: Weights,
    s: Settings,
    frames: Sequence[Tensor],
    boxes: Sequence[Sequence[float]],
    ids: Tensor,
    *,
    project: str = "after",
    temperature: Tensor | float = 0.01,
) -> Tensor:
    """Logits (persons, K).

    Args:
        w: by their published names.
        s: of the towers.
        frames: T pictures (3, H, W) in 0..255.
        boxes: xyxy in pixels of the pictures.
        ids: token ids of the label texts (K, context).
        project: `after` pooling or `before`.
        temperature: cosines are divided by it.
    """
    cells = feature_map(w, s, frames)
    if project == "before":
        cells = [[cell @ w["vision_encoder.proj"] for cell in row] for row in cells]
    words = {n.removeprefix("text_encoder."): t for n, t in w.items() if n.startswith("text_")}
    texts = [encode_text(words, s, row).detach() for row in ids]
    rows = []
    for box in boxes:
        v = pooled(cells, [side / s.patch for side in box])
        v = v @ w["vision_encoder.proj"] if project == "after" else v
        rows.append(torch.stack([v @ t / (v @ v).sqrt() / (t @ t).sqrt() for t in texts]))
    return torch.stack(rows) / temperature
