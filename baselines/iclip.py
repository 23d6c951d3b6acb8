"""iCLIP (Huang et al., ICCV workshop 2023, arXiv 2304.04688): persons and what they interact with.

CLIP is frozen. Its features of the persons, the objects they touch, the key frame and the frames
around it go through eight residual attentions ("POHM" twice: persons, objects, the surroundings
called H, memory). A person's result, averaged with the frame's feature, prompts the label texts and
is compared with them. Only vectors are computed with, so all pictures can be encoded once.

Shape letters: see `stclip.methods`.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from baselines.iclip_config import ICLIPConfig
from baselines.iclip_interaction import Grouping, Interaction, Slots, ranks
from baselines.iclip_names import OFFICIAL
from stclip.errors import ConfigError
from stclip.inputs.batch import Inputs, Objects, PersonBatch
from stclip.methods.clip.backbone import Backbone, cosine
from stclip.methods.contract import Method, ParameterGroup
from stclip.methods.layers.prompting import CrossAttention, PromptingBlock
from stclip.methods.layers.temporal_transformer import heads_of


class ICLIP(Method):
    """Four types of interaction and Interaction-Aware Prompting on CLIP's features."""

    official = OFFICIAL
    takes_features = True

    Config = ICLIPConfig

    def __init__(self, backbone: Backbone, config: ICLIPConfig) -> None:
        """Build units and prompting; CLIP stays as it is."""
        super().__init__(backbone, config)
        self.config: ICLIPConfig
        has_memory = "M" in config.units
        self.inputs = Inputs(
            unit="person",
            crops=True,
            objects="O" in config.units,
            memory=(config.before, config.after) if has_memory else (0, 0),
            memory_every=config.memory_every,
            memory_pool=config.memory_pool if has_memory else "full",
        )
        width = backbone.embed_dim
        self.interaction = Interaction(
            width, units=config.units, steps=config.before + config.after,
            person_slots=config.person_slots, mask_padding=config.mask_padding,
            dropout=config.dropout,
        )  # fmt: skip
        if config.prompt_layers:
            self.prompting = InteractionPrompting(
                width, layers=config.prompt_layers, alpha=config.alpha
            )

    def parameter_groups(self) -> list[ParameterGroup]:
        """As released: units at ten times the rate, biases at twice theirs and without decay."""
        if not self.config.lr_groups:
            return super().parameter_groups()
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, p in self.named_parameters():
            if p.requires_grad:
                kind = (name.startswith("interaction."), name.endswith("bias"))
                groups.setdefault(kind, []).append(p)
        return [
            ParameterGroup(
                parameters,
                lr_factor=(10.0 if is_unit else 1.0) * (2.0 if is_bias else 1.0),
                weight_decay=0.0 if is_bias else None,
            )
            for (is_unit, is_bias), parameters in groups.items()
        ]

    def logits(self, batch: PersonBatch, text: Float[Tensor, "K e"]) -> Float[Tensor, "B K"]:
        """Cosine over temperature; every person has their own texts."""
        x = self.persons(batch)
        if self.config.prompt_layers:
            prompted = self.prompting(text, x)  # (B, K, e)
            similarity = cosine(x[:, None], prompted, dtype=text.dtype)[:, 0]
        else:
            similarity = cosine(x, text, dtype=text.dtype)
        return similarity / self.config.temperature

    def persons(self, batch: PersonBatch) -> Float[Tensor, "B e"]:
        """Each person after the interaction, averaged with the whole frame."""
        frames = self.image_features(batch.pictures)  # (U, e)
        context = frames[batch.key]  # (S, e)
        grouping = Grouping(batch.box_sample, len(context))
        slots = {}
        for letter in set(self.config.units) - {"P"}:
            if letter == "O":
                slots[letter] = self._object_slots(batch, grouping)
            elif letter == "M":
                slots[letter] = self._memory_slots(batch, frames)
            else:
                slots[letter] = self._context_slots(context)
        persons = self.interaction(self.image_features(batch.crops), slots, grouping)
        return (persons + context[batch.box_sample]) / 2

    def _context_slots(self, context: Float[Tensor, "S e"]) -> Slots:
        return Slots.of(
            context[:, None], torch.ones_like(context[:, :1], dtype=torch.bool),
            total=self.config.context_slots, masked=self.config.mask_padding,
        )  # fmt: skip

    def _memory_slots(self, batch: PersonBatch, frames: Float[Tensor, "U e"]) -> Slots:
        steps = self.config.before + self.config.after
        if batch.memory.shape[1] != steps:
            raise ConfigError(
                f"ICLIP reads {steps} frames around the key frame (batch.memory), "
                f"{batch.memory.shape[1]} are given; give them, or leave M out of params.units."
            )
        return Slots.of(
            frames[batch.memory], batch.memory_mask, total=self.config.memory_slots, by_step=True,
            masked=self.config.mask_padding,
        )  # fmt: skip

    def _object_slots(self, batch: PersonBatch, grouping: Grouping) -> Slots:
        """The chosen objects of each frame; only these are encoded."""
        chosen = batch.objects.take(self._choose(batch.objects, batch.boxes, grouping))
        features = self.image_features(chosen.pictures)
        of_frame = Grouping(chosen.sample, grouping.shape[0])
        active = None
        if self.config.skip_objects == "frame":
            active = of_frame.filled.any(-1)
        elif self.config.skip_objects == "batch":
            active = of_frame.filled.any().expand(grouping.shape[0])
        return Slots.of(
            of_frame.group(features), of_frame.filled, total=self.config.object_slots,
            masked=self.config.mask_padding, active=active,
        )  # fmt: skip

    def _choose(
        self, objects: Objects, boxes: Float[Tensor, "B 4"], grouping: Grouping
    ) -> Integer[Tensor, " chosen"]:
        """Rows of the objects that somebody of their frame touches, so many a frame at most."""
        rows = touching(objects, boxes, grouping).nonzero()[:, 0]
        sample = objects.sample[rows]
        if self.config.object_pick == "random":
            rows = rows[(sample + self._lots(sample)).argsort()]
            sample = objects.sample[rows]
        return rows[ranks(sample) < self.config.object_slots]

    def _lots(self, sample: Integer[Tensor, " some"]) -> Float[Tensor, " some"]:
        """A number 0 .. 1 for each object: chance in training, the same every time in scoring.

        There it belongs to the place by score, so that no other frame of the batch moves it.
        """
        if self.training:
            return torch.rand(len(sample), device=sample.device, dtype=torch.float64)
        places = ranks(sample)
        most = 1 + int(places.max()) if len(places) else 0
        drawn = np.random.default_rng(0).random(most)
        return torch.from_numpy(drawn).to(sample.device)[places]


