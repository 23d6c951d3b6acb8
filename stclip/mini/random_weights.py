"""Files of random weights in the forms in which the real ones are published, at their true size.

Who reads them cannot tell them from real ones but by their numbers: OpenAI's TorchScript archive in
half precision, ViCLIP's two towers, torchvision's state dict.
"""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from pydantic import NonNegativeInt
from torch import Tensor, nn

from stclip.config.target import call_target
from stclip.storage.files import whole_file
from stclip.storage.tensors import write_unsealed

logger = logging.getLogger(__name__)
CONTEXT, FRAMES = 32, 8  # positions of ViCLIP's text tower, and of its video tower over time
TEMPERATURE = 0.01
PERSON, THINGS = (
    1,
    (62, 64, 67),
)  # COCO's numbers of what is found: persons, and chairs, plants, tables
SPREAD = 1.5  # of the scores' logits over boxes
NEVER, BACKGROUND = -9.0, 0.5  # logits of the other labels
PICTURE = (240, 320)  # that the spread is measured on


def openai_clip(out: Path, *, model: str, seed: NonNegativeInt) -> None:
    """A TorchScript archive as OpenAI publishes its CLIPs; `model`: open_clip's name of it."""
    clip = _clip(model, seed)
    state = {
        name: t.half() if t.is_floating_point() else t for name, t in clip.state_dict().items()
    }
    state |= {  # as sizes of the model stand in the archive too
        "input_resolution": torch.tensor(
            open_clip.get_model_config(model)["vision_cfg"]["image_size"]
        ),
        "context_length": torch.tensor(len(state["positional_embedding"])),
        "vocab_size": torch.tensor(len(state["token_embedding.weight"])),
    }
    with whole_file(out) as path, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it is the form of OpenAI's files
        torch.jit.script(_holding(state)).save(str(path))
    _tell(out, state)


def viclip(out: Path, *, model: str, seed: NonNegativeInt) -> None:
    """A safetensors file as ViCLIP is published; `model`: open_clip's CLIP that it begins with."""
    clip = _clip(model, seed)
    state: dict[str, Tensor] = {}
    for name, tensor in clip.state_dict().items():
        tower = "vision_encoder." if name.startswith("visual.") else "text_encoder."
        state[tower + name.removeprefix("visual.")] = tensor
    del state["text_encoder.logit_scale"]
    positions = state["text_encoder.positional_embedding"]
    state["text_encoder.positional_embedding"] = positions[:CONTEXT].clone()
    kernel = state["vision_encoder.conv1.weight"]
    state["vision_encoder.conv1.weight"] = kernel.unsqueeze(2)
    state["vision_encoder.temporal_positional_embedding"] = torch.zeros(1, FRAMES, len(kernel))
    state["temp"] = torch.tensor(TEMPERATURE)
    write_unsealed(out, state)
    _tell(out, state)


def torchvision_detector(
    out: Path, *, builder: str, arguments: Mapping[str, Any], seed: NonNegativeInt
) -> None:
    """A state dict of torchvision's Faster R-CNN that finds persons and things somewhere.

    Untrained heads give all boxes of a picture the same scores. So the last layer's weights are
    drawn for a few labels, and scaled and shifted until their logits differ from box to box, as
    measured on one picture of noise.

    Args:
        out: file to write.
        builder: `module:function(**arguments)` that builds the model.
        arguments: of the builder.
        seed: of everything random.
    """
    torch.manual_seed(seed)
    model = call_target(builder, params=arguments, where=f"weights {out.name}").eval()
    last = model.roi_heads.box_predictor.cls_score
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    noise = np.random.default_rng(seed).random((3, *PICTURE), np.float32)
    with torch.inference_mode():
        model([torch.from_numpy(noise)])
    hook.remove()
    (features,) = seen
    with torch.no_grad():
        last.bias.fill_(NEVER)
        last.bias[0] = BACKGROUND
        last.weight.zero_()
        for label in (PERSON, *THINGS):
            row = torch.randn(last.in_features)
            logits = features.clone() @ row
            last.weight[label] = row * SPREAD / logits.std()
            last.bias[label] = -SPREAD * logits.mean() / logits.std()
    with whole_file(out) as path:
        torch.save(model.state_dict(), path)
    _tell(out, model.state_dict())


def _clip(model: str, seed: int) -> open_clip.CLIP:
    torch.manual_seed(seed)
    return open_clip.CLIP(**open_clip.get_model_config(model))


def _holding(state: Mapping[str, Tensor]) -> nn.Module:
    """A module that computes nothing and has these tensors under these names."""
    root = nn.Module()
    for name, tensor in state.items():
        *path, leaf = name.split(".")
        at = root
        for part in path:
            if part not in dict(at.named_children()):
                at.add_module(part, nn.Module())
            at = at.get_submodule(part)
        at.register_buffer(leaf, tensor)
    return root


def _tell(out: Path, state: Mapping[str, Tensor]) -> None:
    size = out.stat().st_size / 1e6
    logger.info("random weights: %s, %d tensors, %.0f MB", out.name, len(state), size)
