"""Official weights for a method: our names, our lengths, and nothing missing.

`import-checkpoint` and `stclip.load_official` both go through `official_state`.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from stclip.checkpoints.official import read_official, rename
from stclip.config.clip_tags import QUICK
from stclip.errors import ConfigError, DataError
from stclip.methods.contract import Method

logger = logging.getLogger(__name__)
TEXT_POSITIONS = "backbone.clip.positional_embedding"


def official_state(
    method: Method, file: Path | str, *, name: str, backbone: str, pretrained: str | None
) -> dict[str, Tensor]:
    """A checkpoint of the authors' as a whole state dict of `method`.

    Where the file holds what was trained and no CLIP, the frozen CLIP stays the method's own, and
    the log says so. A text tower with fewer positions shortens the method's.

    Args:
        method: of the size of the checkpoint.
        file: as the authors' code saves it.
        name: of the method, for messages.
        backbone: the model of the method's CLIP, for messages.
        pretrained: the weights of it, for messages; None: they are random.

    Raises:
        ConfigError: the method has no official checkpoints, or they are of a CLIP with another
            activation. DataError: the file is no such checkpoint, or of another size.
    """
    official = method.official
    if official is None:
        raise ConfigError(f"method {name!r} has no official checkpoints to import.")
    if method.backbone.quick_gelu != official.quick_gelu:
        needed = "QuickGELU, as OpenAI's CLIP" if official.quick_gelu else "GELU"
        raise ConfigError(
            f"{file}: checkpoints of {name} are of a CLIP with {needed}; the backbone {backbone} "
            "has the other activation. Name one with it, as "
            f"ViT-B-16{QUICK if official.quick_gelu else ''}."
        )
    frozen = frozen_clip(method)
    state = read_official(file, official.content)
    try:
        state = rename(official, state, method=name, frozen=frozen)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    is_whole = not state.keys().isdisjoint(frozen)
    state = adjusted(method, state)
    ours = method.state_dict()
    if not is_whole:
        level = logging.WARNING if pretrained is None else logging.INFO
        logger.log(
            level, "%s: holds no CLIP; the %d frozen tensors stay those of %s (%s)",
            file, len(frozen), backbone,
            "random: give `pretrained`" if pretrained is None else pretrained,
        )  # fmt: skip
        state |= {tensor: ours[tensor] for tensor in frozen}
    wrong = {
        tensor: f"{_shape(state, tensor)}, expected {_shape(ours, tensor)}"
        for tensor in sorted(ours.keys() | state.keys())
        if _shape(ours, tensor) != _shape(state, tensor)
    }
    if wrong:
        first, shapes = next(iter(wrong.items()))
        raise DataError(
            f"{file}: does not fit {name} on {backbone}: {len(wrong)} tensors are missing, unknown "
            f"or of another shape: {list(wrong)[:5]}; {first} is {shapes}. Another backbone or "
            "params? Give those that the checkpoint was trained with."
        )
    return state


def frozen_clip(method: Method) -> set[str]:
    """The tensors of CLIP that training leaves as they are."""
    trained = method.saved_parameters().keys()
    return {n for n in method.state_dict() if n.startswith("backbone.") and n not in trained}


def adjusted(method: Method, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official tensors under our names, in our lengths; what theirs lack by design stays ours.

    Where the text tower may be shorter there, the method's is cut to its length.
    """
    official = method.official
    if official is None:
        return dict(state)
    if official.short_text and TEXT_POSITIONS in state:
        positions, ours = state[TEXT_POSITIONS], method.backbone.clip.positional_embedding
        if len(positions) < len(ours) and positions.shape[1:] == ours.shape[1:]:
            method.backbone.shorten_context(len(positions))
    own = method.state_dict()
    tables = {n: state[n][: len(own[n])] for n in official.tables if n in state and n in own}
    return {name: own[name] for name in official.kept} | {**state, **tables}


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(state[name].shape)) if name in state else "not there"
