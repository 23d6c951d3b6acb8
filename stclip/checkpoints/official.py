"""Official checkpoints in, our weights out: which tensor of the authors' is which of ours.

A method declares the names of its official checkpoints (`Method.official`); nothing in here knows
any method. In a name `#` stands for a layer's number.
"""

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from stclip.checkpoints.state_files import read_tensors_of, state_inside
from stclip.errors import DataError

logger = logging.getLogger(__name__)
PARALLEL = "module."  # what DistributedDataParallel puts before every name
WRAPPED = "model."  # what a model that holds the model puts there


@dataclass(frozen=True)
class OfficialNames:
    """The names in a method's official checkpoints."""

    prefix: str  # of every name
    names: Mapping[str, str]  # official name without prefix -> our name
    unused: tuple[str, ...] = ()  # official names of tensors that compute nothing here
    ignored: tuple[str, ...] = ()  # beginnings of such names, with or without the prefix
    towers: tuple[str, ...] = ("",)  # beginnings of names; layers of one tower are equally many
    content: tuple[str, ...] = ("model", "state_dict")  # where in a checkpoint state dicts lie
    fused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # one tensor of ours is
    # several official ones, one below the other: a name for it, to be found in `names` -> theirs
    zeros: tuple[str, ...] = ()  # official tensors that we lack, as they must be 0
    axes: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # official tensors of which
    # there are forms that we do not take: name -> how many axes ours has, and why no others
    squeezed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # axes of 1 that
    # official tensors have and ours lack
    part: str = ""  # of the names of a part that is passed around alone, and may have lost it
    advice: str = ""  # what to mind with such checkpoints; logged after an import
    tables: tuple[str, ...] = ()  # of ours; theirs may have more rows, which nothing reads
    short_text: bool = False  # the text tower may have fewer positions there than CLIP's
    quick_gelu: bool = True  # the activation of the CLIP in them, OpenAI's; False: GELU
    kept: tuple[str, ...] = ()  # frozen tensors of ours that theirs lack; import leaves them

    @cached_property
    def patterns(self) -> dict[str, re.Pattern[str]]:
        """A pattern for every official name, used or not."""
        return {
            name: re.compile(re.escape(name).replace(r"\#", r"(\d+)").replace("#", r"(\d+)"))
            for name in (*self.names, *self.unused, *self.zeros)
        }

    def tower_of(self, name: str) -> str:
        """The longest beginning that fits."""
        return max((t for t in self.towers if name.startswith(t)), key=len)


CLIP_BLOCK = (
    *("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"),
    *("attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias"),
    *("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"),
)
CLIP_ENDS = (
    *("visual.class_embedding", "visual.positional_embedding", "visual.conv1.weight"),
    *("visual.ln_pre.weight", "visual.ln_pre.bias", "visual.ln_post.weight", "visual.ln_post.bias"),
    *("visual.proj", "token_embedding.weight", "positional_embedding", "ln_final.weight"),
    *("ln_final.bias", "text_projection", "logit_scale"),
)


def clip_names(*, lora: bool) -> dict[str, str]:
    """OpenAI's names of a CLIP -> ours; `lora`: its image MLPs carry LoRA here."""
    names = {name: f"backbone.clip.{name}" for name in CLIP_ENDS}
    for tower in ("visual.transformer", "transformer"):
        for part in CLIP_BLOCK:
            name = f"{tower}.resblocks.#.{part}"
            ours = name
            if lora and tower == "visual.transformer" and ".c_" in part:
                ours = re.sub(r"(c_fc|c_proj)\.", r"\1.base_layer.", name)
            names[name] = f"backbone.clip.{ours}"
    return names


