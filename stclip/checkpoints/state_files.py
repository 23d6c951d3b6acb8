"""Files of weights, told by what is in them, whatever they are called.

Read are safetensors, what torch.save writes (.pt, .pth, .bin, .ckpt) and TorchScript archives, as
OpenAI's are. Nothing is unpickled but tensors and plain values. Anything else is named.
"""

import json
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stclip.errors import DataError
from stclip.storage.tensors import read_foreign_tensors

# Training codes save their settings beside the weights: plain values in a dictionary of yacs'.
SETTINGS: list[Any] = [(OrderedDict, "yacs.config.CfgNode")]
KNOWN = "safetensors, torch.save's (.pt, .pth, .bin, .ckpt) and TorchScript are read"
PICKLE = b"\x80"  # torch.save's before version 1.6
HEAD = 512  # bytes that tell what a file is
LONGEST_HEADER = 100_000_000  # bytes, of safetensors


def read_tensors_of(path: Path) -> Any:
    """What a file of weights holds: a state dict, or plain containers around one.

    Raises:
        DataError: missing, damaged, or something else, which is named.
    """
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.is_file())[:8]
        raise DataError(f"{path}: a folder; name the file of weights in it, one of {inside}?")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER:
        return read_foreign_tensors(path)
    inside = _names_in(path)
    if any(name.endswith("/constants.pkl") for name in inside):
        return _read_torchscript(path)
    if any(name.endswith("/data.pkl") for name in inside) or head.startswith(PICKLE):
        return _read_saved(path)
    if inside:
        kind = "arrays of numpy's" if inside[0].endswith(".npy") else "an archive"
        raise DataError(f"{path}: {kind}, {inside[:4]}; {KNOWN}.")
    raise DataError(f"{path}: {_named(path, head)}; {KNOWN}.")


def state_inside(found: Any, keys: tuple[str, ...], *, where: Path) -> dict[str, Tensor]:
    """The state dicts under `keys` together; without any, what was found itself.

    Raises:
        DataError: there is no state dict, or one with NaN.
    """
    if isinstance(found, dict):
        inside = [found[key] for key in keys if isinstance(found.get(key), dict)]
        if inside:
            found = {name: tensor for part in inside for name, tensor in part.items()}
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        kind = sorted(map(str, found))[:8] if isinstance(found, dict) else type(found).__name__
        raise DataError(
            f"{where}: holds no state dict, neither itself nor under {list(keys)}; it has {kind}."
        )
    check_numbers(found, where=where)
    return found


def check_numbers(state: Mapping[str, Tensor], *, where: Path) -> None:
    """Refuse NaN: scores of such weights are NaN, or silently wrong.

    Raises:
        DataError: names of the tensors.
    """
    floats = {name: t for name, t in state.items() if t.is_floating_point()}
    bad = [
        n for n, t in floats.items() if bool((t.float() if t.itemsize == 1 else t).isnan().any())
    ]
    if bad:
        raise DataError(
            f"{where}: {len(bad)} of {len(state)} tensors hold NaN: {bad[:5]}; the training that "
            "wrote it diverged, or the file is damaged. Take another."
        )


def _names_in(path: Path) -> list[str]:
    """Of a zip archive; none of anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return []


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # OpenAI's files stay what they are
            found: dict[str, Tensor] = torch.jit.load(path, map_location="cpu").state_dict()
    except Exception as error:  # TorchScript has errors of its own
        raise DataError(f"{path}: a damaged TorchScript archive ({_line(error)}).") from None
    return found


def _read_saved(path: Path) -> Any:
    with torch.serialization.safe_globals(SETTINGS):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch has many
            objects = _objects_in(path)
            why = f"it has {objects}" if objects else _line(error)
    raise DataError(
        f"{path}: not a checkpoint of tensors and plain values ({why}); nothing else is read, as "
        "it could run code. Get it again if it is damaged; where you trust it, save its state dict "
        "alone, torch.save(model.state_dict(), ...)."
    )


def _objects_in(path: Path) -> list[str]:
    """The classes and functions that unpickling would call for."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))[:8]
    except Exception:  # of the old form, or damaged
        return []


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def _named(path: Path, head: bytes) -> str:
    start = head.lstrip().lower()
    if not head:
        return "empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not the file that was asked for"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file (git lfs pull)"
    if start.startswith((b"{", b"[")):
        return _named_json(path)
    if head.startswith(b"\x93NUMPY"):
        return "an array of numpy's"
    if head.startswith(b"\x89HDF"):
        return "HDF5, of Keras"
    if head.startswith(b"PK"):
        return "the beginning of an archive: the download broke off"
    return f"no weights that are known (it begins with {head[:8]!r})"


def _named_json(path: Path) -> str:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError:
        return "text in the form of JSON"
    if isinstance(content, dict) and isinstance(content.get("weight_map"), dict):
        parts = sorted(set(map(str, content["weight_map"].values())))
        return f"an index of weights in {len(parts)} parts, {parts[:3]}; join them to one file"
    return "JSON, perhaps the configuration beside the weights"
