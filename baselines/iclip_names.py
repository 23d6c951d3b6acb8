"""The names in checkpoints of iCLIP's official training code, and ours."""

from stclip.checkpoints.official import OfficialNames, clip_names

_UNITS = {  # numbered from 1, all of them there
    f"feature_extractor.iCLIP_structure.{letter}_block_{number}.": f"interaction.units."
    f"{letter}{number}."
    for number in (1, 2)
    for letter in "POHM"
}
_PARTS = [
    f"{layer}.{kind}" for layer in ("query", "key", "value", "out") for kind in ("weight", "bias")
]
_POSITIONS = {"temporal_position_k": "pos_k", "temporal_position_v": "pos_v"}
_TEXT = "text_feature_generator."
_LAYER = "prompts_generator.decoder.#."
_OURS = "prompting.layers.#."
_LAYERS = {  # a weight and a bias each
    "prompts_generator.norm": "prompting.norm_visual",
    f"{_LAYER}norm1": f"{_OURS}norm_text",
    f"{_LAYER}cross_attn.proj": f"{_OURS}attention.proj",
    f"{_LAYER}norm3": f"{_OURS}norm_mlp",
    f"{_LAYER}mlp.0": f"{_OURS}mlp.0",
    f"{_LAYER}mlp.3": f"{_OURS}mlp.2",
}
# Linear layers there are convolutions (e, e, 1, 1, 1), positions are (steps, 1, e, 1, 1, 1).
_WEIGHTS = tuple(f"{unit}{part}" for unit in _UNITS for part in _PARTS if part.endswith("weight"))
_TABLES = {
    f"{theirs}{a}": f"{ours}{b}"
    for theirs, ours in _UNITS.items()
    if ".M_" in theirs
    for a, b in _POSITIONS.items()
}

OFFICIAL = OfficialNames(
    prefix="roi_heads.action.",
    names={
        **{f"{_TEXT}clipmodel.{theirs}": ours for theirs, ours in clip_names(lora=False).items()},
        **{f"{a}{part}": f"{b}{part}" for a, b in _UNITS.items() for part in _PARTS},
        **_TABLES,
        "prompts_generator.alpha": "prompting.alpha",
        **{f"{a}.{kind}": f"{b}.{kind}" for a, b in _LAYERS.items() for kind in ("weight", "bias")},
        **{
            f"{_LAYER}cross_attn.{part}.weight": f"{_OURS}attention.{part}.weight"
            for part in ("q_proj", "k_proj", "v_proj")
        },
    },
    # Built and saved there, but no input passes through them: SlowFast, two transformers, a second
    # copy of CLIP for the memory, learned vectors around the labels.
    ignored=(
        "backbone.",
        "mit.",
        "feature_extractor.pose_transformer.",
        "feature_extractor.clip.",
        f"{_TEXT}embedding.",
        f"{_TEXT}prompts_visual_",
    ),
    squeezed=dict.fromkeys(_WEIGHTS, (2, 3, 4)) | dict.fromkeys(_TABLES, (1, 3, 4, 5)),
    towers=(
        "",
        f"{_TEXT}clipmodel.visual.transformer.",
        f"{_TEXT}clipmodel.transformer.",
        "prompts_generator.",
    ),
    advice=(
        "iCLIP's own weights were trained with a memory of visited frames and a random pick of "
        "objects; the variant `official` has both."
    ),
)
