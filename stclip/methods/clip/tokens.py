"""Tokenizers: CLIP's own, or that of transformers which a model's configuration names.

A text is a start token, its tokens, an end token, and padding. Where the end is depends on the
model: the largest id (`argmax`), as in CLIP's own vocabulary, or the id `eos_id`.
"""

from collections.abc import Mapping
from typing import Any

import open_clip
from jaxtyping import Integer
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer
from torch import Tensor

from stclip.errors import ConfigError


def make_tokenizer(text: Mapping[str, Any], *, where: str) -> Any:
    """The tokenizer of a text tower, by its `text_cfg`.

    One of transformers is read from a folder, or from the hub and its cache.

    Raises:
        ConfigError: it cannot be had.
    """
    name, own = text.get("hf_tokenizer_name"), dict(text.get("tokenizer_kwargs") or {})
    context = text.get("context_length", DEFAULT_CONTEXT_LENGTH)
    try:
        if not name:
            return SimpleTokenizer(context_length=context, **own)
        return HFTokenizer(
            name, context_length=context, tokenizer_mode=text.get("tokenizer_mode"), **own
        )
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        raise ConfigError(
            f"backbone {where}: its tokenizer {name or own} cannot be had: {str(error)[:300]}. "
            "Fetch it where there is a network, or save it in a folder and name that as "
            "text_cfg.hf_tokenizer_name of a model config."
        ) from None


def check_tokenizer(tokenizer: Any, clip: open_clip.CLIP, *, where: str) -> None:
    """Texts must begin and end where the text tower reads them.

    Raises:
        ConfigError: they do not, or there are tokens that the tower has no embedding of.
    """
    own = tokenizer.vocab_size if is_clips(tokenizer) else len(tokenizer.tokenizer)
    if own > clip.vocab_size:
        raise ConfigError(
            f"backbone {where}: the tokenizer has {own} tokens, text_cfg.vocab_size is "
            f"{clip.vocab_size}."
        )
    ids = tokenizer(["a", "b"], context_length=clip.context_length)
    ends = end_positions(ids, clip)
    for row, end in zip(ids.tolist(), ends.tolist(), strict=True):
        last = max(i for i in range(len(row)) if i == 0 or row[i] != row[-1])  # before padding
        if end not in (last, last + 1):  # some pad with the end token
            raise ConfigError(
                f"backbone {where}: the text tower is read at position {end} of {row[: last + 2]}, "
                f"where no text ends (text_cfg.pool_type {clip.text_pool_type}"
                f"{f', eos_id {clip.text_eos_id}' if clip.text_pool_type == 'eos' else ''}); "
                "it does not fit the tokenizer."
            )
    if ids[0, 0] != ids[1, 0]:
        raise ConfigError(
            f"backbone {where}: the tokenizer puts no start token before a text, and learned "
            "prompts need its place."
        )


def is_clips(tokenizer: Any) -> bool:
    """Whether it is CLIP's own, not one of transformers'."""
    return not hasattr(tokenizer, "tokenizer")


def bare_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text without start and end, however many."""
    if is_clips(tokenizer):
        found: list[int] = tokenizer.encode(text)
    else:
        found = tokenizer.tokenizer(tokenizer.clean_fn(text))["input_ids"][1:-1]
    return found


def decoded(tokenizer: Any, token: int) -> str:
    """A token as text."""
    word: str = (tokenizer if is_clips(tokenizer) else tokenizer.tokenizer).decode([token])
    return word


def end_positions(ids: Integer[Tensor, "K context"], clip: open_clip.CLIP) -> Integer[Tensor, " K"]:
    """Where each text ends: there the text tower is read."""
    if clip.text_pool_type == "eos":
        return (ids == clip.text_eos_id).int().argmax(-1)
    return ids.argmax(-1)
