"""Whether a CLIP computes what it computed when it was recorded: one drawn picture, four texts.

The cosines of the picture's and the texts' features, and the factor on them, are compared with
those in `config/checksums/{scale}/weights/{backbone}.json`, or in that of the scale's `base`. Other
weights, or the same with another activation or tokenizer, give others.

H, W: height and width of the backbone's pictures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from stclip import config as c
from stclip.config.package_files import path_of
from stclip.doctor.files_there import MODELS, Wanted
from stclip.doctor.finding import Finding, some
from stclip.doctor.needs import Needs
from stclip.errors import ConfigError, DataError
from stclip.methods.clip.backbone import cosine, load_backbone
from stclip.storage.files import read_json, write_json

# In words that every tiny CLIP of the package knows too. The first tells what is drawn.
TEXTS = (
    "a red ball on green grass",
    "a blue ball on a white picture",
    "a photo of a person walking",
    "a black shirt",
)
# Of cosines in fp32 on CPUs: rounding moves them by 1e-6, GELU in place of QuickGELU by 5e-4.
TOLERANCE = 5e-5
RECORD = (
    "stclip doctor --scale {} --record-weights, if the weights are right; commit what it writes"
)


@dataclass(frozen=True)
class Known:
    """What a CLIP makes of the picture and the texts."""

    model: str  # as the scale names it
    cosines: list[float]  # by text
    logit_scale: float  # CLIP's own factor on them

    def differs(self, other: "Known") -> str:
        """What is beyond the tolerance; "" if nothing is."""
        if self.model != other.model:
            return f"is of the model {self.model}, recorded was {other.model}"
        off = max(abs(a - b) for a, b in zip(self.cosines, other.cosines, strict=True))
        if off > TOLERANCE:
            return f"computes {_shown(self.cosines)}, recorded were {_shown(other.cosines)}"
        if abs(self.logit_scale / other.logit_scale - 1) > TOLERANCE:
            return f"has the factor {self.logit_scale:.3f}, recorded was {other.logit_scale:.3f}"
        return ""


def check_weights(needs: Needs, files: Sequence[Wanted], *, record: bool) -> Iterator[Finding]:
    """Each backbone of the scale whose weights are there; `record` keeps those without a record."""
    fetched = {str(wanted.path): wanted for wanted in files if wanted.owner == MODELS}
    for name, backbone in needs.scale.backbones.items():
        weights = backbone.weights
        if weights is None:
            yield Finding("weights", name, "ok", "random, as the scale says: nothing to compare")
        elif not _readers(needs, backbone):
            yield Finding("weights", name, "ok", "no chosen method reads them: not looked at")
        elif not path_of(weights).exists():
            yield _missing(name, backbone, needs, fetched.get(weights))
        elif weights in fetched and fetched[weights].state == "wrong":
            to_do = "see `downloads`: a file with a wrong checksum is not even loaded"
            yield Finding("weights", name, "problem", f"{weights}: its checksum is wrong", to_do)
        else:
            yield _compared(name, backbone, needs, record=record)


def _readers(needs: Needs, backbone: c.BackboneConfig) -> list[str]:
    own = needs.methods.items()
    return sorted(name for name, methods in own if any(m.backbone == backbone for m in methods))


def _missing(
    name: str, backbone: c.BackboneConfig, needs: Needs, fetched: Wanted | None
) -> Finding:
    weights, readers = backbone.weights, some(_readers(needs, backbone))
    found = f"not there yet: {weights}"
    if fetched is None:
        to_do = f"no rule downloads it: put it there, or correct `backbones` (read by {readers})"
        return Finding("weights", name, "problem", found, to_do)
    fetch = f"snakemake --cores 1 {weights} --config scale={needs.name}"
    to_do = "see `downloads`" if fetched.by_hand else fetch
    if any(path.exists() for path in _records(needs, name)):
        return Finding("weights", name, "note", found, f"{to_do}; then call this again")
    found += "; nobody has recorded yet what they should give"
    return Finding("weights", name, "note", found, f"{to_do}; then {RECORD.format(needs.name)}")


def _compared(name: str, backbone: c.BackboneConfig, needs: Needs, *, record: bool) -> Finding:
    try:
        found = compute(backbone)
    except (ConfigError, DataError) as error:
        to_do = "correct `backbones` of the scale, or get the weights again"
        return Finding("weights", name, "problem", str(error), to_do)
    for path in _records(needs, name):
        if not path.exists():
            continue
        if wrong := found.differs(read_known(path)):
            return Finding(
                "weights", name, "problem", f"{backbone.weights} {wrong} ({path})",
                "these are other weights, or another activation, than those recorded: get the "
                "file again, or correct `model` of the backbone. Only if the change is meant: "
                "delete the record and record anew",
            )  # fmt: skip
        return Finding(
            "weights", name, "ok",
            f"cosines of a drawn picture and {len(TEXTS)} texts as recorded, to {TOLERANCE:g}",
        )  # fmt: skip
    shown = f"cosines {_shown(found.cosines)} of a drawn picture and {len(TEXTS)} texts"
    if not record:
        fits = "is" if int(np.argmax(found.cosines)) == 0 else "is not"
        return Finding(
            "weights", name, "note",
            f"{shown}: nobody has recorded what these weights should give; the text that tells the "
            f"picture {fits} nearest to it",
            RECORD.format(needs.name),
        )  # fmt: skip
    path = _records(needs, name)[0]
    write_known(path, found)
    return Finding("weights", name, "ok", f"{shown} recorded in {path}; commit that file")


def compute(backbone: c.BackboneConfig) -> Known:
    """Encode the picture and the texts, in fp32 on the CPU.

    Raises:
        ConfigError: as `load_backbone`. DataError: as there.
    """
    clip = load_backbone(backbone)
    picture = torch.from_numpy(drawn(*clip.image_size)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        visual, text = clip.encode_images(picture), clip.encode_text(TEXTS)
        found = cosine(visual, text, dtype=torch.float32)[0]
    return Known(
        backbone.model,
        [round(value, 7) for value in found.tolist()],
        round(float(clip.logit_scale), 5),
    )


def drawn(height: int, width: int) -> UInt8[np.ndarray, "H W 3"]:
    """A red ball on green grass under a white sky; whole numbers alone, the same everywhere."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.full((height, width, 3), 245, np.uint8)
    picture[y * 2 >= height] = (40, 150, 50)
    half = min(height, width)
    inside = (2 * x - width) ** 2 + (2 * y - height) ** 2 <= (half // 2) ** 2
    picture[inside] = (220, 30, 30)
    return picture


def read_known(path: Path) -> Known:
    """A record.

    Raises:
        DataError: it is damaged, or of other texts.
    """
    content: Any = read_json(path)
    try:
        if list(content["texts"]) != list(TEXTS):
            raise DataError(f"{path}: is of other texts; delete it and record anew.")
        cosines = [float(value) for value in content["cosines"]]
        known = Known(str(content["model"]), cosines, float(content["logit_scale"]))
        if len(cosines) != len(TEXTS) or not np.isfinite([*cosines, known.logit_scale]).all():
            raise ValueError(cosines)
    except DataError:
        raise
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{path}: expected model, texts, {len(TEXTS)} cosines and logit_scale; restore it from "
            "version control."
        ) from None
    return known


def write_known(path: Path, known: Known) -> None:
    """Keep a record."""
    content = {"model": known.model, "texts": list(TEXTS), "cosines": known.cosines}
    write_json(path, {**content, "logit_scale": known.logit_scale})


def _records(needs: Needs, backbone: str) -> list[Path]:
    """Where the record is: the scale's own, then those of the scales that it is laid over."""
    names, scale = [needs.name], needs.scale
    while scale.base is not None:
        names.append(scale.base)
        scale = c.load_scale(needs.config, scale.base)
    return [needs.config / "checksums" / name / "weights" / f"{backbone}.json" for name in names]


def _shown(cosines: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in cosines)
