"""Vita-CLIP: prompts in a frozen CLIP, on its image and on its text side.

Wasim et al., "Vita-CLIP: Video and text adaptive CLIP via Multimodal Prompting", CVPR 2023
(arXiv 2304.03307). Each image block sees, beside a frame's own tokens, global prompts (the same for
all clips), local prompts (a vector per frame of the clip, all of them in every frame) and a summary
of the frame among the others; the class names stand behind learned context vectors. The frozen
parts pass gradients on, so both towers run in every step.

Shape letters: see `stclip.methods`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.vitaclip_config import VitaCLIPConfig
from baselines.vitaclip_encoder import VitaEncoder
from baselines.vitaclip_names import OFFICIAL
from stclip.inputs.batch import ClipBatch, pixels_of
from stclip.methods.clip.backbone import AT_ONCE, Backbone, cosine
from stclip.methods.layers.name_prompt import PromptedNames, place_names
from stclip.methods.layers.video import VideoMethod
from stclip.splits.label_texts import label_texts


class VitaCLIP(VideoMethod):
    """Cosine of a clip's prompted feature and the prompted names, times a learned scale."""

    official = OFFICIAL

    Config = VitaCLIPConfig

    def __init__(self, backbone: Backbone, config: VitaCLIPConfig) -> None:
        """Draw the prompts and free the backbone's logit scale."""
        super().__init__(backbone, config)
        self.config: VitaCLIPConfig
        self.encoder = VitaEncoder(
            backbone,
            num_frames=config.num_frames,
            num_global=config.num_global if config.use_global else 0,
            local=config.use_local,
            summary=config.use_summary,
        )
        self.context = None
        if config.context_length:
            width = backbone.clip.token_embedding.embedding_dim
            vectors = torch.empty(config.context_length, width).normal_(
                std=0.02
            )  # (context_length, w)
            self.context = nn.Parameter(vectors)
        for name, parameter in self.named_parameters():
            if ".class_projection." in name:
                parameter.requires_grad_(config.train_cls_proj)
        scale = backbone.clip.logit_scale.requires_grad_()
        if config.logit_scale_init != "clip":
            nn.init.constant_(scale, config.logit_scale_init)

    def saved_parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, and the class projections: random where they are frozen."""
        return {
            name: p
            for name, p in self.named_parameters()
            if p.requires_grad or ".class_projection." in name
        }

    def encode_labels(self, labels: Sequence[str]) -> PromptedNames | Float[Tensor, "K e"]:
        """The names, each with a full stop, behind places for the context.

        Without learned context there is nothing left to do: their features.
        """
        form = "spaced" if self.config.spaced_names else "raw"
        names = place_names(
            self.backbone,
            label_texts(labels, form=form),
            before=self.config.context_length,
            suffix=".",
        )
        if self.context is not None:
            return names
        with torch.no_grad():
            return self.backbone.encode_embedded(names.embedded, names.eot)

    def text_features(self, encoded: PromptedNames | Float[Tensor, "K e"]) -> Float[Tensor, "K e"]:
        """The names read by the frozen text tower, the context put in place."""
        if self.context is None:
            assert isinstance(encoded, Tensor)
            return encoded
        assert isinstance(encoded, PromptedNames)
        behind = encoded.embedded.shape[1] - 1 - len(self.context)
        rows = F.pad(self.context, (0, 0, 1, behind))  # (n, w)
        return self.backbone.encode_embedded(encoded.filled(rows), encoded.eot)

    def view_logits(self, batch: ClipBatch, text: Float[Tensor, "K e"]) -> Float[Tensor, "SV K"]:
        """A row per view, so many clips at once as bound the memory."""
        images = pixels_of(batch.pictures)
        rows = self.by_view(torch.arange(len(images), device=images.device), batch)  # (S * V, T)
        at_once = max(1, AT_ONCE // self.config.num_frames)
        clips = [self.encoder(self.backbone, images[part]) for part in rows.split(at_once)]
        scale = self.backbone.logit_scale
        return scale * cosine(torch.cat(clips), text, dtype=scale.dtype)
