"""iCLIP's interaction: persons that attend to one another, to objects, to their surroundings.

A unit attends to a fixed number of slots. Empty slots are rows of zeros and take part in the
softmax (as released), so that the fewer slots are filled, the less these count.

Formula: a person x attends to all slots s of its frame, of a memory those of all steps j:

    q = W_q x + b_q,  k = W_k s + b_k + pos_k[j],  v = W_v s + b_v + pos_v[j]
    attend(x) = sum over slots of softmax(q k / sqrt(e)) v

`Unit.attend` computes it by four identities:

- q (W_k s) = (q W_k) s and a (W_v s) = W_v (a s): both projections go to the persons' side. A frame
  has 60 steps of memory and a few persons.
- b_k adds the same to all scores of a person, which the softmax drops. The parameter is kept, as
  official checkpoints have it, but nothing reads it.
- The weights of a person sum to 1, so b_v is added once, after the sum.
- The empty slots of a step are equal: one of them is computed, and counted as often as there are.

Shape letters: see `stclip.methods`; P the most persons of a frame, L slots that may hold something,
z kinds of empty slots: 1, or one for each step of the memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F

STD = 0.01  # of the initial projections of queries, keys and values


def ranks(sample: Integer[Tensor, " B"]) -> Integer[Tensor, " B"]:
    """The place of each row among those of its sample, from 0; `sample` never decreases."""
    return torch.arange(len(sample), device=sample.device) - torch.searchsorted(sample, sample)


class Grouping:
    """Rows of many frames, in one piece or frame by frame."""

    def __init__(self, sample: Integer[Tensor, " B"], num_frames: int) -> None:
        """`sample`: the frame of each row, never decreasing."""
        counts = torch.bincount(sample, minlength=num_frames)
        most = int(counts.max())
        self.shape = (num_frames, most)
        self.sample = sample
        self.place = sample * most + ranks(sample)
        self.filled = torch.arange(most, device=sample.device) < counts[:, None]  # (S, P)

    def group(self, rows: Float[Tensor, "B c"]) -> Float[Tensor, "S P c"]:
        """A block for each frame; zeros behind a frame's rows."""
        empty = rows.new_zeros(self.shape[0] * self.shape[1], rows.shape[1])
        return empty.index_copy(0, self.place, rows).unflatten(0, self.shape)

    def ungroup(self, blocks: Float[Tensor, "S P c"]) -> Float[Tensor, "B c"]:
        """The rows that `group` put into blocks."""
        return blocks.flatten(0, 1)[self.place]


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What the persons of each frame attend to."""

    contents: Float[Tensor, "S L e"]
    filled: Bool[Tensor, "S L"]
    empty: Integer[Tensor, "S z"]  # how many slots hold nothing
    active: Bool[Tensor, " S"] | None  # False: the unit changes nobody of this frame; None: all do

    @classmethod
    def of(
        cls,
        contents: Float[Tensor, "S L e"],
        filled: Bool[Tensor, "S L"],
        *,
        total: int,
        by_step: bool = False,
        masked: bool,
        active: Bool[Tensor, " S"] | None = None,
    ) -> "Slots":
        """Count the empty slots.

        Args:
            contents: whatever stands where `filled` is False is not read.
            filled: which slots hold something.
            total: slots of a frame, or `by_step` of each step, of which one may hold something.
            by_step: whether the slots are those of a memory.
            masked: nobody attends to empty slots; where all are empty the unit does nothing.
            active: frames in which the unit does something; None: all of them.
        """
        empty = total - (filled.long() if by_step else filled.sum(-1, keepdim=True))
        if masked:
            active = filled.any(-1)
            # a frame without any slot attends to nothing, whose result is not used
            empty = torch.zeros_like(empty) + (~active)[:, None]
        return cls(contents=contents, filled=filled, empty=empty, active=active)


class Unit(nn.Module):
    """One head of attention to slots, a norm without weights, ReLU, projection, residual."""

    def __init__(self, width: int, *, steps: int = 0, dropout: float = 0.0) -> None:
        """`steps`: of a memory, whose slots have learned positions. The unit begins as identity."""
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.query, self.key, self.value):
            nn.init.normal_(layer.weight, std=STD)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        if steps:
            self.pos_k = nn.Parameter(torch.zeros(steps, width))
            self.pos_v = nn.Parameter(torch.zeros(steps, width))
        self.dropout = nn.Dropout(dropout)
        self.has_positions = steps > 0

    def forward(
        self, persons: Float[Tensor, "B e"], slots: Slots, grouping: Grouping
    ) -> Float[Tensor, "B e"]:
        """X + W_o relu(norm(attend(x))) for each person x."""
        drawn = F.relu(F.layer_norm(self.attend(persons, slots, grouping), persons.shape[-1:]))
        update = self.dropout(self.out(drawn))
        if slots.active is not None:
            update = update * slots.active[grouping.sample][:, None]
        return persons + update

    def attend(
        self, persons: Float[Tensor, "B e"], slots: Slots, grouping: Grouping
    ) -> Float[Tensor, "B e"]:
        """The weighted sum of the values, by the identities of the module's docstring.

        It equals the formula there: `tests/parity/test_fast_forms.py`,
        `test_attention_to_slots_by_identities`.
        """
        num, scale = slots.contents.shape[1], persons.shape[-1] ** -0.5
        q = self.query(persons)
        towards = grouping.group(q @ self.key.weight)  # (S, P, e)
        scores = towards @ slots.contents.transpose(1, 2)  # (S, P, L)
        nothing = scores.new_zeros(*scores.shape[:2], slots.empty.shape[1])  # (S, P, z)
        if self.has_positions:
            nothing = grouping.group(q @ self.pos_k.T)  # L = z = M
            scores = scores + nothing
        times = torch.cat([slots.filled.long(), slots.empty], 1)[:, None]  # (S, 1, L + z)
        weights = (
            torch.cat([scores, nothing], -1) * scale + times.to(persons.dtype).log()
        ).softmax(-1)
        drawn = self.value(grouping.ungroup(weights[..., :num] @ slots.contents))
        if self.has_positions:
            by_step = weights[..., :num] + weights[..., num:]  # (S, P, M)
            drawn = drawn + grouping.ungroup(by_step) @ self.pos_v
        return drawn


class Interaction(nn.Module):
    """The units one after the other; persons attend to persons as the units before left them."""

    def __init__(
        self,
        width: int,
        *,
        units: str,
        steps: int,
        person_slots: int,
        mask_padding: bool,
        dropout: float,
    ) -> None:
        """Build the units.

        Args:
            width: e.
            units: a letter each, in order: P persons, and keys of `forward`'s `slots`.
            steps: M, of the units M.
            person_slots: how many persons of a frame can be attended to; the first ones are.
            mask_padding: nobody attends to empty slots.
            dropout: of what a unit adds.
        """
        super().__init__()
        self.person_slots = person_slots
        self.mask_padding = mask_padding
        names = [f"{letter}{units[:i].count(letter) + 1}" for i, letter in enumerate(units)]
        self.units = nn.ModuleDict(
            {name: Unit(width, steps=steps * (name[0] == "M"), dropout=dropout) for name in names}
        )

    def forward(
        self, persons: Float[Tensor, "B e"], slots: Mapping[str, Slots], grouping: Grouping
    ) -> Float[Tensor, "B e"]:
        """The persons of each frame after all units; `slots`: what those do not change."""
        for name, unit in self.units.items():
            letter = name[0]
            found = self.of_persons(persons, grouping) if letter == "P" else slots[letter]
            persons = unit(persons, found, grouping)
        return persons

    def of_persons(self, persons: Float[Tensor, "B e"], grouping: Grouping) -> Slots:
        """The persons of each frame; those beyond the slots attend but are not attended to."""
        most = self.person_slots
        return Slots.of(
            grouping.group(persons)[:, :most], grouping.filled[:, :most], total=most,
            masked=self.mask_padding,
        )  # fmt: skip
