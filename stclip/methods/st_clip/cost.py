"""What ST-CLIP costs as released: every part computed for every box and window, nothing shared.

This is the composition behind the paper's figures (J-HMDB: 2431.51 for a video of 40 frames with
one person; AVA: 583.04, 21.67 and 40.88 for a key frame). What runs here is cheaper: it shares and
skips what nothing reads.
"""

from stclip.methods.layers.multiply_adds import (
    Tower,
    block,
    encode_picture,
    mlp,
    norm,
    patch_embedding,
    scores,
    self_attention,
)
from stclip.methods.st_clip.st_clip_config import STCLIPConfig

INTERACTION, PROMPTING, INTEREST = (
    "person-context interaction",
    "context prompting",
    "interest tokens",
)


def key_frame_macs(
    tower: Tower,
    *,
    persons: int,
    labels: int,
    window: int = 9,
    lora_rank: int = 8,
    interest_tokens: int = 0,
) -> dict[str, int]:
    """Multiply-adds of one key frame (Huang et al. 2025, Tables 10 and 14).

    Args:
        tower: the image tower.
        persons: boxes of the frame; the whole frame is encoded once for each.
        labels: class names.
        window: frames of the context.
        lora_rank: of the image MLPs, not merged.
        interest_tokens: K of interest token spotting; 0 without. More than there are mean all.

    Returns:
        By part; "interest tokens" is what they add: prompting each person's own text with K tokens
        instead of one text with all, and the attention map computed a second time.
    """
    d, tokens = tower.width, tower.num_patches + 1 + persons
    interaction = (
        persons * encode_picture(tower, lora_rank=lora_rank, project=True)  # the whole frame
        + persons * encode_picture(tower, lora_rank=lora_rank, project=False)  # the crops
        + norm(persons, d) + mlp(persons, d)  # the adapter
        + window * patch_embedding(tower) + tower.num_patches * self_attention(window, d)
        + norm(tower.num_patches + 1, d)
        + tower.layers * block(tokens, d, lora_rank=lora_rank)
        + norm(persons, d) + persons * d * tower.embed
    )  # fmt: skip
    shared = tower.layers * _prompting(tower, tokens, labels)
    parts = {INTERACTION: interaction, PROMPTING: shared}
    if interest_tokens:
        own = persons * tower.layers * _prompting(tower, min(interest_tokens, tokens), labels)
        parts[INTEREST] = own - shared + tower.layers * scores(tokens, d)
    return parts


def trained_parameters(tower: Tower, *, window: int = 9, lora_rank: int = 8) -> dict[str, int]:
    """Trained parameters of the released code, by part.

    Those of the temporal layer's MLP and its norm are among them, through which nothing passes;
    they are not built here.
    """
    d, e = tower.width, tower.embed
    own_mlp = 8 * d * d + 5 * d + 2 * d  # d -> 4 d -> d with biases, and the norm before it
    lora = tower.layers * lora_rank * 2 * (d + 4 * d)
    temporal = window * d + 4 * d * d + 4 * d + 2 * d + own_mlp
    prompting = d * e + e + 12 * e * e + 13 * e
    return {
        INTERACTION: lora + temporal + own_mlp,
        PROMPTING: tower.layers * prompting,
        INTEREST: 0,
    }


def released_cost(
    tower: Tower, config: STCLIPConfig, *, persons: int, labels: int
) -> dict[str, tuple[int, int]]:
    """Multiply-adds of a key frame, and trained parameters, by part (Table 12)."""
    window = config.before + 1 + config.after
    macs = key_frame_macs(
        tower, persons=persons, labels=labels, window=window, lora_rank=config.lora_rank,
        interest_tokens=config.interest_tokens,
    )  # fmt: skip
    trained = trained_parameters(tower, window=window, lora_rank=config.lora_rank)
    return {part: (macs[part], trained[part]) for part in macs}


def _prompting(tower: Tower, tokens: int, labels: int) -> int:
    """One layer: project and norm the tokens, cross-attention of the labels, MLP."""
    e = tower.embed
    visual = tokens * tower.width * e + norm(tokens, e)
    attention = norm(labels, e) + 2 * labels * e * e + 2 * tokens * e * e + 2 * labels * tokens * e
    return visual + attention + norm(labels, e) + mlp(labels, e)


def shared_flops(
    tower: Tower, *, persons: int, labels: int, window: int = 9, interest_tokens: int = 0
) -> int:
    """Operations of a key frame's matrix products if nothing is computed twice, two a multiply-add.

    The floor that `benchmarks/st_clip.py` measures against: the whole frame once, the patches of a
    frame once for all windows, the class token alone in the last block of frame and crops, the mean
    over time before the values, text ready, LoRA merged. With interest tokens: a text per person,
    and the persons' rows of the attention map a second time.
    """
    d, e, num_patches = tower.width, tower.embed, tower.num_patches
    tokens = num_patches + 1
    encode = (
        (tower.layers - 1) * _products(tokens, d)
        + 2 * tokens * d * d  # last block: keys and values of all,
        + 2 * d * d + 2 * tokens * d + 8 * d * d  # the rest of one token
    )  # fmt: skip
    temporal = num_patches * (2 * window * d * d + window * window * d + window * d + 2 * d * d)
    joint = tokens + persons
    texts, seen, rows = 1, joint, 0
    if interest_tokens:
        texts, seen = persons, persons * min(interest_tokens, joint)
        rows = persons * joint * d
    visual = seen * (d * e + 2 * e * e + 2 * labels * e) + texts * labels * 10 * e * e + rows
    return 2 * (
        patch_embedding(tower) * (1 + persons)
        + encode * (1 + persons)
        + temporal
        + tower.layers * (_products(joint, d) + visual)
    )


def _products(n: int, d: int) -> int:
    """The matrix products of a transformer block."""
    return 12 * n * d * d + 2 * n * n * d
