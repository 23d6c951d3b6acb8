"""Files of CLIP weights, brought to the names of open_clip's CLIP.

Three forms are known: a state dict of those names, perhaps with the rows of some tokens alone
(.safetensors); OpenAI's TorchScript archive (.pt); a video tower and a text tower side by side, as
ViCLIP publishes them (.safetensors, .pth).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from stclip.checkpoints.official import read_official, unwrapped
from stclip.errors import DataError
from stclip.storage.listings import check_listed
from stclip.storage.tensors import read_foreign_tensors

VIDEO_TOWER, TEXT_TOWER = "vision_encoder.", "text_encoder."
TEMPORAL_POSITIONS = "temporal_positional_embedding"  # (1, T, d), of the patches of T frames
TEMPERATURE = "temp"  # cosines are divided by it


@dataclass(frozen=True)
class ClipWeights:
    """What a file holds."""

    state: dict[str, Tensor]  # by open_clip's names, float32
    extra: dict[str, Tensor] = field(default_factory=dict)  # what CLIP does not have
    context_length: int | None = None  # of the text tower, where it may be another than the model's


def read_clip_weights(path: Path) -> ClipWeights:
    """Read a file of any of the forms.

    Raises:
        DataError: missing or damaged, or a tower's tensors are not what they must be.
    """
    if not path.exists():
        raise DataError(f"{path}: CLIP weights are missing; the download stage fetches them.")
    check_listed(path)
    if path.suffix == ".pth":
        state = read_official(path)
    elif path.suffix == ".safetensors":
        state = read_foreign_tensors(path)
    else:  # OpenAI's archive is TorchScript; its checksum was verified on download
        try:
            state = torch.jit.load(path, map_location="cpu").state_dict()
        except Exception as error:  # TorchScript has errors of its own
            raise DataError(
                f"{path}: cannot read CLIP weights ({error}); fetch them anew."
            ) from None
        for size in ("input_resolution", "context_length", "vocab_size"):
            state.pop(size, None)
    state = unwrapped(state)
    state = {key: t.float() if t.is_floating_point() else t for key, t in state.items()}
    if any(name.startswith(VIDEO_TOWER) for name in state):
        return _of_two_towers(state, where=path)
    return ClipWeights(state)


def _of_two_towers(found: Mapping[str, Tensor], *, where: Path) -> ClipWeights:
    """A CLIP of a video and a text tower; names that are neither's stay, for the loader to refuse.

    The kernel of the patches is one frame long. The text tower may have fewer positions than CLIP.
    """
    state = {
        name.replace(VIDEO_TOWER, "visual.", 1)
        if name.startswith(VIDEO_TOWER)
        else name.removeprefix(TEXT_TOWER): tensor
        for name, tensor in found.items()
    }
    needed = {
        f"{VIDEO_TOWER}{TEMPORAL_POSITIONS}": state.pop(f"visual.{TEMPORAL_POSITIONS}", None),
        f"{TEXT_TOWER}positional_embedding": state.get("positional_embedding"),
        f"{VIDEO_TOWER}class_embedding": state.get("visual.class_embedding"),
        TEMPERATURE: state.pop(TEMPERATURE, None),
    }
    missing = [name for name, tensor in needed.items() if tensor is None]
    if missing:
        raise DataError(f"{where}: not the weights of a video CLIP: {missing} are missing.")
    temporal, text, cls, temperature = (t for t in needed.values() if t is not None)
    if temporal.ndim != 3 or len(temporal) != 1 or temporal.shape[2:] != cls.shape:
        raise DataError(
            f"{where}: {VIDEO_TOWER}{TEMPORAL_POSITIONS} has shape {tuple(temporal.shape)}; it "
            f"must be (1, frames, {len(cls)})."
        )
    if temperature.numel() != 1 or not temperature.item() > 0:
        raise DataError(f"{where}: {TEMPERATURE} is {temperature.tolist()}; it must be above 0.")
    kernel = state.get("visual.conv1.weight")
    if kernel is not None and kernel.ndim == 5 and kernel.shape[2] == 1:
        state["visual.conv1.weight"] = kernel.squeeze(2)
    state["logit_scale"] = -temperature.reshape(()).log()
    extra = {TEMPORAL_POSITIONS: temporal, TEMPERATURE: temperature.reshape(())}
    return ClipWeights(state, extra, context_length=len(text))


def scatter_tokens(
    state: dict[str, Tensor], *, vocabulary: int
) -> tuple[dict[str, Tensor], set[int] | None]:
    """Spread the shipped token rows (`token_ids`) over the whole vocabulary; others stay zero."""
    ids = state.pop("token_ids", None)
    if ids is None:
        return state, None
    rows = state["token_embedding.weight"]
    table = rows.new_zeros(vocabulary, rows.shape[1])
    table[ids.long()] = rows
    return state | {"token_embedding.weight": table}, set(ids.tolist())
