"""The names in checkpoints of Vita-CLIP's official training code, and ours."""

from stclip.checkpoints.official import OfficialNames, clip_names

_OURS, _BLOCK = "backbone.clip.visual.", "visual.blocks.#."
_SUMMARY = f"{_BLOCK}summary_attn_layer."
_KINDS = ("weight", "bias")

_LAYERS = {  # a weight and a bias each
    "visual.ln_pre": f"{_OURS}ln_pre",
    "visual.ln_post": f"{_OURS}ln_post",
    f"{_BLOCK}norm1": f"{_OURS}transformer.resblocks.#.ln_1",
    f"{_BLOCK}norm2": f"{_OURS}transformer.resblocks.#.ln_2",
    f"{_BLOCK}attn.out_proj": f"{_OURS}transformer.resblocks.#.attn.out_proj",
    f"{_BLOCK}mlp.fc1": f"{_OURS}transformer.resblocks.#.mlp.c_fc",
    f"{_BLOCK}mlp.fc2": f"{_OURS}transformer.resblocks.#.mlp.c_proj",
    f"{_BLOCK}cls_proj": "encoder.layers.#.class_projection",
    f"{_BLOCK}summary_ln": "encoder.layers.#.summary_norm",
    f"{_SUMMARY}out_proj": "encoder.layers.#.summary_attention.out_proj",
}
_TENSORS = {
    "logit_scale": "backbone.clip.logit_scale",
    "visual.cls_token": f"{_OURS}class_embedding",
    "visual.pos_embed": f"{_OURS}positional_embedding",
    "visual.patch_embed.proj.weight": f"{_OURS}conv1.weight",
    "visual.proj": f"{_OURS}proj",
    "visual.time_embed": "encoder.time_embedding",
    "visual.global_prompts": "encoder.global_prompts",
    f"{_BLOCK}local_prompts": "encoder.layers.#.local_prompts",
    "prompt_learner.ctx": "context",
}
_QKV = {  # queries, keys and values below each other -> ours
    f"{theirs}in_proj_{kind}": f"{ours}in_proj_{kind}"
    for theirs, ours in {
        f"{_BLOCK}attn.": f"{_OURS}transformer.resblocks.#.attn.",
        _SUMMARY: "encoder.layers.#.summary_attention.",
    }.items()
    for kind in _KINDS
}
_TEXT = {
    f"textual.{name}": ours
    for name, ours in clip_names(lora=False).items()
    if not name.startswith("visual.") and name != "logit_scale"
}

OFFICIAL = OfficialNames(
    prefix="",
    names={
        **{f"{a}.{kind}": f"{b}.{kind}" for a, b in _LAYERS.items() for kind in _KINDS},
        **_TENSORS,
        **_QKV,
        **_TEXT,
    },
    fused={
        f"{theirs}in_proj_{kind}": tuple(f"{theirs}{part}_proj.{kind}" for part in "qkv")
        for theirs in (f"{_BLOCK}attn.", _SUMMARY)
        for kind in _KINDS
    },
    zeros=("visual.patch_embed.proj.bias",),  # CLIP has none
    unused=("prompt_learner.token_prefix", "prompt_learner.token_suffix"),  # of its own classes
    axes={
        "prompt_learner.ctx": (
            2,
            "a context of its own for each training class cannot be scored on unseen classes; "
            "import a checkpoint that was trained with one context for all.",
        )
    },
    towers=("", "visual.", "textual."),
)
