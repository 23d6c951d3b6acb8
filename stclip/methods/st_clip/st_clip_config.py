"""ST-CLIP's own settings. Light: no torch here."""

from typing import Literal

from pydantic import Field, model_validator

from stclip.config import LoraPlacement, Params


class STCLIPConfig(Params):
    """Hyper-parameters; where paper and released code differ see docs/deviations.md."""

    before: int = Field(default=4, ge=0)
    """frames of the window before the key frame"""
    after: int = Field(default=4, ge=0)
    """and behind it"""
    lora_rank: int = Field(default=8, ge=0)
    """rank of LoRA in the image tower; 0: no LoRA"""
    lora_alpha: int = Field(default=1, ge=1)
    """the update is scaled by alpha / rank"""
    lora_placement: LoraPlacement = "mlp"
    """layers of every image block that carry it; `mlp`: both layers of the MLP"""
    lora_at_test: bool = True
    """false: scored without LoRA, as loralib 0.1.2 did unasked"""
    temporal: Literal["attention", "average", "key"] = "attention"
    """how the frames of the window are mixed; `key`: the key frame alone"""
    temporal_layers: int = Field(default=1, ge=1)
    """of that attention"""
    person_token: Literal["crop", "patches"] = "crop"
    """a person is the encoded crop, or its mean patch"""
    adapter: Literal["mlp", "linear", "none"] = "mlp"
    """layers on a person's token before the interaction: two, one or none"""
    prompting: Literal["all", "last", "none"] = "all"
    """after which image blocks the text is prompted"""
    interest_tokens: int = Field(default=0, ge=0)
    """tokens that prompt, per person, by attention; 0: all tokens do (no spotting)"""
    rho: float = 0.2
    """initial weight of each prompting layer"""
    prompt_head_width: int = Field(default=64, ge=1)
    """channels of a head of the prompting; divides the width of the texts"""
    prompt_tokens: Literal["all", "context"] = "all"
    """`all`: class token and persons prompt too"""
    image_residual: bool = True
    """add the full frame's CLIP feature to each person"""
    temperature: float = Field(default=0.07, gt=0)
    """cosines are divided by it"""

    @model_validator(mode="after")
    def _no_setting_of_what_is_not_there(self) -> "STCLIPConfig":
        if self.temporal_layers > 1 and self.temporal != "attention":
            raise ValueError(
                f"temporal_layers is {self.temporal_layers}; temporal {self.temporal} has no "
                "layers, only attention has"
            )
        if self.interest_tokens and self.prompting == "none":
            raise ValueError(
                f"interest_tokens is {self.interest_tokens}; with prompting none no token prompts"
            )
        return self
