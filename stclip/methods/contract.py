"""The contract of a method: what it sees, and logits from it.

Legend: S samples (key frames, clips or tracklets), U distinct pictures, T frames of a sample,
V views of it, B person boxes, K labels, e width of the joint embedding, H W picture size of the
backbone.

A method is one module and one YAML. It owns a frozen `Config`, says by `inputs` what the loader
must decode, and turns a `Batch` and label features into logits. Training, scoring, evaluation and
tables are the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from stclip.checkpoints.official import OfficialNames
from stclip.config import TrainConfig
from stclip.errors import ConfigError
from stclip.inputs.batch import Batch, Inputs, Objects
from stclip.methods.clip.backbone import Backbone
from stclip.methods.label_semantics import classification_loss


@dataclass(frozen=True)
class ParameterGroup:
    """Trained tensors that share a learning rate and a weight decay."""

    parameters: Sequence[nn.Parameter]
    lr_factor: float = 1.0  # times `train.lr`
    weight_decay: float | None = None  # None: `train.weight_decay`


class Method(nn.Module, ABC):
    """Base of all methods."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Hyper-parameters of the method; defaults live here alone."""

    inputs: Inputs
    official: ClassVar[OfficialNames | None] = None  # names in the authors' checkpoints
    key_frame_macs: ClassVar[Callable[..., dict[str, int]] | None] = None  # cost as published
    takes_features: ClassVar[bool] = False  # works on features of the frozen backbone too
    whole_batch_loss: ClassVar[bool] = False  # a row's loss depends on the other rows

    def __init__(self, backbone: Backbone, config: Any) -> None:
        """Keep the frozen backbone and the method's own `Config`."""
        super().__init__()
        self.backbone = backbone
        self.config = config

    def encode_labels(self, labels: Sequence[str]) -> Any:
        """What no training changes of the label texts, computed once per label list."""
        return self.backbone.encode_text(labels)  # (K, e)

    def text_features(self, encoded: Any) -> Any:
        """The texts' features from what `encode_labels` gave; what is learned of them is in here.

        Called in every training step, and once per label list to score.
        """
        return encoded

    @abstractmethod
    def logits(self, batch: Batch, text: Any) -> Float[Tensor, "rows *V K"]:
        """A row per box or per sample (`Inputs.row_per_box`), from what `text_features` gave.

        With an axis of views the probabilities of the views are averaged.
        """

    def forward(self, batch: Batch, encoded: Any) -> Float[Tensor, "rows *V K"]:
        """`logits`, from what `encode_labels` gave."""
        return self.logits(batch, self.text_features(encoded))

    def loss(
        self,
        logits: Float[Tensor, "rows *V K"],
        targets: Float[Tensor, "rows K"],
        *,
        config: TrainConfig,
        exclusive: Bool[Tensor, " K"],
        draws: Integer[Tensor, " rows"],
    ) -> Float[Tensor, ""]:
        """The mean loss over rows.

        Args:
            logits: of a batch; where `whole_batch_loss`, of all processes' shares together.
            targets: multi-hot.
            config: names the loss and its parameters.
            exclusive: which labels exclude each other.
            draws: a random number, 0 .. 2^62, of each row, that follows from seed and step.
        """
        return classification_loss(
            logits, targets, kind=config.loss, gamma=config.focal_gamma,
            smoothing=config.label_smoothing, exclusive=exclusive,
        )  # fmt: skip

    def frame_features(self, batch: Batch) -> Float[Tensor, "U e"]:
        """The frozen backbone's features of the pictures: those that came along, or computed."""
        if batch.features is not None:
            return batch.features
        assert batch.images is not None
        return self.backbone.encode_images(batch.images)

    def crop_features(self, batch: Batch) -> Float[Tensor, "B e"]:
        """The same of the persons cut out."""
        if batch.crop_features is not None:
            return batch.crop_features
        assert batch.crops is not None
        return self.backbone.encode_images(batch.crops)

    def object_features(self, objects: Objects) -> Float[Tensor, "O e"]:
        """The same of the objects cut out."""
        if objects.features is not None:
            return objects.features
        assert objects.images is not None
        return self.backbone.encode_images(objects.images)

    def parameter_groups(self) -> list[ParameterGroup]:
        """What is trained, by learning rate and weight decay; default: all alike."""
        return [ParameterGroup([p for p in self.parameters() if p.requires_grad])]

    def prepare_scoring(self) -> None:
        """Fold what only training needs apart, once the weights are loaded; changes no score."""

    def saved_parameters(self) -> dict[str, nn.Parameter]:
        """What a checkpoint holds: what is trained, and whatever else only it can bring back."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def trained_state(self) -> dict[str, Tensor]:
        """What training changes: the tensors a checkpoint holds."""
        return {name: p.detach().cpu().contiguous() for name, p in self.saved_parameters().items()}

    def load_trained_state(self, state: dict[str, Tensor], *, where: str) -> None:
        """Load what `trained_state` gave.

        Raises:
            ConfigError: keys or shapes are of another method or configuration.
        """
        ours = self.saved_parameters()
        missing, unknown = sorted(ours.keys() - state.keys()), sorted(state.keys() - ours.keys())
        shapes = [k for k in ours.keys() & state.keys() if ours[k].shape != state[k].shape]
        if missing or unknown or shapes:
            raise ConfigError(
                f"{where}: weights do not fit {type(self).__name__}: missing {missing[:5]}, "
                f"unknown {unknown[:5]}, other shapes {sorted(shapes)[:5]}; train anew or name the "
                "configuration that made them."
            )
        with torch.no_grad():
            for name, parameter in ours.items():
                parameter.copy_(state[name])
