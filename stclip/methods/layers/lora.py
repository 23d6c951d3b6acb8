"""LoRA on the image tower: which layers carry it, and how scoring merges it or leaves it out.

Shape letters: r rank, o rows and i columns of a weight.
"""

from typing import Any

import torch
from jaxtyping import Float
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from stclip.config import LoraPlacement
from stclip.methods.clip.backbone import Backbone

_MLP_LAYERS = {"mlp": "(c_fc|c_proj)", "all": "(c_fc|c_proj)", "c_fc": "c_fc", "c_proj": "c_proj"}


class LowRank(nn.Module):
    """W + (alpha / r) B A, for weights that are no linear layer's own.

    peft adapts attention by writing the sum into the frozen weight and subtracting it again in
    every step; the rounding of that moves the frozen weight, which no checkpoint holds.
    """

    def __init__(self, weight: Float[Tensor, "o i"], *, rank: int, alpha: int) -> None:
        """A as peft draws it, B zero."""
        super().__init__()
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.lora_B = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)

    def forward(self, weight: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
        """The adapted weight."""
        return torch.addmm(weight, self.lora_B, self.lora_A, alpha=self.scale)


def add_lora(backbone: Backbone, *, rank: int, alpha: int, placement: LoraPlacement) -> None:
    """Adapt the image tower's blocks: layers of their MLPs, their attention (in and out), or all.

    The update is scaled by alpha / rank; rank 0 adds nothing.
    """
    if not rank:
        return
    if placement in _MLP_LAYERS:
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=r".*mlp\." + _MLP_LAYERS[placement],
            lora_dropout=0.0,
            bias="none",
        )
        inject_adapter_in_model(config, backbone.clip.visual.transformer)
    if placement in ("attention", "all"):
        for module, name in _attention_weights(backbone):
            weight = getattr(module, name)
            low_rank = LowRank(weight, rank=rank, alpha=alpha)
            parametrize.register_parametrization(module, name, low_rank)


def settle_lora(backbone: Backbone, *, keep: bool) -> None:
    """Merge LoRA into the weights it adapts, or leave it out."""
    for module in backbone.modules():
        if isinstance(module, BaseTunerLayer):
            if keep:
                module.merge()
            else:
                module.enable_adapters(False)
    for module, name in _attention_weights(backbone):
        if parametrize.is_parametrized(module, name):
            parametrize.remove_parametrizations(module, name, leave_parametrized=keep)
            getattr(module, name).requires_grad_(False)


def _attention_weights(backbone: Backbone) -> list[tuple[nn.Module, str]]:
    attentions: list[Any] = [block.attn for block in backbone.blocks]
    into = [(attention, "in_proj_weight") for attention in attentions]
    return into + [(attention.out_proj, "weight") for attention in attentions]
