"""Reads and writes .safetensors files: the only place that opens them.

Our own files carry a seal, which is checked before anything else is read; somebody else's may have
none. torch is imported only by who asks for its tensors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from stclip.errors import DataError
from stclip.storage.files import whole_file
from stclip.storage.seal import SEAL, check_seal, sealed

if TYPE_CHECKING:
    from torch import Tensor


def read_tensors(path: Path, *, stage: str) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    """The tensors, on the CPU, and the metadata of a file that `stage` writes.

    Raises:
        DataError: missing or damaged.
    """
    return _read(path, "pt", stage=stage)


def read_arrays(path: Path, *, stage: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """As `read_tensors`, but numpy's arrays."""
    return _read(path, "np", stage=stage)


def read_foreign_tensors(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a file that may be somebody else's; a seal is checked if there is one.

    Raises:
        DataError: missing, damaged, or no safetensors.
    """
    return _read(path, "pt", stage=None)[0]


def read_metadata(path: Path, *, stage: str) -> dict[str, str]:
    """What the file says of itself; as `read_tensors`, whose seal covers it too."""
    return _read(path, "np", stage=stage, tensors=False)[1]


def _read(
    path: Path, framework: Literal["np", "pt"], *, stage: str | None, tensors: bool = True
) -> tuple[dict[str, Any], dict[str, str]]:
    """`stage`: the one that writes the file; None if it may be somebody else's."""
    try:
        check_seal(path.read_bytes(), path, foreign=stage is None)
        with safe_open(path, framework) as file:
            names = file.keys() if tensors else ()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        advice = "check the path" if stage is None else f"run the {stage} stage"
        raise DataError(f"{path}: no such file; {advice}.") from None
    except SafetensorError as error:
        raise DataError(f"{path}: damaged, or no safetensors ({error}); get it again.") from None


def write_tensors(
    path: Path, tensors: Mapping[str, "Tensor"] | Mapping[str, np.ndarray], **metadata: str
) -> None:
    """Write a sealed file, whole or not at all; the same tensors give the same bytes."""
    content = sealed_tensors(tensors, **metadata)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def write_unsealed(path: Path, tensors: Mapping[str, "Tensor"]) -> None:
    """Write a file as somebody else would publish it, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(_serialize(tensors))


def sealed_tensors(
    tensors: Mapping[str, "Tensor"] | Mapping[str, np.ndarray], **metadata: str
) -> bytes:
    """The bytes of a file with metadata and a seal.

    The library's own writer puts several metadata in an order that changes from call to call.
    """
    content = _serialize(tensors)
    start = 8 + int.from_bytes(content[:8], "little")
    header = {"__metadata__": {**metadata, **SEAL}, **json.loads(content[8:start])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return sealed(len(text).to_bytes(8, "little") + text + content[start:])


def _serialize(tensors: Mapping[str, Any]) -> bytes:
    if all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
        from safetensors import numpy

        return numpy.save(dict(tensors))
    from safetensors import torch

    return torch.save(dict(tensors))
