"""The names in checkpoints of ST-CLIP's official training code, and ours."""

from stclip.checkpoints.official import OfficialNames, clip_names

_VISUAL = "clipmodel.visual."
_PROMPT = f"{_VISUAL}transformer.prompts_generator.#."
_TEMPORAL = f"{_VISUAL}temporalModelling.resblocks.#."
_MLP = "visual.transformer.resblocks.#.mlp."

_LAYERS = {  # a weight and a bias each
    "adapter.0": "adapter.mlp.0",
    "adapter.2": "adapter.mlp.2",
    "ln_person": "adapter.norm",
    f"{_TEMPORAL}ln_1": "temporal.layers.#.norm",
    f"{_TEMPORAL}attn.out_proj": "temporal.layers.#.attention.out_proj",
    f"{_VISUAL}transformer.projector.#": "prompting.#.projector",
    f"{_PROMPT}norm": "prompting.#.norm_visual",
    f"{_PROMPT}decoder.0.norm1": "prompting.#.norm_text",
    f"{_PROMPT}decoder.0.cross_attn.proj": "prompting.#.attention.proj",
    f"{_PROMPT}decoder.0.norm3": "prompting.#.norm_mlp",
    f"{_PROMPT}decoder.0.mlp.0": "prompting.#.mlp.0",
    f"{_PROMPT}decoder.0.mlp.3": "prompting.#.mlp.2",
}
_TENSORS = {
    f"{_VISUAL}temporalEmbedding.weight": "temporal.slots.weight",
    f"{_TEMPORAL}attn.in_proj_weight": "temporal.layers.#.attention.in_proj_weight",
    f"{_TEMPORAL}attn.in_proj_bias": "temporal.layers.#.attention.in_proj_bias",
    f"{_PROMPT}alpha": "prompting.#.rho",
}
_QKV = {
    f"{_PROMPT}decoder.0.cross_attn.{part}.weight": f"prompting.#.attention.{part}.weight"
    for part in ("q_proj", "k_proj", "v_proj")
}
_LORA = {
    f"clipmodel.{_MLP}{layer}.{side}": f"backbone.clip.{_MLP}{layer}.{side}.default.weight"
    for layer in ("c_fc", "c_proj")
    for side in ("lora_A", "lora_B")
}
_KINDS = ("weight", "bias")

OFFICIAL = OfficialNames(
    prefix="roi_heads.action.text_feature_generator.",
    names={
        **{f"clipmodel.{theirs}": ours for theirs, ours in clip_names(lora=True).items()},
        **{f"{a}.{kind}": f"{b}.{kind}" for a, b in _LAYERS.items() for kind in _KINDS},
        **_TENSORS,
        **_QKV,
        **_LORA,
    },
    # The temporal block's MLP and its norm: trainable there, but no input passes through them.
    unused=tuple(
        f"{_TEMPORAL}{layer}.{kind}"
        for layer in ("mlp.c_fc", "mlp.c_proj", "ln_2")
        for kind in _KINDS
    ),
    towers=("", _VISUAL, f"{_VISUAL}temporalModelling.", "clipmodel.transformer."),
)
