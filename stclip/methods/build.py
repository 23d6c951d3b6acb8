"""Builds methods: from resolved settings, or on their own for whoever checks them from outside.

Shape letters: see `stclip.methods`.
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
from stclip.inputs.batch import ClipBatch, PersonBatch, Pixels, no_objects
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
    ) -> Float[Tensor, "R *V K"]:
        """Logits of S samples, a row per box (unit person) or per sample (unit clip).

        Args:
            frames: the frames of each sample's window (or clip), in order, normalised as CLIP's.
            key: which of them is the key frame.
            crops: the persons' pictures, where the method looks at them.
            box_sample: the sample of each person, never decreasing; default: one each.
            boxes: xyxy in pixels of the original frame, where the method looks at them.
            frame_mask: False where a frame only fills up; default: all count.
        """
        inputs = self.method.inputs
        missing = {
            "crops": inputs.crops and crops is None,
            "objects": inputs.objects,
            "memory": any(inputs.memory),
        }
        if any(missing.values()):
            names = [name for name, is_missing in missing.items() if is_missing]
            raise ConfigError(
                f"{type(self.method).__name__} reads {names}, which are not given; of "
                "these a model of `build` takes crops alone."
            )
        num_samples, num_frames = frames.shape[:2]
        samples = torch.arange(num_samples, device=frames.device)
        rows = torch.arange(num_samples * num_frames, device=frames.device)
        rows = rows.view(num_samples, num_frames)
        if box_sample is None:
            box_sample = samples
        if boxes is None:
            boxes = frames.new_zeros(len(box_sample), 4)
        batch: PersonBatch | ClipBatch = ClipBatch(
            pictures=Pixels(frames.flatten(0, 1)), frames=rows, boxes=boxes, picture_boxes=boxes,
            box_sample=box_sample,
        )  # fmt: skip
        if inputs.unit == "person":
            persons = Pixels(frames.new_zeros(0, *frames.shape[2:]) if crops is None else crops)
            if frame_mask is None:
                frame_mask = torch.ones_like(rows, dtype=torch.bool)
            batch = PersonBatch(
                **vars(batch), frame_mask=frame_mask, key=rows[samples, key], crops=persons,
                objects=no_objects(persons), memory=rows[:, :0], memory_mask=frame_mask[:, :0],
            )  # fmt: skip
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
