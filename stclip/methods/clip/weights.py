"""Files of CLIP weights, brought to the names of open_clip's CLIP.

Known are state dicts under open_clip's names (OpenAI's archive, open_clip's `epoch_N.pt` and hub
files; perhaps with the rows of some tokens alone), under those of transformers, and a video tower
and a text tower side by side, as ViCLIP publishes them. A wrapper's beginning of all names
(`module.`, `model.`, `clip.`) is dropped.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stclip.checkpoints.state_files import read_tensors_of, state_inside
from stclip.config.clip_models import read_model_config
from stclip.errors import DataError
from stclip.methods.clip.hugging_face import from_hugging_face, is_hugging_face
from stclip.storage.listings import check_listed

INSIDE = ("state_dict", "model_state_dict", "model", "module")  # where training codes put weights
SIZES = {"input_resolution", "context_length", "vocab_size"}  # of OpenAI's archives
CUSTOM_TEXT = "text."  # before the text tower's names in open_clip's CustomTextCLIP
VIDEO_TOWER, TEXT_TOWER = "vision_encoder.", "text_encoder."
TEMPORAL_POSITIONS = "temporal_positional_embedding"  # (1, T, d), of the patches of T frames
TEMPERATURE = "temp"  # cosines are divided by it
TOKENS = "token_ids"  # whose embeddings a file has
NO_SUCH_CLIP = {  # beginnings of names -> whose they are
    "visual.trunk.": "an image tower of timm's",
    "visual.layer1.": "a ResNet",
    "visual.attn_pool": "attention pooling",
    "text_decoder.": "a decoder of captions (CoCa)",
    "transformer.embeddings.": "a text tower of transformers'",
    "vision_model.head.": "a SigLIP",
    "logit_bias": "a logit bias (SigLIP)",
    "image_encoder.": "a MobileCLIP",
}


@dataclass(frozen=True)
class ClipWeights:
    """What a file holds."""

    state: dict[str, Tensor]  # by open_clip's names, float32
    extra: dict[str, Tensor] = field(default_factory=dict)  # what CLIP does not have
    context_length: int | None = None  # of the text tower, where it may be another than the model's
    quick_gelu: bool | None = None  # the activation they were trained with; None: nothing says it
    says: str = ""  # who says it


def read_clip_weights(path: Path) -> ClipWeights:
    """Read a file of any of the forms; which one is told by its content.

    Raises:
        DataError: missing, damaged, with NaN, or a tower's tensors are not what they must be.
    """
    if not path.exists():
        raise DataError(f"{path}: CLIP weights are missing; the download stage fetches them.")
    if path.is_file():
        check_listed(path)
    found = read_tensors_of(path)
    holds = [key for key in INSIDE if isinstance(found, dict) and isinstance(found.get(key), dict)]
    state = without_wrappers(state_inside(found, tuple(holds[:1]) or INSIDE, where=path))
    openai = not SIZES.isdisjoint(state)
    state = {name: tensor for name, tensor in state.items() if name not in SIZES}
    quick_gelu, says = (True, "OpenAI's archive") if openai else _activation_beside(path, state)
    if is_hugging_face(state):
        state = from_hugging_face(state)
    if any(name.startswith(f"{CUSTOM_TEXT}token_embedding.") for name in state):
        state = {name.removeprefix(CUSTOM_TEXT): tensor for name, tensor in state.items()}
    state = _as_floats(state, where=path)
    if any(name.startswith(VIDEO_TOWER) for name in state):
        return _of_two_towers(state, where=path)
    return ClipWeights(state, quick_gelu=quick_gelu, says=says)


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop what modules that hold the model put before all of its names.

    A CLIP has several parts, so a beginning that all names share is none of its own.

    >>> list(without_wrappers({"module.clip.a.x": torch.ones(1), "module.clip.b": torch.ones(1)}))
    ['a.x', 'b']
    """
    while len({name.partition(".")[0] for name in state}) == 1 and all("." in n for n in state):
        state = {name.partition(".")[2]: tensor for name, tensor in state.items()}
    return dict(state)


