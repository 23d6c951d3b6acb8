"""ActionCLIP (Wang et al. 2021, arXiv 2109.08472) on a frozen CLIP, with its head "Transf".

CLIP's features of a clip's frames go through a transformer over time; what it gives is added to
them, and the mean over time is the clip's feature. The class names stand in 16 templates; in
training each clip is compared with one text of every clip of its batch, when scoring the
probabilities of the templates are averaged. Trained is the transformer alone, as the benchmark has
it (Huang et al. 2025, section 5.2): 18.92 M parameters.

Shape letters: see `stclip.methods`; A templates.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.actionclip_config import ActionCLIPConfig
from baselines.actionclip_names import OFFICIAL
from stclip.config import TrainConfig
from stclip.errors import ConfigError
from stclip.inputs.batch import ClipBatch
from stclip.methods.clip.backbone import Backbone, cosine
from stclip.methods.layers.temporal_transformer import TemporalTransformer
from stclip.methods.layers.video import VideoMethod

EPS = 1e-12  # of the head's LayerNorms, as released
STD = 0.02  # of the initial positions and linear weights
SHARPNESS = 10.0  # the factor in the targets' softmax


class ActionCLIP(VideoMethod):
    """A transformer over frame features, compared with class names in templates."""

    official = OFFICIAL
    takes_features = True
    whole_batch_loss = True

    Config = ActionCLIPConfig

    def __init__(self, backbone: Backbone, config: ActionCLIPConfig) -> None:
        """Add the head; CLIP stays as it is."""
        super().__init__(backbone, config)
        self.config: ActionCLIPConfig
        self.temporal = TemporalTransformer(
            backbone.embed_dim,
            layers=config.layers,
            num_positions=config.positions,
            residual=True,
            eps=EPS,
        )
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """As released; the attention's packed projections keep PyTorch's values."""
        nn.init.normal_(self.temporal.positions, std=STD)
        blocks: Iterable[Any] = self.temporal.blocks
        for block in blocks:
            for layer in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
                nn.init.normal_(layer.weight, std=STD)
                nn.init.zeros_(layer.bias)
            if self.config.zero_init:
                nn.init.zeros_(block.attn.out_proj.weight)
                nn.init.zeros_(block.mlp.c_proj.weight)

    def encode_labels(self, labels: Sequence[str]) -> Float[Tensor, "A K e"]:
        """The label texts in every template; not normalised."""
        filled = ([t.replace("{}", label) for label in labels] for t in self.config.templates)
        return torch.stack([self.backbone.encode_text(texts) for texts in filled])

    def view_logits(
        self, batch: ClipBatch, text: Float[Tensor, "A K e"]
    ) -> Float[Tensor, "SV A K"]:
        """Cosine of each view and each text, times CLIP's own logit scale."""
        frames = self.by_view(self.image_features(batch.pictures), batch)  # (SV, T, e)
        video = self.temporal(frames)  # (SV, e)
        similarity = cosine(video, text.flatten(0, 1), dtype=text.dtype)  # (SV, A * K)
        return self.backbone.logit_scale * similarity.unflatten(1, text.shape[:2])

    def loss(
        self,
        logits: Float[Tensor, "R A K"],
        targets: Float[Tensor, "R K"],
        *,
        config: TrainConfig,
        exclusive: Bool[Tensor, " K"],
        draws: Integer[Tensor, " R"],
    ) -> Float[Tensor, ""]:
        """Compare each clip with one text of every clip of the batch, and the other way round.

        The text of a clip is its own class name in the template that its `draws` names. A class
        that is not in the batch is nobody's negative.

        Raises:
            ConfigError: a clip with several labels or none; a loss that this one cannot be.
        """
        if config.loss != "ce" or config.label_smoothing:
            raise ConfigError(
                f"ActionCLIP: train.loss is {config.loss!r} with label_smoothing "
                f"{config.label_smoothing}; its loss is a cross-entropy to targets of its own: set "
                "loss: ce, label_smoothing: 0."
            )
        if bool((targets.count_nonzero(-1) != 1).any()):
            counts = targets.count_nonzero(-1).tolist()
            raise ConfigError(
                f"ActionCLIP: the clips of a batch have {counts} labels; its loss needs exactly "
                "one each. Train it on data of which all labels exclude each other."
            )
        label = targets.argmax(-1)  # (R,)
        return symmetric_kl(logits[:, draws % logits.shape[1], label], label)


def symmetric_kl(
    similarity: Float[Tensor, "R R"], label: Integer[Tensor, " R"]
) -> Float[Tensor, ""]:
    """KL divergence from soft "same label" targets, mean over rows and both directions.

    Args:
        similarity: scaled, of clip i and the text of clip j.
        label: class of each clip; clips of one class are each other's positives.
    """
    same = (label[:, None] == label).to(similarity.dtype)  # (R, R), symmetric
    wanted = (SHARPNESS * same).log_softmax(-1)
    to_text, to_video = (
        F.kl_div(s.log_softmax(-1), wanted, reduction="batchmean", log_target=True)
        for s in (similarity, similarity.T)
    )
    return (to_text + to_video) / 2
