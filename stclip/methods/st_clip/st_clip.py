"""ST-CLIP (Huang, Chen, Lai, WACV 2025), assembled.

Shape letters: see `stclip.methods`. s is the number of samples with equally many persons.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor, nn

from stclip.errors import ConfigError
from stclip.inputs.batch import Inputs, PersonBatch, pixels_of
from stclip.methods.clip.backbone import AT_ONCE, Backbone, cosine
from stclip.methods.contract import Explanation, Method
from stclip.methods.layers.lora import add_lora, settle_lora
from stclip.methods.st_clip.context_prompt import ContextPrompting
from stclip.methods.st_clip.cost import key_frame_macs, released_cost
from stclip.methods.st_clip.interest_tokens import attend, most_attended, of_persons
from stclip.methods.st_clip.official_names import OFFICIAL
from stclip.methods.st_clip.person_context import PersonAdapter, TemporalModelling
from stclip.methods.st_clip.st_clip_config import STCLIPConfig


@dataclass(frozen=True)
class Interaction:
    """What comes of s frames with P persons each."""

    logits: Float[Tensor, "s P K"]
    prompted: Float[Tensor, "s texts K e"]  # texts: P where each person has its own, 1 where shared
    interest: Sequence[Integer[Tensor, "s P k"]]  # of each layer with interest tokens, numbers


class STCLIP(Method):
    """Person-context interaction and context prompting on a CLIP whose image MLPs carry LoRA."""

    official = OFFICIAL
    key_frame_macs = staticmethod(key_frame_macs)
    released_cost = staticmethod(released_cost)

    Config = STCLIPConfig

    def __init__(self, backbone: Backbone, config: STCLIPConfig) -> None:
        """Add LoRA to the backbone's image MLPs and build the new modules."""
        super().__init__(backbone, config)
        self.config: STCLIPConfig
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
        )
        add_lora(
            backbone,
            rank=config.lora_rank,
            alpha=config.lora_alpha,
            placement=config.lora_placement,
        )
        self.adapter = PersonAdapter(width, kind=config.adapter)
        self.temporal = TemporalModelling(
            width,
            heads=backbone.heads,
            num_frames=config.before + 1 + config.after,
            layers=config.temporal_layers if config.temporal == "attention" else 0,
        )
        self.prompting = nn.ModuleList(
            ContextPrompting(
                width, text_width, heads=text_width // config.prompt_head_width, rho=config.rho
            )
            for _ in range({"all": len(backbone.blocks), "last": 1, "none": 0}[config.prompting])
        )

    def logits(self, batch: PersonBatch, text: Float[Tensor, "K e"]) -> Float[Tensor, "B K"]:
        """Cosine similarity over the temperature, a row per box."""
        logits = text.new_empty(len(batch.box_sample), len(text))
        for rows, found in self._interactions(batch, text):
            logits[rows] = found.logits.flatten(0, 1)
        return logits

    def explain(self, batch: PersonBatch, text: Float[Tensor, "K e"]) -> Explanation:
        """The prompted label features of each box, and its interest tokens."""
        prompted = text.new_empty(len(batch.box_sample), *text.shape)
        interest: list[list[Integer[Tensor, " k"]]] = [[] for _ in range(len(prompted))]
        for rows, found in self._interactions(batch, text):
            people = found.logits.shape[:2]  # (s, P)
            # Where all share the frame's text, each has it.
            prompted[rows] = found.prompted.expand(*people, -1, -1).flatten(0, 1).to(text.dtype)
            for layer in found.interest:  # (s, P, k)
                for row, numbers in zip(rows.tolist(), layer.flatten(0, 1), strict=True):
                    interest[row].append(numbers)
        return Explanation(prompted, interest)

    def _interactions(
        self, batch: PersonBatch, text: Float[Tensor, "K e"]
    ) -> Iterator[tuple[Integer[Tensor, " rows"], Interaction]]:
        """Boxes of frames with equally many persons, and what comes of them."""
        # (U, N, d), shared by all windows
        patches = self.backbone.patches(pixels_of(batch.pictures))
        persons = self.adapter(self._person_features(pixels_of(batch.crops)))  # (B, d)
        context = self._context(patches, batch)  # (S, N, d)
        if self.config.image_residual:
            keys, which = batch.key.unique(return_inverse=True)
            whole = self.backbone.project(self.backbone.encode(patches[keys]))[which]  # (S, e)
        else:
            whole = text.new_zeros(len(batch.key), text.shape[1])
        counts = batch.box_sample.bincount(minlength=len(batch.key))  # (S,)
        # Frames with equally many persons go together: no padding, no mask.
        for num_people in counts[counts > 0].unique().tolist():
            alike = (counts == num_people).nonzero().flatten()
            for samples in alike.split(max(1, AT_ONCE // num_people)):  # (s,)
                rows = torch.isin(batch.box_sample, samples).nonzero().flatten()  # (s * P,)
                grouped = persons[rows].unflatten(0, (len(samples), num_people))  # (s, P, d)
                yield rows, self._interact(context[samples], grouped, whole[samples], text)

    def prepare_scoring(self) -> None:
        """Merge LoRA into the weights it adapts, or leave it out if the configuration says so."""
        settle_lora(self.backbone, keep=self.config.lora_at_test)

    def _person_features(self, crops: Shaped[Tensor, "B 3 H W"]) -> Float[Tensor, "B d"]:
        """A token for each person, before the adapter."""
        features = []
        for some in crops.split(AT_ONCE):
            patches = self.backbone.patches(some)
            whole_crop = self.config.person_token == "crop"
            features.append(self.backbone.encode(patches) if whole_crop else patches.mean(1))
        return torch.cat(features)

    def _context(
        self, patches: Float[Tensor, "U N d"], batch: PersonBatch
    ) -> Float[Tensor, "S N d"]:
        """The mixed patches of each sample's window; equal windows are mixed once.

        The first key frames of a clip share one window, and so do the last.
        """
        if self.config.temporal == "key":
            return patches[batch.key]
        windows = torch.cat([batch.frames, batch.frame_mask.long()], 1)  # (S, 2 T)
        windows, which = windows.unique(dim=0, return_inverse=True)
        frames, mask = windows.chunk(2, 1)
        mixed = [
            self.temporal(patches[some], counts)
            for some, counts in zip(frames.split(AT_ONCE), mask.bool().split(AT_ONCE), strict=True)
        ]
        return torch.cat(mixed)[which]

    def _interact(
        self,
        context: Float[Tensor, "s N d"],
        persons: Float[Tensor, "s P d"],
        whole: Float[Tensor, "s e"],
        text: Float[Tensor, "K e"],
    ) -> Interaction:
        """Context, persons and texts together through all blocks; all frames have P persons."""
        num_people = persons.shape[1]
        embedded = self.backbone.embed(context)
        tokens = torch.cat([embedded[:, :1], persons, embedded[:, 1:]], 1)  # (s, 1 + P + N, d)
        first = 0 if self.config.prompt_tokens == "all" else 1 + num_people
        spotting = self.config.interest_tokens > 0
        # With interest tokens every person has a text of its own, otherwise all share the frame's.
        texts = num_people if spotting else 1
        prompted = text.expand(len(tokens), texts, -1, -1)  # (s, P or 1, K, e)
        unprompted = len(self.backbone.blocks) - len(self.prompting)
        interest = []
        for number, block in enumerate(self.backbone.blocks):
            prompting = self.prompting[number - unprompted] if number >= unprompted else None
            if prompting and spotting:
                tokens, rows = attend(block, tokens, num_people)
                chosen = most_attended(rows[..., first:], self.config.interest_tokens) + first
                seen = of_persons(tokens, chosen)  # (s, P, k, d)
                interest.append(chosen)
            else:
                tokens = block(tokens)
                seen = tokens[:, None, first:]  # (s, 1, n, d)
            if prompting:
                flat = prompting(prompted.flatten(0, 1), seen.flatten(0, 1))
                prompted = flat.unflatten(0, (len(tokens), texts))
        people = self.backbone.clip.visual.ln_post(tokens[:, 1 : 1 + num_people])
        visual = self.backbone.project(people) + whole[:, None]  # (s, P, e)
        if spotting:
            similarity = cosine(visual[:, :, None], prompted, dtype=text.dtype)[:, :, 0]
        else:
            similarity = cosine(visual, prompted[:, 0], dtype=text.dtype)
        return Interaction(similarity / self.config.temperature, prompted, interest)
