"""open_clip's tags (`laion2b_s34b_b88k`): the trainings whose weights it knows where to fetch.

A tag says what no weights file says: how the pictures of the training were made, and whether the
activation is QuickGELU. Nothing is fetched here. open_clip, and torch with it, is imported only
once somebody asks.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stclip.config.clip_models import preprocessing_of
from stclip.config.method_models import BackboneConfig, ModelPreprocessing
from stclip.config.package_files import PACKAGE
from stclip.errors import ConfigError

QUICK = "-quickgelu"  # ends open_clip's names of models with OpenAI's activation


@dataclass(frozen=True)
class Training:
    """A tag of a model."""

    model: str
    tag: str
    quick_gelu: bool
    preprocessing: ModelPreprocessing
    page: str  # where its file lies

    @property
    def right_model(self) -> str:
        """The name with the activation that the weights need."""
        bare = self.model.removesuffix(QUICK)
        return bare + QUICK if self.quick_gelu else bare

    def entry(self, weights: str) -> str:
        """What to write under `backbones` of a scale."""
        said = self.preprocessing.model_dump(mode="json", exclude_defaults=True)
        content = {"model": self.right_model, "weights": weights, "preprocessing": said}
        return yaml.safe_dump(content, default_flow_style=True, sort_keys=False, width=1000).strip()


def trainings(model: str) -> list[Training]:
    """The tags that open_clip knows for a model of its names."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    model = model.replace("/", "-")  # ViT-B/16, as papers write
    found = []
    for tag in list_pretrained_tags_by_model(model):
        about: dict[str, Any] = get_pretrained_cfg(model, tag)
        said = {key: about[key] for key in ("mean", "std", "interpolation", "resize_mode")}
        page = about.get("url") or f"https://huggingface.co/{about.get('hf_hub', '').rstrip('/')}"
        how = preprocessing_of(said, where=f"{model}:{tag}")
        found.append(Training(model, tag, bool(about.get("quick_gelu")), how, page))
    return found


def check_weights_path(backbone: BackboneConfig, *, where: str) -> None:
    """Weights are a path; a tag or an address is told as what it is, with the way to a file.

    Raises:
        ConfigError: they are not.
    """
    weights = backbone.weights
    if weights is None or weights.startswith(PACKAGE) or Path(weights).exists():
        return
    if "://" in weights or weights.startswith(("hf-hub:", "local-dir:")):
        raise ConfigError(
            f"{where}: weights {weights!r} is an address, a path is expected. Give the address and "
            "a checksum under `models` of the scale, which downloads it, and name the file."
        )
    if "/" in weights or Path(weights).suffix:
        return  # a file that a stage may write
    raise ConfigError(f"{where}: weights {weights!r}: {_tag_told(backbone.model, weights)}")


def _tag_told(model: str, name: str) -> str:
    from open_clip.pretrained import list_pretrained

    tag = name.rpartition(":")[2].lower().replace("-", "_")
    known = next((t for t in trainings(model) if t.tag == tag), None)
    if known is None:
        models = [m for m, t in list_pretrained() if t == tag]
        if not models:
            return "no such file, and no tag of open_clip's. Name the path of a file, or null."
        return f"no file, but a tag of open_clip's for {models[:6]}; model is {model!r}."
    code = (
        "import open_clip.pretrained as p; "
        f'print(p.download_pretrained(p.get_pretrained_cfg("{model}", "{tag}")))'
    )
    return (
        f"a tag of open_clip's for {model}, no file. Fetch the file from {known.page}, or with\n"
        f"  python -c {shlex.quote(code)}\n"
        f"and write {known.entry('PATH OF THE FILE')}."
    )


def check_training_is_said(backbone: BackboneConfig, *, where: str) -> None:
    """Where a model's trainings made pictures in several ways, or not in CLIP's, one must be said.

    Only those with the model's activation count; where there are none, the model is hardly meant. A
    model config says it itself.

    Raises:
        ConfigError: it is not.
    """
    if backbone.weights is None or backbone.preprocessing is not None:
        return
    everything = trainings(backbone.model)
    quick = backbone.model.endswith(QUICK)
    known = [t for t in everything if t.quick_gelu == quick]
    if known:
        wrong = any(t.preprocessing != ModelPreprocessing() for t in known)
        what = "did not all make their pictures as CLIP did"
    else:
        wrong, what = bool(everything), "are all of the other activation"
    if wrong:
        entries = "\n".join(f"  {t.tag}: {t.entry(backbone.weights)}" for t in known or everything)
        raise ConfigError(
            f"{where}: the trainings of {backbone.model} that open_clip knows {what}, and no file "
            "of weights says which it is of. Say it by `preprocessing` of the backbone "
            f"({{}}: as CLIP):\n{entries}"
        )