def rename(
    official: OfficialNames,
    state_dict: Mapping[str, Tensor],
    *,
    method: str,
    frozen: Set[str] = frozenset(),
) -> dict[str, Tensor]:
    """Our names for an official state dict.

    Args:
        official: the names in the method's official checkpoints.
        state_dict: official names, perhaps all with `module.` or `model.` in front, or all without
            the beginning that they have in a whole checkpoint; LoRA un-merged.
        method: for messages.
        frozen: our names of the frozen CLIP, which may be missing as a whole: what is left is the
            part that was trained, as it is passed around alone.

    Returns:
        Our names -> the same tensors as float32; tensors that compute nothing are left out.

    Raises:
        DataError: names that are unknown, or missing; all of them are named. A tensor in a form
            that the method does not take.
    """
    reading = _best_reading(official, state_dict)
    found: dict[str, Tensor] = {}
    unknown, unused, not_zero = [], 0, []
    layers: dict[str, set[int]] = {tower: set() for tower in official.towers}
    for name, tensor in reading.items():
        if _is_ignored(official, name):
            unused += 1
            continue
        match = _match(official, name)
        if match is None:
            unknown.append(name)
            continue
        template, numbers = match
        layers[official.tower_of(template)].update(map(int, numbers))
        axes, why = official.axes.get(template, (tensor.ndim, ""))
        if tensor.ndim != axes:
            raise DataError(
                f"{name} has shape {tuple(tensor.shape)}, {method} takes {axes} axes: {why}"
            )
        if template in official.names:
            tensor = tensor.squeeze(official.squeezed.get(template, ()))
            found[_filled(official.names[template], numbers)] = tensor.detach().float()
        else:
            unused += 1
            if template in official.zeros and bool(tensor.any()):
                not_zero.append(name)
    if not_zero:
        raise DataError(f"{not_zero} must be 0: {method} has no such tensors.")
    there = found.keys() | (frozen if found.keys().isdisjoint(frozen) else set())
    missing = [
        official.prefix + _filled(template, numbers)
        for template, ours in official.names.items()
        for numbers in _expected(template, layers[official.tower_of(template)])
        if _filled(ours, numbers) not in there
    ]
    if unknown or missing:
        raise DataError(
            f"not a checkpoint of {method}: {len(unknown)} unknown names {_some(unknown)}, "
            f"{len(missing)} missing {_some(missing)}. Give the checkpoint as the authors' code "
            "saves it; no more than the frozen CLIP may be missing, and that as a whole."
        )
    logger.info("%s: %d tensors taken, %d dropped that compute nothing", method, len(found), unused)
    if official.advice:
        logger.info("%s: %s", method, official.advice)
    return found


def read_official(
    path: Path | str, content: tuple[str, ...] = ("model", "state_dict")
) -> dict[str, Tensor]:
    """The state dict of a checkpoint file: those under the keys `content`, or the file's own.

    Raises:
        DataError: as `read_tensors_of` and `state_inside`.
    """
    path = Path(path)
    return state_inside(read_tensors_of(path), content, where=path)


def _fuse(official: OfficialNames, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put official tensors that are one of ours together; incomplete ones stay as they are."""
    fused = dict(state_dict)
    for whole, parts in official.fused.items():
        first = re.compile(re.escape(official.prefix + parts[0]).replace(r"\#", r"(\d+)"))
        for name in state_dict:
            match = first.fullmatch(name)
            if match is None:
                continue
            theirs = [official.prefix + _filled(part, match.groups()) for part in parts]
            if all(part in fused for part in theirs):
                tensors = [fused.pop(part) for part in theirs]
                fused[official.prefix + _filled(whole, match.groups())] = torch.cat(tensors)
    return fused


def _best_reading(
    official: OfficialNames, state_dict: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """The tensors by names as in a whole checkpoint: of all readings that with the most known.

    A beginning says nothing alone: `module.` is DistributedDataParallel's before a whole
    checkpoint, and part of the names where ActionCLIP's head is saved.
    """
    best: Mapping[str, Tensor] = {}
    least = None
    for names in _readings(official, state_dict):
        reading = _fuse(official, dict(zip(names, state_dict.values(), strict=True)))
        unknown = sum(
            _match(official, name) is None and not _is_ignored(official, name) for name in reading
        )
        if least is None or unknown < least:
            best, least = reading, unknown
        if not unknown:
            break
    return best


def _readings(official: OfficialNames, names: Collection[str]) -> Iterator[list[str]]:
    """The names as they are, and without what a wrapper puts before all, with what a part lost."""
    for wrapper in ("", PARALLEL, WRAPPED):
        if all(name.startswith(wrapper) for name in names):
            bare = [name.removeprefix(wrapper) for name in names]
            yield bare
            for lost in (official.prefix, official.part):
                if lost and not any(name.startswith(lost) for name in bare):
                    yield [lost + name for name in bare]


def _is_ignored(official: OfficialNames, name: str) -> bool:
    return name.removeprefix(official.prefix).startswith(official.ignored)


def _match(official: OfficialNames, name: str) -> tuple[str, tuple[str, ...]] | None:
    """The official name, as declared, and the numbers of layers in it."""
    if not name.startswith(official.prefix):
        return None
    bare = name.removeprefix(official.prefix)
    for template, pattern in official.patterns.items():
        match = pattern.fullmatch(bare)
        if match:
            return template, match.groups()
    return None


def _expected(template: str, layers: set[int]) -> list[tuple[str, ...]]:
    if "#" not in template:
        return [()]
    return [(str(number),) for number in range(1 + max(layers, default=0))]


def _filled(template: str, numbers: tuple[str, ...]) -> str:
    for number in numbers:
        template = template.replace("#", number, 1)
    return template


def _some(names: list[str]) -> str:
    return f"{names[:8]}{' and more' if len(names) > 8 else ''}"
