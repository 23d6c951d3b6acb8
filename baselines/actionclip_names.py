"""The names in checkpoints of ActionCLIP's official training code, and ours.

Such a file holds a fine-tuned CLIP under OpenAI's names and, saved from a parallel wrapper, the
transformer over frames.
"""

from stclip.checkpoints.official import CLIP_BLOCK, OfficialNames, clip_names

_HEAD = "module.transformer."

OFFICIAL = OfficialNames(
    prefix="",
    names={
        **clip_names(lora=False),
        "module.frame_position_embeddings.weight": "temporal.positions",
        **{f"{_HEAD}resblocks.#.{part}": f"temporal.blocks.#.{part}" for part in CLIP_BLOCK},
    },
    towers=("", "visual.", "transformer.", _HEAD),
    part="module.",  # the head; who saves it alone may have unwrapped it
    content=("model_state_dict", "fusion_model_state_dict", "model", "state_dict"),
    tables=("temporal.positions",),  # 77 rows there, of which as many as frames are read
)
