"""Prompts of learned vectors around a class name, the same for all names.

Shape letters: see `stclip.methods`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from stclip.errors import ConfigError
from stclip.methods.clip.backbone import Backbone


class PromptedNames(NamedTuple):
    """Token embeddings of [start] learned name learned [end], with gaps for learned vectors."""

    embedded: Float[Tensor, "K n w"]  # CLIP's token embeddings; 0 where a vector is learned
    learned: Bool[Tensor, "K n"]
    eot: Integer[Tensor, " K"]  # position of the end; n is the largest plus 1

    def filled(self, rows: Float[Tensor, "n w"]) -> Float[Tensor, "K n w"]:
        """Row i of `rows` in position i wherever a vector is learned."""
        rows = rows[: self.embedded.shape[1]].to(self.embedded.dtype)
        return torch.where(self.learned[..., None], rows, self.embedded)


def place_names(
    backbone: Backbone, labels: Sequence[str], *, before: int, after: int = 0, suffix: str = ""
) -> PromptedNames:
    """Names with places for `before` learned vectors in front of them and `after` behind.

    Args:
        backbone: whose tokenizer and token embeddings are used.
        labels: the names as the text tower reads them.
        before: learned vectors between start token and name.
        after: learned vectors between name and end token.
        suffix: text behind the name, part of it.

    Raises:
        ConfigError: a name leaves no room in the context, has no tokens or is given twice.
    """
    context = backbone.clip.context_length
    ids = backbone.tokenize([label + suffix for label in labels])  # (K, context)
    ends = backbone.ends(ids)
    lengths = ends - 1  # without start and end
    room = context - 2 - before - after
    for label, length in zip(labels, lengths.tolist(), strict=True):
        if length > room:
            raise ConfigError(
                f"label {label!r} has {length} tokens{f' with {suffix!r}' if suffix else ''}; "
                f"{before + after} learned vectors leave room for {room} of the text tower's "
                f"{context}. Shorten the name or learn fewer vectors."
            )
    eot = lengths + before + after + 1  # (K,)
    num_positions = int(eot.max()) + 1
    position = torch.arange(num_positions)  # (n,)
    named = (position > before) & (position <= before + lengths[:, None])  # (K, n)
    at_end = position == eot[:, None]
    learned = (position > 0) & (position < eot[:, None]) & ~named
    tokens = torch.zeros(len(labels), num_positions, dtype=ids.dtype)
    tokens[:, 0] = ids[:, 0]
    tokens[at_end] = ids.gather(1, ends[:, None])[:, 0]
    for row, (of_label, length) in enumerate(zip(ids, lengths.tolist(), strict=True)):
        tokens[row, before + 1 : before + 1 + length] = of_label[1 : 1 + length]
    device = backbone.mean.device
    with torch.no_grad():
        embedded = backbone.clip.token_embedding(tokens.to(device))
    learned = learned.to(device)
    return PromptedNames(embedded.masked_fill(learned[..., None], 0), learned, eot.to(device))
