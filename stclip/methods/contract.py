"""The contract of a method: what it sees, and logits from it.

A method is one module and one YAML. It owns a `Config` (a `stclip.config.Params`), says by `inputs`
what the loader must decode, and turns a batch and label features into logits. Training, scoring,
evaluation and tables are the same for all methods. Shape letters: see `stclip.methods`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from stclip.checkpoints.official import OfficialNames
from stclip.config import MethodConfig, Params, TrainConfig
from stclip.errors import ConfigError
from stclip.inputs.batch import Encoded, Inputs, Pictures
from stclip.methods.clip.backbone import Backbone
from stclip.methods.label_semantics import classification_loss
from stclip.splits.label_texts import texts_in_templates


@dataclass(frozen=True)
class ParameterGroup:
    """Trained tensors that share a learning rate and a weight decay."""

    parameters: Sequence[nn.Parameter]
    lr_factor: float = 1.0  # times `train.lr`
    weight_decay: float | None = None  # None: `train.weight_decay`


@dataclass(frozen=True)
class Explanation:
    """What stands behind the logits of a batch: what the frame made of the label features.

    Tokens have numbers: 0 the class token, then the persons of the frame in the batch's order, then
    the patches, row by row.
    """

    prompted: Float[Tensor, "B K e"]  # the label features that each box is compared with
    # Of each box, of each layer that prompts them by interest tokens: their numbers, first the one
    # that it attends to most. No layers where all tokens prompt.
    interest: Sequence[Sequence[Integer[Tensor, " k"]]]


class Method(nn.Module, ABC):
    """Base of all methods."""

    Config: ClassVar[type[Any]] = Params  # the method's own hyper-parameters and their defaults
    inputs: Inputs
    official: ClassVar[OfficialNames | None] = None  # names in the authors' checkpoints
    key_frame_macs: ClassVar[Callable[..., dict[str, int]] | None] = None  # cost as published
    # the same, and trained parameters, by part; of the method's own Config
    released_cost: ClassVar[Callable[..., dict[str, tuple[int, int]]] | None] = None
    takes_features: ClassVar[bool] = False  # works on features of the frozen backbone too
    whole_batch_loss: ClassVar[bool] = False  # a row's loss depends on the other rows

    def __init__(self, backbone: Backbone, config: Any) -> None:
        """Keep the frozen backbone and the method's own `Config`."""
        super().__init__()
        self.backbone = backbone
        self.config = config

    def encode_labels(self, labels: Sequence[str]) -> Any:
        """Encode the label texts with the frozen text tower. Computed once per label list."""
        return self.backbone.encode_text(labels)  # (K, e)

    def encode_templates(self, texts: Sequence[Sequence[str]]) -> Any:
        """Encode the label texts in several templates: the mean of their normalised features.

        Raises:
            ConfigError: the method reads more of a text than the text tower's feature of it.
        """
        if type(self).encode_labels is not Method.encode_labels:
            raise ConfigError(
                f"{type(self).__name__} makes more of a label text than its feature, so templates "
                f"cannot be averaged; give the data set one of its {len(texts)} label_templates."
            )
        features = [F.normalize(self.backbone.encode_text(of_one), dim=-1) for of_one in texts]
        return torch.stack(features).mean(0)  # (K, e)

    def encode_names(self, labels: Sequence[str], config: MethodConfig) -> Any:
        """Encode labels by their official names, in the texts that the data set makes of them."""
        texts = texts_in_templates(labels, form=config.label_text, templates=config.label_templates)
        return self.encode_labels(texts[0]) if len(texts) == 1 else self.encode_templates(texts)

    def text_features(self, encoded: Any) -> Any:
        """Apply the learned part of the text side (e.g. prompts) to the output of `encode_labels`.

        Called in every training step, and once per label list in scoring.
        """
        return encoded

    @abstractmethod
    def logits(self, batch: Any, text: Any) -> Float[Tensor, "R *V K"]:
        """One row per box or per sample (`Inputs.row_per_box`).

        Args:
            batch: a `PersonBatch` for unit "person", a `ClipBatch` for the others.
            text: the output of `text_features`.

        Returns:
            With an axis of views the probabilities of the views are averaged.
        """

    def explain(self, batch: Any, text: Any) -> Explanation:
        """What stands behind the logits of the same batch and text, for figures.

        Raises:
            ConfigError: the method prompts no label texts by the frame.
        """
        raise ConfigError(
            f"{type(self).__name__} prompts no label texts by the frame, so there is nothing to "
            "show; name a method that does, as st_clip."
        )

    def forward(self, batch: Any, encoded: Any) -> Float[Tensor, "R *V K"]:
        """`logits` from the output of `encode_labels`."""
        return self.logits(batch, self.text_features(encoded))

    def loss(
        self,
        logits: Float[Tensor, "R *V K"],
        targets: Float[Tensor, "R K"],
        *,
        config: TrainConfig,
        exclusive: Bool[Tensor, " K"],
        draws: Integer[Tensor, " R"],
    ) -> Float[Tensor, ""]:
        """The mean loss over rows.

        Args:
            logits: of a batch; where `whole_batch_loss`, of all processes' shares together.
            targets: multi-hot.
            config: names the loss and its parameters.
            exclusive: which labels exclude each other.
            draws: a random number, 0 .. 2^62, for each row, the same for the same seed and step.
        """
        return classification_loss(
            logits, targets, kind=config.loss, gamma=config.focal_gamma,
            smoothing=config.label_smoothing, exclusive=exclusive,
        )  # fmt: skip

    def image_features(self, pictures: Pictures) -> Float[Tensor, "n e"]:
        """The frozen backbone's features of pictures: the stored ones, or computed here."""
        if isinstance(pictures, Encoded):
            return pictures.features
        if not len(pictures):
            return self.backbone.mean.new_zeros(0, self.backbone.embed_dim)
        return self.backbone.encode_images(pictures.images)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The trained parameters by learning rate and weight decay; default: one group."""
        return [ParameterGroup([p for p in self.parameters() if p.requires_grad])]

    def prepare_scoring(self) -> None:
        """Merge training-only parts (e.g. LoRA) into the weights. Scores do not change."""

    def saved_parameters(self) -> dict[str, nn.Parameter]:
        """The tensors of a checkpoint: those trained, and others that a seed cannot restore."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def trained_state(self) -> dict[str, Tensor]:
        """The tensors of `saved_parameters`, on the CPU."""
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
