"""Checkpoint files with official names and containers, of a small CLIP that is called ViT-B-16.

The names come from the tables of the parity tests, not from those that the import uses.
"""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from conftest import ROOT
from iclip_world import official_weights as iclip_weights
from safetensors.torch import save_file
from small_clip import shaken
from test_a5 import official_name as a5_name
from test_actionclip import official_name as actionclip_name
from test_iclip_import import whole as whole_iclip
from test_interop import official as st_clip_weights
from test_vitaclip_interop import official as vitaclip_weights
from torch import Tensor
from viclip_world import official_weights as viclip_weights
from xclip_world import official_weights as xclip_weights

from stclip.methods.build import OPENAI, Built, build

LABELS = ["clap", "sit", "wave"]
SMALL = {  # pictures and texts of ViT-B/16's sizes, little in between
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "patch_size": 56, "head_width": 32},
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1,
    },
}  # fmt: skip
PARAMS: dict[str, dict[str, Any]] = {  # that the official checkpoints are trained with
    "a5": {"layers": 1},
    "xclip": {"prompt_layers": 2},
}
FILES = {
    "st_clip": "model_0003000.pth", "iclip": "model_final.pth", "actionclip": "model_best.pt",
    "a5": "HMDB_best.pth.tar", "xclip": "k400_16_8.pth", "vitaclip": "checkpoint-1000.pth",
    "viclip": "model.safetensors",
}  # fmt: skip


def name_small_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default backbone is the small CLIP until the test ends."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, OPENAI, SMALL)


def source(method: str, *, seed: int = 3, **params: Any) -> Built:
    """A model with random weights, none at a value that hides it."""
    torch.manual_seed(seed)
    built = build(
        method, labels=LABELS, config=ROOT / "config", **{**PARAMS.get(method, {}), **params}
    )
    own = built.method
    kept = {n: p.detach().clone() for n, p in own.named_parameters() if n == "temperature"}
    shaken(own)
    own.load_state_dict(kept, strict=False)
    return built


def official(built: Built) -> dict[str, Tensor]:
    """The model under its official names, as a checkpoint's state dicts hold it together."""
    own: Any = built.method
    name, state = type(own).__name__, own.state_dict()
    if name == "STCLIP":
        return st_clip_weights(built, parallel=True)
    if name == "VitaCLIP":
        return vitaclip_weights(own, parallel=True)
    if name == "ICLIP":
        return whole_iclip(iclip_weights(own))
    if name == "A5":
        return {a5_name(n): t for n, t in state.items()}
    if name == "XCLIP":
        return {n: t.detach() for n, t in xclip_weights(own).items()}
    if name == "ViCLIP":
        found = {n: t.detach().contiguous() for n, t in viclip_weights(own).items()}
        text = "text_encoder.positional_embedding"
        return found | {text: found[text][:32].clone()}
    found = {actionclip_name(n): t for n, t in state.items()}
    table = "module.frame_position_embeddings.weight"
    return found | {table: torch.cat([found[table], torch.randn(69, found[table].shape[1])])}


def write(method: str, built: Built, folder: Path) -> Path:
    """A checkpoint as the official training code of a method saves it."""
    path, weights = folder / FILES[method], official(built)
    if method == "viclip":
        save_file(weights, path)
        return path
    content: dict[str, Any] = {"optimizer": {"state": {}}, "iteration": 7}
    if method == "actionclip":
        head = {n for n in weights if n.startswith("module.")}
        content["fusion_model_state_dict"] = {n: weights[n] for n in head}
        content["model_state_dict"] = {n: t for n, t in weights.items() if n not in head}
    else:
        content["state_dict" if method == "a5" else "model"] = weights
    torch.save(content, path)
    return path
