"""A5 of "Prompting Visual-Language Models for Efficient Video Understanding" (Ju et al. 2022).

(arXiv 2112.04478; also called Efficient-Prompting.) CLIP is frozen. Its features of a clip's frames
go through two transformer blocks and are averaged; a class name stands between learned vectors in
front of CLIP's text tower. Trained are the blocks, the frames' positions and the vectors: 6.35 M
parameters, as the benchmark has it (Huang et al. 2025, section 5.2).

Shape letters: see `stclip.methods`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from baselines.a5_config import A5Config
from baselines.a5_names import OFFICIAL
from stclip.inputs.batch import ClipBatch
from stclip.methods.clip.backbone import Backbone, cosine
from stclip.methods.layers.name_prompt import PromptedNames, place_names
from stclip.methods.layers.temporal_transformer import TemporalTransformer
from stclip.methods.layers.video import VideoMethod

STD = 0.01  # of the initial prompt vectors and positions


class A5(VideoMethod):
    """Learned vectors around class names, a small transformer over frames."""

    official = OFFICIAL
    takes_features = True

    Config = A5Config

    def __init__(self, backbone: Backbone, config: A5Config) -> None:
        """Add what is learned, initialised as released; CLIP stays as it is."""
        super().__init__(backbone, config)
        self.config: A5Config
        # One vector for each position of a text, not for each place before or behind a name: the
        # vectors behind a long name are those of later rows than behind a short one.
        context, width = backbone.clip.positional_embedding.shape
        self.prompts = nn.Parameter(torch.empty(context, width))
        nn.init.normal_(self.prompts, std=STD)
        self.temporal = None
        if config.layers:
            self.temporal = TemporalTransformer(
                backbone.embed_dim,
                layers=config.layers,
                num_positions=config.num_frames,
                residual=False,
            )
            nn.init.normal_(self.temporal.positions, std=STD)

    def encode_labels(self, labels: Sequence[str]) -> PromptedNames:
        """The names with gaps for the learned vectors around them; no template."""
        before, after = self.config.prefix, self.config.postfix
        return place_names(self.backbone, labels, before=before, after=after)

    def text_features(self, encoded: PromptedNames) -> Float[Tensor, "K e"]:
        """Features of the names with the learned vectors; not normalised.

        Nothing behind the longest name's end is computed: the text tower is causal.
        """
        rows = self.prompts[: encoded.embedded.shape[1]]  # (n, w)
        return self.backbone.encode_embedded(encoded.filled(rows), encoded.eot)

    def view_logits(self, batch: ClipBatch, text: Float[Tensor, "K e"]) -> Float[Tensor, "SV K"]:
        """Similarity of each view and each text."""
        frames = self.by_view(self.image_features(batch.pictures), batch)  # (SV, T, e)
        video = frames.mean(1) if self.temporal is None else self.temporal(frames)  # (SV, e)
        dtype = self.prompts.dtype
        if self.config.normalise:
            return cosine(video, text, dtype=dtype) / self.config.temperature
        with torch.autocast(video.device.type, enabled=False):
            return video.to(dtype) @ text.to(dtype).T
