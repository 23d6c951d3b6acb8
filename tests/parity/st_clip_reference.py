"""ST-CLIP written down slowly: frame by frame, position by position, head by head.

Made from the published formulas and the layout of the official checkpoints alone, independent of
`stclip.methods`; tensors go by their official names without the prefix of the CLIP module
("visual.conv1.weight", "adapter.0.weight"). LoRA stays un-merged. Time, pictures and persons are
Python loops; only matrix products, exp, sigmoid and means are borrowed.

Legend: N patches, n tokens, P persons, L labels, M frames of the clip, d image width, e joint
width. Frames count from 1, as in the papers' data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the weights do not say."""

    patch: int
    layers: int
    heads: int  # image blocks and temporal attention
    text_layers: int
    text_heads: int
    prompt_heads: int
    lora_scale: float  # alpha / rank
    memory: int = 4  # frames of the window on each side of the key frame
    image_residual: bool = True
    prompt_persons_and_cls: bool = True
    temperature: float = 0.07
    temporal: str = "attention"  # or "average", "key"
    temporal_layers: int = 1
    person_token: str = "crop"  # or "patches"
    adapter: str = "mlp"  # or "linear", "none"
    prompting: str = "all"  # or "last", "none"
    interest_tokens: int = 0


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """LayerNorm over the last axis with the biased variance, eps 1e-5."""
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / (variance + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def linear(w: Weights, name: str, x: Tensor, *, lora_scale: float = 0.0) -> Tensor:
    """W x + b, and scale * B A x where the layer has LoRA."""
    y = x @ w[f"{name}.weight"].T
    if f"{name}.bias" in w:
        y = y + w[f"{name}.bias"]
    if f"{name}.lora_A" in w:
        y = y + lora_scale * (x @ w[f"{name}.lora_A"].T @ w[f"{name}.lora_B"].T)
    return y


def attend(q: Tensor, k: Tensor, v: Tensor, *, heads: int, causal: bool = False) -> Tensor:
    """Softmax attention of queries (q, c) to keys and values (k, c), one head after the other."""
    width = q.shape[1] // heads
    out = []
    for h in range(heads):
        columns = slice(h * width, (h + 1) * width)
        scores = q[:, columns] @ k[:, columns].T * width**-0.5
        if causal:
            later = torch.ones_like(scores).triu(1).bool()
            scores = scores.masked_fill(later, float("-inf"))
        weights = scores.exp() / scores.exp().sum(1, keepdim=True)
        out.append(weights @ v[:, columns])
    return torch.cat(out, 1)


def self_attention(w: Weights, name: str, x: Tensor, *, heads: int, causal: bool = False) -> Tensor:
    """Self-attention of tokens (n, d) with the packed projections of `nn.MultiheadAttention`."""
    d = x.shape[1]
    weight, bias = w[f"{name}.in_proj_weight"], w[f"{name}.in_proj_bias"]
    q, k, v = (x @ weight[i * d : (i + 1) * d].T + bias[i * d : (i + 1) * d] for i in range(3))
    return linear(w, f"{name}.out_proj", attend(q, k, v, heads=heads, causal=causal))


def clip_block(
    w: Weights, name: str, x: Tensor, *, heads: int, lora_scale: float = 0.0, causal: bool = False
) -> Tensor:
    """A pre-norm CLIP block on tokens (n, d); its MLP may carry LoRA."""
    x = x + self_attention(w, f"{name}.attn", layer_norm(w, f"{name}.ln_1", x), heads=heads,
                           causal=causal)  # fmt: skip
    hidden = linear(w, f"{name}.mlp.c_fc", layer_norm(w, f"{name}.ln_2", x), lora_scale=lora_scale)
    return x + linear(w, f"{name}.mlp.c_proj", quick_gelu(hidden), lora_scale=lora_scale)


def patch_conv(w: Weights, s: Settings, picture: Tensor) -> Tensor:
    """Patch embeddings (N, d) of a picture (3, H, W) in 0..255, row by row."""
    rows = []
    for c in range(3):
        rows.append((picture[c] / 255 - MEAN[c]) / STD[c])
    normalised = torch.stack(rows)
    kernel = w["visual.conv1.weight"].flatten(1)  # (d, 3 * patch * patch)
    out = []
    for top in range(0, picture.shape[1], s.patch):
        for left in range(0, picture.shape[2], s.patch):
            tile = normalised[:, top : top + s.patch, left : left + s.patch]
            out.append(kernel @ tile.flatten())
    return torch.stack(out)


def with_cls(w: Weights, patches: Tensor) -> Tensor:
    """CLS in front, positions on all, `ln_pre`: (N, d) -> (1 + N, d)."""
    tokens = torch.cat([w["visual.class_embedding"][None], patches])
    return layer_norm(w, "visual.ln_pre", tokens + w["visual.positional_embedding"])


def encode_picture(w: Weights, s: Settings, picture: Tensor) -> Tensor:
    """The CLS token (d,) after all blocks and `ln_post`, not projected."""
    tokens = with_cls(w, patch_conv(w, s, picture))
    for i in range(s.layers):
        name = f"visual.transformer.resblocks.{i}"
        tokens = clip_block(w, name, tokens, heads=s.heads, lora_scale=s.lora_scale)
    return layer_norm(w, "visual.ln_post", tokens[0])


def encode_text(w: Weights, s: Settings, ids: Tensor) -> Tensor:
    """The text feature (e,) of token ids (context,): at the largest id, projected, not normed."""
    x = w["token_embedding.weight"][ids] + w["positional_embedding"]
    for i in range(s.text_layers):
        x = clip_block(w, f"transformer.resblocks.{i}", x, heads=s.text_heads, causal=True)
    return layer_norm(w, "ln_final", x)[ids.argmax()] @ w["text_projection"]


def window(t: int, num_frames: int, *, memory: int) -> list[int]:
    """The frames around frame `t`, all from 1; near the ends the window shifts."""
    if t <= memory:
        return list(range(1, min(2 * memory + 1, num_frames) + 1))
    if t > num_frames - memory:
        return list(range(max(num_frames - 2 * memory, 1), num_frames + 1))
    return list(range(t - memory, t + memory + 1))


def temporal_context(w: Weights, s: Settings, pictures: Sequence[Tensor]) -> Tensor:
    """Context patches (N, d) of the pictures of a window, each patch position on its own."""
    embedded = [patch_conv(w, s, picture) for picture in pictures]
    layers = s.temporal_layers if s.temporal == "attention" else 0
    if layers:
        slots = w["visual.temporalEmbedding.weight"]
        embedded = [e + slots[slot] for slot, e in enumerate(embedded)]
    out = []
    for position in range(len(embedded[0])):
        z = torch.stack([e[position] for e in embedded])  # (frames, d)
        for layer in range(layers):
            name = f"visual.temporalModelling.resblocks.{layer}"
            z = z + self_attention(
                w, f"{name}.attn", layer_norm(w, f"{name}.ln_1", z), heads=s.heads
            )
        out.append(z.mean(0))
    return torch.stack(out)


def person_token(w: Weights, s: Settings, crop: Tensor) -> Tensor:
    """A person's token (d,) before the interaction, with the residual adapter."""
    if s.person_token == "crop":
        person = encode_picture(w, s, crop)
    else:
        person = patch_conv(w, s, crop).mean(0)
    if s.adapter == "none":
        return person
    hidden = linear(w, "adapter.0", layer_norm(w, "ln_person", person))
    if s.adapter == "mlp":
        hidden = linear(w, "adapter.2", quick_gelu(hidden))
    return person + hidden


def importance(w: Weights, s: Settings, i: int, tokens: Tensor, person: int) -> Tensor:
    """How much token number `person` attends to each token in block `i`, mean over heads: (n,)."""
    name = f"visual.transformer.resblocks.{i}"
    x = layer_norm(w, f"{name}.ln_1", tokens)
    d = x.shape[1]
    weight, bias = w[f"{name}.attn.in_proj_weight"], w[f"{name}.attn.in_proj_bias"]
    q = x[person] @ weight[:d].T + bias[:d]
    k = x @ weight[d : 2 * d].T + bias[d : 2 * d]
    width = d // s.heads
    rows = []
    for h in range(s.heads):
        scores = k[:, h * width : (h + 1) * width] @ q[h * width : (h + 1) * width] * width**-0.5
        rows.append(scores.exp() / scores.exp().sum())
    return torch.stack(rows).mean(0)


def prompt(w: Weights, s: Settings, i: int, text: Tensor, tokens: Tensor) -> Tensor:
    """Layer `i` of the context prompting: text (L, e) is updated by image tokens (n, d)."""
    name = f"visual.transformer.prompts_generator.{i}"
    decoder = f"{name}.decoder.0"
    visual = layer_norm(w, f"{name}.norm", linear(w, f"visual.transformer.projector.{i}", tokens))
    q = linear(w, f"{decoder}.cross_attn.q_proj", layer_norm(w, f"{decoder}.norm1", text))
    k = linear(w, f"{decoder}.cross_attn.k_proj", visual)
    v = linear(w, f"{decoder}.cross_attn.v_proj", visual)
    mixed = attend(q, k, v, heads=s.prompt_heads)
    first = text + linear(w, f"{decoder}.cross_attn.proj", mixed)
    hidden = quick_gelu(linear(w, f"{decoder}.mlp.0", layer_norm(w, f"{decoder}.norm3", first)))
    second = first + linear(w, f"{decoder}.mlp.3", hidden)
    return text + w[f"{name}.alpha"] * second


def key_frame_logits(
    w: Weights, s: Settings, clip: Sequence[Tensor], t: int, crops: Sequence[Tensor], text: Tensor
) -> Tensor:
    """Logits (P, L) of the persons of frame `t` (from 1).

    `clip`: the M pictures (3, H, W) of the video; `crops`: the P person pictures; `text`: (L, e).
    """
    around = [clip[frame - 1] for frame in window(t, len(clip), memory=s.memory)]
    if s.temporal == "key":
        around = [clip[t - 1]]
    scene = with_cls(w, temporal_context(w, s, around))
    persons = [person_token(w, s, crop) for crop in crops]
    tokens = torch.stack([scene[0], *persons, *scene[1:]])  # CLS, persons, patches
    num_people = len(persons)
    texts = [text] * num_people
    first = 0 if s.prompt_persons_and_cls else 1 + num_people
    for i in range(s.layers):
        name = f"visual.transformer.resblocks.{i}"
        before = tokens
        tokens = clip_block(w, name, tokens, heads=s.heads, lora_scale=s.lora_scale)
        prompted = {"all": True, "last": i == s.layers - 1, "none": False}[s.prompting]
        number = 0 if s.prompting == "last" else i  # of the prompting layer
        for j in range(num_people if prompted else 0):
            seen = tokens[first:]
            if s.interest_tokens:
                weight = importance(w, s, i, before, 1 + j)[first:]
                seen = seen[weight.argsort(descending=True)[: s.interest_tokens]]
            texts[j] = prompt(w, s, number, texts[j], seen)
    whole = encode_picture(w, s, clip[t - 1]) @ w["visual.proj"]
    rows = []
    for j in range(num_people):
        v = layer_norm(w, "visual.ln_post", tokens[1 + j]) @ w["visual.proj"]
        if s.image_residual:
            v = v + whole
        own = texts[j]
        cosines = [v @ label / (v @ v).sqrt() / (label @ label).sqrt() for label in own]
        rows.append(torch.stack(cosines) / s.temperature)
    return torch.stack(rows)
