"""Builds methods: from resolved settings, or on their own for whoever checks them from outside.

Shape letters: see `stclip.methods`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from stclip.checkpoints.official import rename
from stclip.config import CONFIG_FOLDER, BackboneConfig, MethodConfig, read_yaml
from stclip.config.target import make_config, resolve_target
from stclip.errors import ConfigError
from stclip.methods.clip.backbone import backbone_of, load_backbone
from stclip.methods.contract import Method
from stclip.methods.official_weights import adjusted, official_state
from stclip.methods.plain_inputs import PlainInputs, batch_of

OPENAI = "ViT-B-16-quickgelu"  # open_clip's name of the model that OpenAI's ViT-B/16 is


def method_class(method: str, *, config: Path = CONFIG_FOLDER) -> type[Method]:
    """The class of a file of config/methods, or of a variant (`METHOD+VARIANT`) in it.

    Raises:
        ConfigError: no such method.
    """
    content = read_yaml(config / "methods" / f"{method.partition('+')[0]}.yaml")
    target: type[Method] = resolve_target(content["target"])
    return target


class Built(nn.Module):
    """A method with its labels, on tensors that are preprocessed already; see `build`."""

    def __init__(self, method: Method, labels: Sequence[str]) -> None:
        """`labels`: the texts as the text tower reads them."""
        super().__init__()
        self.method = method
        self.labels = list(labels)

    def forward(
        self,
        frames: Tensor,
        *,
        key: Tensor | None = None,
        crops: Tensor | None = None,
        boxes: Tensor | None = None,
        box_sample: Tensor | None = None,
        frame_mask: Tensor | None = None,
        object_crops: Tensor | None = None,
        object_boxes: Tensor | None = None,
        object_scores: Tensor | None = None,
        object_sample: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Float[Tensor, "rows *V K"]:
        """Logits of S samples, a row per box or per sample (`Inputs.row_per_box`).

        A method takes what it looks at and leaves the rest; what it lacks is an error. Pictures are
        floats at the backbone's size, normalised.

        Args:
            frames: (S, T, 3, H, W), of each sample's window (or clip), in order.
            key: (S,) which of them is the key frame, from 0; of one frame it may be left out.
            crops: (B, 3, H, W) the persons, cut out of the key frame.
            boxes: (B, 4) the persons' xyxy, in pixels of the picture that the method sees; beside
                `object_boxes` in those of the original frame, as these.
            box_sample: (B,) the sample of each person, never decreasing; default: all of the only
                sample, or one each.
            frame_mask: (S, T) False where a frame only fills up; default: all count.
            object_crops: (O, 3, H, W) the objects, cut out of the key frame.
            object_boxes: (O, 4) xyxy in pixels of the original frame.
            object_scores: (O,) of the object detector.
            object_sample: (O,) the sample of each object; default: as `box_sample`.
            memory: (S, M, 3, H, W) the frames around the key frame, without it, in order.
            memory_mask: (S, M) False where there is no such frame; default: all are there.

        Raises:
            ConfigError: something is missing, or of another shape or range.
        """
        given = PlainInputs(
            frames=frames, key=key, crops=crops, boxes=boxes, box_sample=box_sample,
            frame_mask=frame_mask, object_crops=object_crops, object_boxes=object_boxes,
            object_scores=object_scores, object_sample=object_sample, memory=memory,
            memory_mask=memory_mask,
        )  # fmt: skip
        return self.method(batch_of(self.method, given), self.method.encode_labels(self.labels))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The method's own names, as `import_state_dict` gives them."""
        return self.method.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load what `state_dict` or `import_state_dict` gives."""
        return self.method.load_state_dict(adjusted(self.method, state_dict), *args, **kwargs)


def build(
    method: str,
    *,
    labels: Sequence[str],
    backbone: str = OPENAI,
    pretrained: Path | str | None = None,
    config: Path | str = CONFIG_FOLDER,
    **params: Any,
) -> Built:
    """A method on its own, for whoever wants to check it from outside; see docs/parity.md.

    Args:
        method: a file of config/methods.
        labels: texts as the text tower reads them.
        backbone: an open_clip model, or the path of a model config. OpenAI's weights need one with
            QuickGELU, as the default: `ViT-B-16` is another model, of GELU.
        pretrained: path of CLIP weights; None leaves them random (seed torch first).
        config: folder of the YAML files.
        params: of the method's own `Config`; its defaults otherwise, whatever the YAML says.

    Raises:
        ConfigError: unknown method, backbone or params. DataError: missing or damaged weights.
    """
    if "+" in method:
        raise ConfigError(
            f"method {method!r} is a variant of the YAML file, which is not read here; expected "
            f"{method.partition('+')[0]!r}, and the variant's params as keyword arguments."
        )
    target = method_class(method, config=Path(config))
    own = make_config(target, params, where=f"method {method}")
    weights = None if pretrained is None else str(pretrained)
    clip = load_backbone(BackboneConfig(model=str(backbone), weights=weights))
    return Built(target(clip, own), labels).eval()


def load_official(
    method: str,
    file: Path | str,
    *,
    labels: Sequence[str],
    backbone: str = OPENAI,
    pretrained: Path | str | None = None,
    config: Path | str = CONFIG_FOLDER,
    **params: Any,
) -> Built:
    """The authors' model, ready to run: built, its official checkpoint loaded, LoRA merged.

    Args:
        method: a file of config/methods.
        file: a checkpoint as the authors' code saves it, or only what was trained of it.
        labels: texts as the text tower reads them.
        backbone: an open_clip model, or the path of a model config. OpenAI's weights need one with
            QuickGELU, as the default: `ViT-B-16` is another model, of GELU.
        pretrained: path of CLIP weights, for a file without the frozen CLIP; one in the file wins.
        config: folder of the YAML files.
        params: of the method's own `Config`, those that the checkpoint was trained with.

    Raises:
        ConfigError: unknown method, backbone or params, or a method without official checkpoints.
        DataError: the file is no such checkpoint, or of another size.
    """
    built = build(
        method, labels=labels, backbone=backbone, pretrained=pretrained, config=config, **params
    )
    state = official_state(
        built.method, file, name=method, backbone=str(backbone),
        pretrained=None if pretrained is None else str(pretrained),
    )  # fmt: skip
    built.method.load_state_dict(state)
    built.method.prepare_scoring()
    return built


def import_state_dict(
    method: str, state_dict: Mapping[str, Tensor], *, config: Path | str = CONFIG_FOLDER
) -> dict[str, Tensor]:
    """Rename an official state dict for a model that `build` made; see `checkpoints.official`.

    Raises:
        ConfigError: the method has no official checkpoints.
        DataError: as `stclip.checkpoints.official.rename`.
    """
    official = method_class(method, config=Path(config)).official
    if official is None:
        raise ConfigError(f"method {method!r} has no official checkpoints to import.")
    return rename(official, state_dict, method=method)


def load_method(config: MethodConfig) -> Method:
    """Build a method from its resolved configuration; seed torch first, new weights are random.

    Raises:
        ConfigError: settings that do not fit, or a backbone that cannot be used, or whose training
            has to be said. DataError: its weights are missing or damaged.
    """
    target: type[Method] = resolve_target(config.target)
    own = make_config(target, config.params, where=f"method {config.name}")
    return target(backbone_of(config), own)
