"""The names in ViCLIP's published weights, and ours."""

from stclip.checkpoints.official import OfficialNames, clip_names
from stclip.methods.clip.weights import (
    TEMPERATURE,
    TEMPORAL_POSITIONS,
    TEXT_TOWER,
    VIDEO_TOWER,
)

_TEMPORAL = f"{VIDEO_TOWER}{TEMPORAL_POSITIONS}"
_CLIP = {
    VIDEO_TOWER + name.removeprefix("visual.")
    if name.startswith("visual.")
    else TEXT_TOWER + name: ours
    for name, ours in clip_names(lora=False).items()
    if name != "logit_scale"
}

OFFICIAL = OfficialNames(
    prefix="",
    names={**_CLIP, _TEMPORAL: "encoder.temporal", TEMPERATURE: "temperature"},
    towers=("", VIDEO_TOWER, TEXT_TOWER),
    squeezed={_TEMPORAL: (0,), f"{VIDEO_TOWER}conv1.weight": (2,)},  # a kernel one frame long
    tables=("encoder.temporal",),  # fewer frames: the first rows
    short_text=True,  # 32 of CLIP's 77
    kept=("backbone.clip.logit_scale",),  # `temp` stands in its place
    advice=(
        "ViCLIP's weights were made with ImageNet's mean and standard deviation, and no persons "
        "were trained on: a run of them scores without any fine-tuning."
    ),
)
