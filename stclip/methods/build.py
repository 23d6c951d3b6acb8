"""Builds methods: from resolved settings, or on their own for whoever checks them from outside.

Legend: as in `stclip.methods.contract`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from stclip.checkpoints.official import rename
from stclip.config import CONFIG_FOLDER, BackboneConfig, MethodConfig, read_yaml
from stclip.config.target import make_config, resolve_target
from stclip.errors import ConfigError
from stclip.inputs.batch import Batch
from stclip.methods.clip.backbone import load_backbone
from stclip.methods.contract import Method


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
        frames: Float[Tensor, "S T 3 H W"],
        *,
        key: Integer[Tensor, " S"],
        crops: Float[Tensor, "B 3 H W"] | None = None,
        box_sample: Integer[Tensor, " B"] | None = None,
        boxes: Float[Tensor, "B 4"] | None = None,
        frame_mask: Bool[Tensor, "S T"] | None = None,
    ) -> Float[Tensor, "rows *V K"]:
        """Logits of S samples, a row per box (unit person) or per sample (unit clip).

        Args:
            frames: the frames of each sample's window (or clip), in order, normalised as CLIP's.
            key: which of them is the key frame.
            crops: the persons' pictures, where the method looks at them.
            box_sample: the sample of each person, never decreasing; default: one each.
            boxes: xyxy in pixels of the original frame, where the method looks at them.
            frame_mask: False where a frame only fills up; default: all count.
        """
        num_samples, num_frames = frames.shape[:2]
        rows = torch.arange(num_samples * num_frames, device=frames.device)
        rows = rows.view(num_samples, num_frames)
        if frame_mask is None:
            frame_mask = torch.ones_like(rows, dtype=torch.bool)
        if box_sample is None:
            box_sample = torch.arange(num_samples, device=frames.device)
        batch = Batch(
            images=frames.flatten(0, 1),
            frames=rows,
            frame_mask=torch.ones_like(rows, dtype=torch.bool)
            if frame_mask is None
            else frame_mask,
            key=rows[torch.arange(num_samples, device=frames.device), key],
            crops=crops,
            boxes=frames.new_zeros(len(box_sample), 4) if boxes is None else boxes,
            box_sample=box_sample,
        )
        return self.method(batch, self.method.encode_labels(self.labels))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The method's own names, as `stclip.checkpoints.official.import_state_dict` gives them."""
        return self.method.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load what `state_dict` gives."""
        return self.method.load_state_dict(*args, **kwargs)


def build(
    method: str,
    *,
    labels: Sequence[str],
    backbone: str = "ViT-B-16",
    pretrained: str | None = None,
    config: Path = CONFIG_FOLDER,
    **params: Any,
) -> Built:
    """A method on its own, for whoever wants to check it from outside; see docs/parity.md.

    Args:
        method: a file of config/methods.
        labels: texts as the text tower reads them.
        backbone: an open_clip model, or the path of a model config.
        pretrained: path of CLIP weights; None leaves them random (seed torch first).
        config: folder of the YAML files.
        params: of the method's own `Config`; its defaults otherwise, whatever the YAML says.

    Raises:
        ConfigError: unknown method, backbone or params. DataError: missing or damaged weights.
    """
    target = method_class(method, config=config)
    own = make_config(target, params, where=f"method {method}")
    clip = load_backbone(BackboneConfig(model=backbone, weights=pretrained))
    return Built(target(clip, own), labels).eval()


def import_state_dict(
    method: str, state_dict: Mapping[str, Tensor], *, config: Path = CONFIG_FOLDER
) -> dict[str, Tensor]:
    """Rename an official state dict for a model that `build` made; see `checkpoints.official`.

    Raises:
        ConfigError: the method has no official checkpoints.
        DataError: as `stclip.checkpoints.official.rename`.
    """
    official = method_class(method, config=config).official
    if official is None:
        raise ConfigError(f"method {method!r} has no official checkpoints to import.")
    return rename(official, state_dict, method=method)


def load_method(config: MethodConfig) -> Method:
    """Build a method from its resolved configuration; seed torch first, new weights are random."""
    target: type[Method] = resolve_target(config.target)
    own = make_config(target, config.params, where=f"method {config.name}")
    backbone = load_backbone(config.backbone)
    backbone.normalise_by(config.preprocessing.statistics)
    return target(backbone, own)