def _activation_beside(path: Path, state: Mapping[str, Tensor]) -> tuple[bool | None, str]:
    """Whether the configuration that is published beside weights has QuickGELU, and its name."""
    if is_hugging_face(state):
        beside = path.with_name("config.json")
        if not beside.is_file():
            return None, ""
        return _of_transformers(beside), beside.name
    beside = path.with_name("open_clip_config.json")
    if not beside.is_file():
        return None, ""
    return bool(read_model_config(beside)[0].get("quick_gelu", False)), beside.name


def _of_transformers(config: Path) -> bool | None:
    try:
        content: Any = json.loads(config.read_text("utf-8"))
        towers = (content["text_config"], content["vision_config"])
        acts = {tower.get("hidden_act", "quick_gelu") for tower in towers}
    except (ValueError, KeyError, AttributeError, TypeError):
        return None  # of something else
    if len(acts) != 1 or not acts <= {"quick_gelu", "gelu"}:
        raise DataError(f"{config}: hidden_act is {sorted(acts)}; gelu or quick_gelu, in both.")
    return acts == {"quick_gelu"}


def _as_floats(state: Mapping[str, Tensor], *, where: Path) -> dict[str, Tensor]:
    """Floating-point tensors as float32; others stay, for the loader to refuse.

    Raises:
        DataError: an infinite number.
    """
    found = {n: t.float() if t.is_floating_point() else t for n, t in state.items()}
    infinite = [n for n, t in found.items() if not bool(t.isfinite().all())]
    if infinite:
        raise DataError(f"{where}: {infinite[:5]} hold infinite numbers; take another file.")
    return found


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
    return ClipWeights(
        state, extra, context_length=len(text), quick_gelu=True, says="ViCLIP begins with OpenAI's"
    )


def load_clip_weights(
    clip: torch.nn.Module, weights: ClipWeights, *, vocabulary: int, where: str, model: str
) -> set[int] | None:
    """Load a file's tensors; the tokens that it has embeddings of, None: all.

    Raises:
        DataError: they are of another model.
    """
    state, known = _scatter_tokens(weights.state, vocabulary=vocabulary)
    ours = clip.state_dict()
    if "logit_scale" in state and state["logit_scale"].numel() == 1:
        state["logit_scale"] = state["logit_scale"].reshape(())
    missing, unknown = sorted(ours.keys() - state.keys()), sorted(state.keys() - ours.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)}, expected {tuple(ours[name].shape)}"
        for name in ours
        if name in state and state[name].shape != ours[name].shape
    ]
    wrong = {"missing": missing, "unknown": unknown, "of another shape": shapes}
    if any(wrong.values()):
        kinds = [
            kind
            for start, kind in NO_SUCH_CLIP.items()
            if any(n.startswith(start) for n in unknown)
        ]
        told = f" It has {' and '.join(kinds)}; no such CLIP can be used." if kinds else ""
        raise DataError(
            f"{where}: not the weights of {model}: of {len(ours)} tensors "
            + ", ".join(f"{len(names)} {how} {names[:4]}" for how, names in wrong.items() if names)
            + f".{told}"
        )
    other = [name for name, tensor in state.items() if not tensor.is_floating_point()]
    if other:
        raise DataError(
            f"{where}: {other[:5]} hold {state[other[0]].dtype}, floating point is expected; "
            "quantised weights are not read."
        )
    clip.load_state_dict(state)
    return known


def _scatter_tokens(
    state: Mapping[str, Tensor], *, vocabulary: int
) -> tuple[dict[str, Tensor], set[int] | None]:
    """Spread the shipped token rows (`token_ids`) over the whole vocabulary; others stay zero."""
    rest = {name: tensor for name, tensor in state.items() if name != TOKENS}
    ids = state.get(TOKENS)
    if ids is None or "token_embedding.weight" not in rest:
        return rest, None
    rows = rest["token_embedding.weight"]
    table = rows.new_zeros(vocabulary, rows.shape[1])
    table[ids.long()] = rows
    return rest | {"token_embedding.weight": table}, set(ids.tolist())
