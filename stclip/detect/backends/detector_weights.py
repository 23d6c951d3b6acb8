"""Reads a detector's weights, whoever published them, into a model that they must fit exactly."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stclip.checkpoints.state_files import read_tensors_of
from stclip.errors import DataError
from stclip.storage.outside_files import content_of
from stclip.storage.restricted_pickle import load_pickle

SHOWN = 3  # names of tensors in a message


def load_weights(
    model: nn.Module, path: Path, *, what: str, ignored: tuple[str, ...] = (), upgrade: bool = True
) -> dict[str, Tensor]:
    """Load a file into a model: every tensor of the model, in its shape, and no other.

    Args:
        model: changed in place.
        path: .safetensors; .pkl, a pickle of arrays as detectron2 publishes; else torch's own
            format (.pth). Names and tensors may stand under the key `model`, beside other things.
        what: names the model in messages.
        ignored: parts of names; a tensor with one of them need not be in the file, and is not
            loaded.
        upgrade: let the model's modules take a file without their versions for an old one, whose
            tensors torchvision's rename. detectron2's would fill in what is missing.

    Returns:
        The file's tensors that were ignored.

    Raises:
        DataError: missing or damaged, or the weights of another model.
    """
    content = read_weights(path)
    left_out = {n: t for n, t in content.items() if any(part in n for part in ignored)}
    state = OrderedDict((n, t) for n, t in content.items() if n not in left_out)
    own = model.state_dict()
    versions = getattr(content, "_metadata", None if upgrade else getattr(own, "_metadata", None))
    if versions is not None:
        state._metadata = versions  # type: ignore[attr-defined]
    shapes = [
        f"{name} {tuple(tensor.shape)} in place of {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and tensor.shape != own[name].shape
    ]
    faults = {"of another shape": shapes}
    if not shapes:
        try:
            result = model.load_state_dict(state, strict=False)  # what it lists is told below
        except RuntimeError as error:  # of a tensor that a module has renamed
            raise DataError(f"{path}: not the weights of {what}: {error}") from None
        missing = [n for n in result.missing_keys if not any(part in n for part in ignored)]
        faults = {"missing": missing, "unexpected": result.unexpected_keys}
    told = [_told(names, kind, len(own)) for kind, names in faults.items() if names]
    if told:
        raise DataError(
            f"{path}: not the weights of {what}: {'; '.join(told)}. Give the file of this model, "
            "or change the detector's settings to the model of this file."
        )
    return left_out


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file by name, on the CPU; as `load_weights` reads it.

    Raises:
        DataError: missing, damaged, or no tensors by name.
    """
    pickled = path.suffix == ".pkl"
    content = load_pickle(content_of(path), path) if pickled else read_tensors_of(path)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]  # of a training: beside it optimiser, iteration, author
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{path}: expected tensors by name, found {type(content).__name__}.")
    if pickled:
        content = {name: _as_tensor(value) for name, value in content.items()}
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise DataError(f"{path}: expected tensors by name; {name!r} is none.")
    return content


def _as_tensor(value: Any) -> Tensor | None:
    """An array of numbers, in this machine's byte order; None if it is anything else."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        return None
    return torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))


def _told(names: Sequence[str], kind: str, total: int) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} tensors {kind}, of {total} ({', '.join(names[:SHOWN])}{more})"
