"""All that `official_st_clip.py` assumes of a clone of the official ST-CLIP repository.

Nothing of that code is part of this project: it is imported from the clone, whose licence is
non-commercial, and only its names and signatures are known here. It is not changed; where it
expects a GPU, downloaded weights or a picture on the disk it gets what stands in for them.

P persons, K labels, e joint width.
"""

import importlib
import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

COMMIT = "6bc4cfd"  # what was read and measured
WHERE = f"git clone https://github.com/webber2933/ST-CLIP, and there git checkout {COMMIT}"
ROOT = Path("ZS_JHMDB/ST-CLIP")  # of the clone: where its programs are started
MODULE = Path("STCLIP/modeling/roi_heads/action_head/text_feature_gen.py")
NEEDED = (MODULE, Path("STCLIP/modeling/registry.py"), Path("clip/clip.py"), Path("clip/model.py"))
CLASS = "CLIPencoder"  # nearly the whole model; the rest is a product, in `Official.logits`
BUILT_WITH = ["cfg", "actionlist", "actiondict", "actiontoken", "device"]
CALLED_WITH = ["image_paths", "proposals"]
PREFIX = "roi_heads.action.text_feature_generator."  # of its tensors in a checkpoint
TEMPERATURE = 0.07


class CloneError(Exception):
    """The folder is no such clone, or one of another commit."""


class Proposals:
    """The boxes of a frame, as far as the official forward looks at them."""

    def __init__(self, boxes_xyxy: Tensor) -> None:
        self.bbox = boxes_xyxy

    def __len__(self) -> int:
        """How many persons."""
        return len(self.bbox)


class Official:
    """The official model, built from a clone."""

    def __init__(
        self, clone: Path, labels: Sequence[str], clip_file: Path, *, device: torch.device
    ) -> None:
        """Import and build it.

        Args:
            clone: folder of the repository.
            labels: class names, as they are tokenized.
            clip_file: a CLIP's tensors under OpenAI's names, in place of a download.
            device: where it computes.

        Raises:
            CloneError: the folder is no such clone, or the code looks otherwise than expected.
        """
        self.commit = commit_of(clone)
        self.module, self.device = import_module(clone), device
        made = getattr(self.module, CLASS, None)
        if made is None:
            raise CloneError(f"{MODULE} has no class {CLASS}. Take the known commit: {WHERE}")
        _check_takes(made.__init__, BUILT_WITH)
        _check_takes(made.forward, CALLED_WITH)
        load = self.module.clip.load
        here = partial(_load_file, load, clip_file)
        with patch.object(self.module.clip, "load", here):
            model: nn.Module = made(None, list(labels), None, None, device)
        # Without dropout or batch norm, and with LoRA beside the weights, whatever its library
        # takes for merged.
        self.model = model.to(device).train()

    def checkpoint(self) -> dict[str, Any]:
        """Its tensors as its training writes them."""
        tensors = self.model.state_dict().items()
        return {"model": {PREFIX + name: tensor.cpu() for name, tensor in tensors}}

    def logits(self, paths: Sequence[Path], boxes: Sequence[Tensor]) -> Float[Tensor, "rows K"]:
        """A row for each box of some frames; `paths` are those of their pictures.

        Raises:
            CloneError: the forward gives something else than expected.
        """
        with on_cpu() if self.device.type == "cpu" else _nothing():
            found = self.model([str(p) for p in paths], [Proposals(b) for b in boxes])
        try:
            text, visual = found  # (rows, K, e), (rows, e)
            similarity = F.normalize(text, dim=-1) @ F.normalize(visual, dim=-1)[..., None]
            return similarity[..., 0] / TEMPERATURE
        except (TypeError, ValueError, RuntimeError) as error:
            raise CloneError(
                f"{CLASS}.forward gives {_shapes(found)}; expected are text features (rows, K, e) "
                f"and visual ones (rows, e) ({error}). Take the known commit: {WHERE}"
            ) from None

    @contextmanager
    def decoded_beforehand(self, pictures: Mapping[str, Image.Image]) -> Iterator[None]:
        """Within it the official code opens these pictures, by path, instead of decoding files."""
        with patch.object(self.module, "Image", SimpleNamespace(open=lambda path: pictures[path])):
            yield


def import_module(clone: Path) -> ModuleType:
    """The module with the model, and with it the clone's own `clip`.

    It is imported by its path: the packages above it would import what needs a CUDA compiler.

    Raises:
        CloneError: files are missing, or what they import.
    """
    root = (clone / ROOT).absolute()
    missing = [str(ROOT / path) for path in NEEDED if not (root / path).is_file()]
    if missing:
        raise CloneError(f"{clone} is no clone of ST-CLIP, {missing} are missing there: {WHERE}")
    sys.path.insert(0, str(root))
    name = ".".join(MODULE.with_suffix("").parts)
    spec = importlib.util.spec_from_file_location(name, root / MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise CloneError(
            f"{clone}: the official code imports what is not here ({error}). Install it beside the "
            "project (its requirements.txt names it), as: pip install loralib ftfy regex einops"
        ) from None
    for attribute in ("clip", "Image"):
        if not hasattr(module, attribute):
            raise CloneError(f"{MODULE} imports no {attribute!r}. Take the known commit: {WHERE}")
    file = Path(str(module.clip.__file__)).absolute()
    if not file.is_relative_to(root):
        raise CloneError(
            f"the official code got {file} as its `clip`, expected {root / 'clip/clip.py'}. Take "
            "an environment without a package of that name."
        )
    return module


def commit_of(clone: Path) -> str:
    """The first digits of the clone's commit; "unknown" outside a repository."""
    command = ["git", "-C", str(clone), "rev-parse", "--short=7", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


@contextmanager
def on_cpu() -> Iterator[None]:
    """Within it `.cuda()` leaves a tensor where it is: the official forward calls it always."""
    with patch.object(torch.Tensor, "cuda", lambda tensor, *_, **__: tensor):
        yield


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _load_file(load: Callable[..., Any], file: Path, name: str, **keywords: Any) -> Any:
    """CLIP from a file, whatever name is asked for."""
    return load(str(file), **keywords)


def _check_takes(function: Callable[..., Any], expected: Sequence[str]) -> None:
    found = [name for name in inspect.signature(function).parameters if name != "self"]
    if found != list(expected):
        raise CloneError(
            f"{function.__qualname__} takes {found}, expected {list(expected)}. Take the known "
            f"commit: {WHERE}"
        )


def _shapes(found: Any) -> str:
    parts = found if isinstance(found, tuple | list) else [found]
    return str([tuple(p.shape) if isinstance(p, Tensor) else type(p).__name__ for p in parts])