def touching(
    objects: Objects, boxes: Float[Tensor, "B 4"], grouping: Grouping
) -> Bool[Tensor, " O"]:
    """Whether an object's box overlaps or touches that of a person of its frame, as both are cut.

    Corners are rounded to whole pixels first; boxes that share an edge or a corner touch.
    """
    there = grouping.filled[objects.sample]  # (O, P)
    persons = grouping.group(boxes.round())[objects.sample]  # (O, P, 4)
    things = objects.boxes.round()[:, None]  # (O, 1, 4)
    begin = torch.maximum(things[..., :2], persons[..., :2])
    end = torch.minimum(things[..., 2:], persons[..., 2:])
    return ((begin <= end).all(-1) & there).any(-1)


class InteractionPrompting(nn.Module):
    """Lets each label's text attend to the person, and adds the result; texts differ by person."""

    def __init__(self, width: int, *, layers: int, alpha: float) -> None:
        """`alpha`: initial value of the learned per-channel weight."""
        super().__init__()
        self.norm_visual = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            PromptingBlock(width, heads=heads_of(width)) for _ in range(layers)
        )
        self.alpha = nn.Parameter(torch.full((width,), alpha))

    def forward(
        self, text: Float[Tensor, "K e"], persons: Float[Tensor, "B e"]
    ) -> Float[Tensor, "B K e"]:
        """The texts of each person; neither side is normalised here."""
        visual = self.norm_visual(persons)
        updated = text.expand(len(visual), -1, -1)
        for layer in self.layers:
            assert isinstance(layer, PromptingBlock)
            updated = update_by_one_token(layer, updated, visual)
        return text + self.alpha * updated  # which holds the text once more, by its residuals


def update_by_one_token(
    layer: PromptingBlock, text: Float[Tensor, "B K e"], visual: Float[Tensor, "B e"]
) -> Float[Tensor, "B K e"]:
    """`layer.update(text, visual[:, None])`: every text attends to a single token.

    The softmax over one key is 1 whatever the queries are, so all labels get the same value. Norm,
    queries and keys of the texts change nothing; their parameters are kept for official checkpoints
    alone. It equals `update`: `tests/parity/test_fast_forms.py`, `test_prompting_by_one_token`.
    """
    attention: CrossAttention = layer.attention
    updated = text + attention.proj(attention.v_proj(visual))[:, None]
    return updated + layer.mlp(layer.norm_mlp(updated))
