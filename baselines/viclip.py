"""ViCLIP (InternVid, Wang et al., ICLR 2024, arXiv 2307.06942) as a detector of actions.

CLIP whose image tower attends over the patches of all frames of a clip, trained on ten million
videos with captions. Huang et al. 2025 (section 5.2) fine-tune its image tower and pool each person
from the mean feature map of the frames: RoIAlign, then the maximum over bins. Pretraining compared
the class token alone with texts, so patches know them less.

Shape letters: see `stclip.methods`; c channels of a map: e where it is projected, else d.
"""

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor, nn

from baselines.viclip_config import ViCLIPConfig
from baselines.viclip_encoder import VideoEncoder, mean_map
from baselines.viclip_names import OFFICIAL
from stclip.errors import ConfigError
from stclip.inputs.batch import Batch, Inputs, pixels_of
from stclip.methods.clip.backbone import AT_ONCE, Backbone, cosine
from stclip.methods.clip.weights import TEMPERATURE
from stclip.methods.contract import Method
from stclip.methods.layers.roi import roi_align

PERSONS_AT_ONCE = 256  # boxes that are pooled in one pass: bounds the memory of their maps


class ViCLIP(Method):
    """Cosine of each person's part of the video's feature map and each label text."""

    official = OFFICIAL

    Config = ViCLIPConfig

    def __init__(self, backbone: Backbone, config: ViCLIPConfig) -> None:
        """Un-freeze the backbone's image tower; its text tower stays as it is."""
        super().__init__(backbone, config)
        self.config: ViCLIPConfig
        if config.around == "clip":
            self.inputs = Inputs(
                unit="clip", boxes=True, num_frames=config.num_frames, sampling=config.sampling
            )
        else:
            before = config.num_frames // 2
            after = config.num_frames - 1 - before
            self.inputs = Inputs(unit="person", before=before, after=after)
        self.encoder = VideoEncoder(
            backbone, num_frames=config.num_frames, drop_path=config.drop_path
        )
        self.temperature = nn.Parameter(
            torch.tensor(config.temperature), requires_grad=config.learn_temperature
        )
        if config.learn_temperature and TEMPERATURE in backbone.extra:
            with torch.no_grad():
                self.temperature.copy_(backbone.extra[TEMPERATURE])

    def logits(self, batch: Batch, text: Float[Tensor, "K e"]) -> Float[Tensor, "B K"]:
        """Each box's logits, from the map of its clip (or of the frames around its key frame)."""
        images = pixels_of(batch.pictures)
        at_once = max(1, AT_ONCE // self.config.num_frames)
        maps = torch.cat([self._map(images[rows]) for rows in self._frames(batch).split(at_once)])
        persons = self._persons(maps, batch.picture_boxes, batch.box_sample)  # (B, e)
        if self.config.learn_temperature:
            with torch.no_grad():
                self.temperature.clamp_(min=0.01)
        return cosine(persons, text, dtype=text.dtype) / self.temperature

    def _frames(self, batch: Batch) -> Integer[Tensor, "S T"]:
        """The pictures of each sample; where there are fewer than T, the last one again.

        Raises:
            ConfigError: there are more.
        """
        rows, num_frames = batch.frames, self.config.num_frames
        missing = num_frames - rows.shape[1]
        if missing < 0:
            raise ConfigError(
                f"ViCLIP takes {num_frames} frames, not {rows.shape[1]}; set num_frames."
            )
        # What only fills a window up is its last frame too, so it counts like any other.
        return torch.cat([rows, rows[:, -1:].expand(-1, missing)], 1)

    def _map(self, clips: Shaped[Tensor, "C T 3 H W"]) -> Float[Tensor, "C c gy gx"]:
        """Feature maps of some clips, the mean over time."""
        tokens = self.encoder(self.backbone, clips)
        grid = self.backbone.clip.visual.grid_size
        found = mean_map(tokens, grid=grid, num_frames=clips.shape[1])
        if self.config.project == "after":
            return found
        return self.backbone.project(found.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _persons(
        self,
        maps: Float[Tensor, "S c gy gx"],
        boxes: Float[Tensor, "B 4"],
        box_sample: Integer[Tensor, " B"],
    ) -> Float[Tensor, "B e"]:
        """Features of persons, from boxes in pixels of the pictures."""
        height, width = self.backbone.clip.visual.patch_size
        cells = boxes / boxes.new_tensor([width, height, width, height])
        pooled = torch.cat(
            [
                roi_align(maps, some, of).amax((2, 3))
                for some, of in zip(
                    cells.split(PERSONS_AT_ONCE), box_sample.split(PERSONS_AT_ONCE), strict=True
                )
            ]
        )
        return pooled if self.config.project == "before" else self.backbone.project(pooled)
