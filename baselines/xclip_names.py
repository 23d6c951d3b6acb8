"""The names in checkpoints of X-CLIP's official training code, and ours."""

from stclip.checkpoints.official import CLIP_BLOCK, OfficialNames, clip_names

_BLOCK = "visual.transformer.resblocks.#."  # the messages stand inside CLIP's blocks
_LAYER = "prompts_generator.decoder.#."
_OURS = "prompting.layers.#."

_LAYERS = {  # a weight and a bias each
    f"{_BLOCK}message_fc": "messages.#.fc",
    f"{_BLOCK}message_ln": "messages.#.norm",
    f"{_BLOCK}message_attn.out_proj": "messages.#.attention.out_proj",
    "prompts_visual_ln": "prompting.norm_patches",
    "prompts_generator.norm": "prompting.norm_visual",
    f"{_LAYER}norm1": f"{_OURS}norm_text",
    f"{_LAYER}cross_attn.proj": f"{_OURS}attention.proj",
    f"{_LAYER}norm3": f"{_OURS}norm_mlp",
    f"{_LAYER}mlp.0": f"{_OURS}mlp.0",
    f"{_LAYER}mlp.3": f"{_OURS}mlp.2",
}
_TENSORS = {
    f"{_BLOCK}message_attn.in_proj_weight": "messages.#.attention.in_proj_weight",
    f"{_BLOCK}message_attn.in_proj_bias": "messages.#.attention.in_proj_bias",
    "mit.positional_embedding": "integration.positions",
    "prompts_visual_proj": "prompting.projection",
    "prompts_generator.alpha": "prompting.alpha",
}

OFFICIAL = OfficialNames(
    prefix="",
    names={
        **clip_names(lora=False),
        **{f"{a}.{kind}": f"{b}.{kind}" for a, b in _LAYERS.items() for kind in ("weight", "bias")},
        **_TENSORS,
        **{f"mit.resblocks.#.{part}": f"integration.blocks.#.{part}" for part in CLIP_BLOCK},
        **{
            f"{_LAYER}cross_attn.{part}.weight": f"{_OURS}attention.{part}.weight"
            for part in ("q_proj", "k_proj", "v_proj")
        },
    },
    towers=("", "visual.transformer.", "transformer.", "mit.", "prompts_generator."),
    squeezed={"mit.positional_embedding": (0,)},
    advice=(
        "X-CLIP's own weights were made with ImageNet's mean and standard deviation and two "
        "prompting layers; the variant `imagenet` or `official` takes those statistics. Where they "
        "were trained with the image tower unfrozen, that tower's tensors are not taken."
    ),
)
