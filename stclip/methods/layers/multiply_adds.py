"""Multiply-adds (MACs) of transformer parts, counted from their shapes.

Counted are matrix products, convolutions and five operations per element of a LayerNorm, as fvcore
counts; biases, activations and softmax are not. The papers call these "GFLOPs".

Shape letters: see `stclip.methods`.
"""

from dataclasses import dataclass

from stclip.errors import ConfigError
from stclip.methods.clip.towers import model_config

_NORM = 5  # operations per element of a LayerNorm
_MLP = 4  # hidden width of an MLP over its width


@dataclass(frozen=True)
class Tower:
    """The sizes of a CLIP's image tower and of its joint space."""

    width: int
    layers: int
    patch: int  # side of a patch in pixels
    num_patches: int
    embed: int


def tower_of(backbone: str) -> Tower:
    """The sizes of an open_clip model.

    Raises:
        ConfigError: unknown model, or one without a plain image transformer.
    """
    config = model_config(backbone)
    vision = config["vision_cfg"]
    patch, size = vision.get("patch_size"), vision.get("image_size")
    height, width = size if isinstance(size, list) else (size, size)
    if not all(isinstance(side, int) for side in (patch, height, width, vision.get("layers"))):
        raise ConfigError(f"backbone {backbone!r}: no open_clip model with a vision transformer.")
    num_patches = (height // patch) * (width // patch)
    return Tower(vision["width"], vision["layers"], patch, num_patches, config["embed_dim"])


def norm(n: int, d: int) -> int:
    """A LayerNorm of n tokens."""
    return _NORM * n * d


def mlp(n: int, d: int, *, lora_rank: int = 0) -> int:
    """Two linear layers d -> 4 d -> d, perhaps with LoRA that is not merged."""
    return 2 * n * d * _MLP * d + 2 * lora_rank * n * (d + _MLP * d)


def scores(n: int, d: int) -> int:
    """Norm, the three projections in and the products of queries and keys."""
    return norm(n, d) + n * d * 3 * d + n * n * d


def self_attention(n: int, d: int) -> int:
    """Norm, projections in, both products with the attention map, projection out."""
    return scores(n, d) + n * n * d + n * d * d


def block(n: int, d: int, *, lora_rank: int = 0) -> int:
    """A pre-norm transformer block."""
    return self_attention(n, d) + norm(n, d) + mlp(n, d, lora_rank=lora_rank)


def patch_embedding(tower: Tower) -> int:
    """The patches of one picture."""
    return tower.num_patches * tower.width * 3 * tower.patch**2


def encode_picture(tower: Tower, *, lora_rank: int = 0, project: bool) -> int:
    """A picture to its class token, all tokens through all blocks."""
    n, d = tower.num_patches + 1, tower.width
    blocks = tower.layers * block(n, d, lora_rank=lora_rank)
    return patch_embedding(tower) + norm(n, d) + blocks + norm(1, d) + project * d * tower.embed
