"""ST-CLIP (Huang, Chen, Lai, WACV 2025), assembled.

Legend: S key frames, U pictures, T frames of a window, N patches, B boxes, P persons of a frame,
K labels, d image width, e joint width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from stclip.errors import ConfigError
from stclip.method import Batch, Inputs, Method
from stclip.model.backbone import Backbone, cosine
from stclip.model.context_prompt import ContextPrompting
from stclip.model.person_context import PersonAdapter, TemporalModelling
from stclip.model.st_clip_cost import key_frame_macs
from stclip.model.st_clip_keys import OFFICIAL


class STCLIP(Method):
    """Person-context interaction and context prompting on a CLIP whose image MLPs carry LoRA."""

    official = OFFICIAL
    key_frame_macs = staticmethod(key_frame_macs)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Hyper-parameters; where paper and released code differ see docs/deviations.md."""

        before: int = 4  # frames of the window before the key frame
        after: int = 4
        lora_rank: int = 8  # 0: no LoRA
        lora_alpha: int = 1  # the update is scaled by alpha / rank
        rho: float = 0.2  # initial weight of each prompting layer
        prompt_head_width: int = 64
        prompt_tokens: Literal["all", "context"] = "all"  # all: class token and persons too
        image_residual: bool = True  # add the full frame's CLIP feature to each person
        temperature: float = 0.07
        crop_mode: Literal["center", "squash", "pad", "context"] = "center"
        crop_scale: float = 1.0

    def __init__(self, backbone: Backbone, config: Config) -> None:
        """Add LoRA to the backbone's image MLPs and build the new modules."""
        super().__init__(backbone, config)
        self.config: STCLIP.Config
        width, text_width = backbone.width, backbone.embed_dim
        if text_width % config.prompt_head_width:
            raise ConfigError(
                f"ST-CLIP: prompt_head_width is {config.prompt_head_width}; it must divide the "
                f"backbone's joint width {text_width}."
            )
        self.inputs = Inputs(
            unit="person",
            before=config.before,
            after=config.after,
            crops=True,
            crop_mode=config.crop_mode,
            crop_scale=config.crop_scale,
        )
        if config.lora_rank:
            lora = LoraConfig(
                r=config.lora_rank,
                lora_alpha=config.lora_alpha,
                target_modules=r".*mlp\.(c_fc|c_proj)",
                lora_dropout=0.0,
                bias="none",
            )
            inject_adapter_in_model(lora, backbone.clip.visual.transformer)
        self.adapter = PersonAdapter(width)
        self.temporal = TemporalModelling(
            width, heads=backbone.heads, num_frames=config.before + 1 + config.after
        )
        self.prompting = nn.ModuleList(
            ContextPrompting(
                width, text_width, heads=text_width // config.prompt_head_width, rho=config.rho
            )
            for _ in backbone.blocks
        )

    def forward(self, batch: Batch, text: Float[Tensor, "K e"]) -> Float[Tensor, "B K"]:
        """Cosine similarity over the temperature, a row per box."""
        assert batch.crops is not None
        patches = self.backbone.patches(batch.images)  # (U, N, d), shared by all windows
        context = self.temporal(patches[batch.frames], batch.frame_mask)  # (S, N, d)
        persons = self.backbone.encode(self.backbone.patches(batch.crops))  # (B, d)
        persons = self.adapter(persons)
        counts = batch.box_sample.bincount(minlength=len(batch.key))  # (S,)
        if self.config.image_residual:
            whole = self.backbone.project(self.backbone.encode(patches[batch.key]))  # (S, e)
        else:
            whole = text.new_zeros(len(batch.key), text.shape[1])
        logits = text.new_empty(len(persons), len(text))
        # Frames with equally many persons go together: no padding, no mask.
        for num_people in counts[counts > 0].unique().tolist():
            samples = (counts == num_people).nonzero().flatten()  # (s,)
            rows = torch.isin(batch.box_sample, samples).nonzero().flatten()  # (s * P,)
            grouped = persons[rows].unflatten(0, (len(samples), num_people))  # (s, P, d)
            logits[rows] = self._interact(context[samples], grouped, whole[samples], text).flatten(
                0, 1
            )
        return logits

    def prepare_scoring(self) -> None:
        """Merge LoRA into the weights it adapts."""
        for module in self.backbone.modules():
            if isinstance(module, BaseTunerLayer):
                module.merge()

    def _interact(
        self,
        context: Float[Tensor, "s N d"],
        persons: Float[Tensor, "s P d"],
        whole: Float[Tensor, "s e"],
        text: Float[Tensor, "K e"],
    ) -> Float[Tensor, "s P K"]:
        """The joint pass of frames with equally many persons."""
        num_people = persons.shape[1]
        embedded = self.backbone.embed(context)
        tokens = torch.cat([embedded[:, :1], persons, embedded[:, 1:]], 1)  # (s, 1 + P + N, d)
        prompted = text.expand(len(tokens), -1, -1)  # (s, K, e)
        first = 0 if self.config.prompt_tokens == "all" else 1 + num_people
        for block, prompting in zip(self.backbone.blocks, self.prompting, strict=True):
            tokens = block(tokens)
            prompted = prompting(prompted, tokens[:, first:])
        people = self.backbone.clip.visual.ln_post(tokens[:, 1 : 1 + num_people])
        visual = self.backbone.project(people) + whole[:, None]
        return cosine(visual, prompted, dtype=text.dtype) / self.config.temperature
