"""iCLIP written down slowly: frame by frame, person by person, with every empty slot there.

Made from the formulas and the layout of the official checkpoints alone, independent of `baselines`
and `stclip.methods`; tensors go by their official names without the prefix of the action head.
CLIP's own formulas are those of `st_clip_reference`.

Legend: P persons, O objects, K slots, L labels, e joint width. Frames count from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from st_clip_reference import Weights, attend, layer_norm, linear, quick_gelu
from torch import Tensor

Box = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Slotted:
    """What the weights do not say."""

    units: str = "POHMPOHM"
    person_slots: int = 25
    object_slots: int = 5
    context_slots: int = 25
    memory_slots: int = 10
    before: int = 30
    after: int = 30
    mask_padding: bool = False
    skip_objects: str = "never"
    prompt_layers: int = 2
    prompt_heads: int = 2
    temperature: float = 0.07


def touches(thing: Box, person: Box) -> bool:
    """Overlap or contact of two boxes whose corners are rounded."""
    a, b = [round(v) for v in thing], [round(v) for v in person]
    x_left, x_right = max(a[0], b[0]), min(a[2], b[2])
    y_top, y_bottom = max(a[1], b[1]), min(a[3], b[3])
    return not (x_right < x_left or y_bottom < y_top)


def chosen_objects(things: Sequence[Box], persons: Sequence[Box], most: int) -> list[int]:
    """Which objects count, of those by falling score: at somebody, the best so many."""
    return [i for i, t in enumerate(things) if any(touches(t, p) for p in persons)][:most]


def memory_steps(key: int, num_frames: int, s: Slotted, pool: set[int] | None) -> list[int | None]:
    """The frame of each step of the memory, None where there is none."""
    steps = [*range(key - s.before, key), *range(key + 1, key + s.after + 1)]
    return [t if 0 <= t < num_frames and (pool is None or t in pool) else None for t in steps]


def convolution(w: Weights, name: str, x: Tensor) -> Tensor:
    """A 1 x 1 x 1 convolution of rows (n, e)."""
    return x @ w[f"{name}.weight"].flatten(1).T + w[f"{name}.bias"]


def unit(
    w: Weights, name: str, persons: Tensor, slots: Tensor, steps: Sequence[int] | None = None
) -> Tensor:
    """A unit on persons (P, e) and slots (K, e); `steps`: the step of memory of each slot."""
    k, v = convolution(w, f"{name}.key", slots), convolution(w, f"{name}.value", slots)
    if steps is not None:
        rows = list(steps)
        k = k + w[f"{name}.temporal_position_k"][:, 0, :, 0, 0, 0][rows]
        v = v + w[f"{name}.temporal_position_v"][:, 0, :, 0, 0, 0][rows]
    out = []
    for person in persons:
        q = convolution(w, f"{name}.query", person[None])[0]
        scores = torch.stack([q @ key for key in k]) / len(person) ** 0.5
        weights = scores.exp() / scores.exp().sum()
        u = weights @ v
        centred = u - u.mean()
        u = centred / ((centred**2).mean() + 1e-5).sqrt()
        u = u * (u > 0)
        out.append(person + convolution(w, f"{name}.out", u[None])[0])
    return torch.stack(out)


def padded(rows: Tensor, total: int, s: Slotted) -> Tensor:
    """Rows (n, e), zeros behind them up to `total`; nothing behind them where those are masked."""
    extra = 0 if s.mask_padding else total - len(rows)
    return torch.cat([rows, rows.new_zeros(extra, rows.shape[1])])


def interact(
    w: Weights,
    s: Slotted,
    persons: Tensor,
    objects: Tensor,
    context: Tensor,
    memory: Sequence[Tensor | None],
    *,
    skip_objects: bool,
) -> Tensor:
    """The persons (P, e) of a frame after all units.

    `objects` (O, e) are chosen already; `skip_objects`: unit O does nothing here.
    """
    count = dict.fromkeys("POHM", 0)
    for letter in s.units:
        count[letter] += 1
        name = f"feature_extractor.iCLIP_structure.{letter}_block_{count[letter]}"
        if letter == "P":
            slots = padded(persons[: s.person_slots], s.person_slots, s)
            persons = unit(w, name, persons, slots)
        elif letter == "O":
            slots = padded(objects, s.object_slots, s)
            if len(slots) and not skip_objects:
                persons = unit(w, name, persons, slots)
        elif letter == "H":
            persons = unit(w, name, persons, padded(context[None], s.context_slots, s))
        else:
            parts, steps = [], []
            for step, frame in enumerate(memory):
                there = context.new_zeros(0, len(context)) if frame is None else frame[None]
                parts.append(padded(there, s.memory_slots, s))
                steps += [step] * len(parts[-1])
            if steps:
                persons = unit(w, name, persons, torch.cat(parts), steps)
    return persons


def prompt(w: Weights, s: Slotted, text: Tensor, person: Tensor) -> Tensor:
    """The texts (L, e) of a person (e,)."""
    visual = layer_norm(w, "prompts_generator.norm", person[None])  # (1, e): the only key
    f = text
    for i in range(s.prompt_layers):
        name = f"prompts_generator.decoder.{i}"
        q = linear(w, f"{name}.cross_attn.q_proj", layer_norm(w, f"{name}.norm1", f))
        k = linear(w, f"{name}.cross_attn.k_proj", visual)
        v = linear(w, f"{name}.cross_attn.v_proj", visual)
        f = f + linear(w, f"{name}.cross_attn.proj", attend(q, k, v, heads=s.prompt_heads))
        hidden = quick_gelu(linear(w, f"{name}.mlp.0", layer_norm(w, f"{name}.norm3", f)))
        f = f + linear(w, f"{name}.mlp.3", hidden)
    return text + w["prompts_generator.alpha"] * f


def person_logits(w: Weights, s: Slotted, person: Tensor, context: Tensor, text: Tensor) -> Tensor:
    """Logits (L,) of a person after the interaction."""
    x = person / 2 + context / 2
    texts = prompt(w, s, text, x) if s.prompt_layers else text
    rows = [x @ t / (x @ x).sqrt() / (t @ t).sqrt() / s.temperature for t in texts]
    return torch.stack(rows)
