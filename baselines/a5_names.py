"""The names in checkpoints of A5's official training code, and ours."""

from stclip.checkpoints.official import CLIP_BLOCK, OfficialNames, clip_names

_TEMPORAL = "temporalModelling."

OFFICIAL = OfficialNames(
    prefix="",
    names={
        **{f"clipmodel.{theirs}": ours for theirs, ours in clip_names(lora=False).items()},
        "embedding.weight": "prompts",
        "temporalEmbedding.weight": "temporal.positions",
        **{f"{_TEMPORAL}resblocks.#.{part}": f"temporal.blocks.#.{part}" for part in CLIP_BLOCK},
    },
    towers=("", "clipmodel.visual.", "clipmodel.transformer.", _TEMPORAL),
)
