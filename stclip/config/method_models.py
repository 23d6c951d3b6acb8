"""The settings of methods as records: training, pictures, scoring."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from stclip.config.fields import BARE_LABEL, Formed, OfTarget, Once, Precision, Templates
from stclip.config.names import check_name
from stclip.config.strict import Strict
from stclip.config.target import resolved_params

CropMode = Literal["center", "squash", "pad", "context"]
FeatureKind = Literal["frames", "boxes", "objects"]  # what stored features are of
LabelText = Literal["raw", "spaced", "words"]
MemoryEvery = Literal["frame", "second"]
MemoryPool = Literal["full", "visited"]  # frames of a memory: all, or those seen as samples before
LoraPlacement = Literal["mlp", "c_fc", "c_proj", "attention", "all"]  # layers of an image block
RAND_AUGMENT = r"rand(-([mnp]|mstd)\d+(\.\d+)?|-(mmax\d+|inc[01]|t\w+))*"  # as timm reads it


Interpolation = Literal["bicubic", "bilinear"]
StatisticsName = Literal["clip", "imagenet", "inception"]
Colours = tuple[float, float, float]  # red, green, blue in 0..1


def _all_positive(values: Colours) -> Colours:
    if min(values) <= 0:
        raise ValueError(f"above 0 are expected; got {values}")
    return values


class Statistics(Strict):
    """Mean and standard deviation that pictures are normalised by."""

    mean: Colours
    """of red, green and blue in 0..1"""
    std: Annotated[Colours, AfterValidator(_all_positive)]
    """their standard deviation"""


class ModelPreprocessing(Strict):
    """How the pictures were made that a CLIP was trained on; methods may say otherwise."""

    frame_mode: Literal["cover", "squash"] = "cover"
    """whole frames: `cover` (cut the middle), or `squash` (lose the aspect ratio)"""
    interpolation: Interpolation = "bicubic"
    """how pictures are resized"""
    statistics: StatisticsName | Statistics = "clip"
    """whose mean and deviation normalise, or these themselves"""


class BackboneConfig(Strict):
    """A CLIP: an open_clip model and its weights."""

    model: str
    """open_clip model name, or path of a model config, as `package:...` inside the package"""
    weights: str | None
    """path, `package:...`, or null: random"""
    preprocessing: ModelPreprocessing | None = None
    """how the pictures of its training were made; null: as the model config says, else as CLIP's;
    [docs/backbones.md](../docs/backbones.md)"""

    @model_serializer(mode="wrap")
    def _without_what_is_unsaid(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        if self.preprocessing is None:  # so that runs keep their keys
            del content["preprocessing"]
        return content

    @property
    def files(self) -> list[str]:
        """Its files as they are named here: weights, and a model config if there is one."""
        model = [self.model] if self.model.endswith(".json") else []
        return [*([self.weights] if self.weights else []), *model]


class Preprocessing(ModelPreprocessing):
    """How frames and boxes become the backbone's pictures; by default as its training's did."""

    enlarge: float = Field(default=1.0, ge=1)
    """shorter side of a whole frame over that of the picture cut from its middle; 256 / 224 in
    many video methods"""
    crop_mode: CropMode = "center"
    """boxes cut out: `center` as CLIP does, `squash`, `pad`, `context` (widened to the picture's
    shape)"""
    crop_scale: float = Field(default=1.0, gt=0)
    """box sides are multiplied by this before cutting"""

    @model_validator(mode="after")
    def _squashed_whole(self) -> "Preprocessing":
        if self.frame_mode == "squash" and self.enlarge != 1:
            raise ValueError("frame_mode squash keeps the whole frame; enlarge must be 1")
        return self


class Augmentation(Strict):
    """Chance in the pictures of a training clip; what is not named here is the same in all frames.

    Of whole frames of clips and tracklets; nothing changes key frames or persons cut out.
    """

    crop: Literal["none", "multi_scale_5", "multi_scale_13", "random_resized"] = "none"
    """how a part is cut out, the same of all frames"""
    flip: float = Field(default=0.0, ge=0, le=1)
    """probability of mirroring"""
    jitter: float = Field(default=0.0, ge=0, le=1)
    """probability of other colours, in each frame others"""
    greyscale: float = Field(default=0.0, ge=0, le=1)
    """probability of grey pictures"""
    rand_augment: str | None = Field(default=None, pattern=f"^{RAND_AUGMENT}$")
    """timm's notation, as `rand-m7-n4-mstd0.5-inc1`"""


class TrainConfig(Strict):
    """Optimiser and schedule (Huang et al. 2025, Tables 19-21)."""

    iterations: int = Field(ge=0)
    """optimiser steps; 0: nothing is trained"""
    batch_frames: int = Field(default=8, ge=1)
    """key frames (or clips, tracklets) per step, over all GPUs; at least one each"""
    lr: float = Field(default=2.5e-4, gt=0)
    """learning rate, the same for every trained tensor unless the method has groups"""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """of `sgd`"""
    weight_decay: float = Field(default=1e-7, ge=0)
    """the same for every trained tensor unless the method has groups"""
    warmup_iterations: int = Field(default=0, ge=0)
    """steps in which the rate grows linearly from factor x lr to lr; then it is constant"""
    warmup_factor: float = Field(default=0.25, ge=0, le=1)
    """that factor"""
    loss: Literal["focal", "ce"] = "focal"
    """focal loss or (`ce`) cross-entropy"""
    focal_gamma: float = Field(default=2.0, ge=0)
    """exponent of the focal loss"""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """share of a row that all labels get"""
    augmentation: Augmentation = Augmentation()
    """chance in the frames of clips and tracklets, alike in all of them; key frames stay as they
    are"""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """the optimiser"""
    max_boxes: int = Field(default=10, ge=1)
    """ground-truth boxes used of a key frame, a random subset"""
    checkpoint_every: int = Field(default=500, ge=1)
    """steps between checkpoints that an interrupted training resumes from"""
    precision: Precision = "fp32"
    """full, or by autocast half; `auto`: half on a GPU that has bf16, full on a CPU"""
    compile: bool = False
    """torch.compile the image tower's blocks: same numbers but for rounding; the first batches
    compile, see [docs/speed.md](../docs/speed.md)"""


class ScoreConfig(Strict):
    """How scoring is computed: the same numbers but for rounding."""

    batch_frames: int = Field(default=32, ge=1)
    """key frames per batch; changes no number"""
    precision: Precision = "fp32"
    """full, or by autocast half; `auto`: half where the device has bf16 and, on a CPU, a trial says
    that it pays, see [docs/speed.md](../docs/speed.md)"""
    compile: bool = False
    """as `train.compile`"""


class TwoScores(Strict):
    """Persons' boxes are linked in two rounds by detector score, as ByteTrack does."""

    high: float = Field(default=0.6, ge=0, le=1)
    """score from which a box is of the first round; the others take the tracks that are left"""
    iou: float = Field(default=0.2, gt=0, le=1)
    """least overlap with a track's last box"""
    low_iou: float = Field(default=0.5, gt=0, le=1)
    """that in the second round"""


class Variant(BaseModel):
    """What a variant of a method replaces; keys beside the title are checked with the method's."""

    model_config = ConfigDict(extra="allow", frozen=True)

    title: str
    """name in tables"""

    @model_validator(mode="after")
    def _known_keys(self) -> "Variant":
        for key in self.model_extra or {}:
            check_name(key, {*MethodFile.model_fields, "datasets"}, what="key")
        return self


class Variants(Strict):
    """The variants of a method, by name."""

    variants: Annotated[dict[str, Variant], Formed] = Field(default={})
    """variants, by name: a title and the keys that `METHOD+NAME` replaces (`params`, `train`,
    ...)"""


class _MethodKeys(Strict):
    """What a method's YAML says, and stays as it is in the resolved settings."""

    title: str
    """name in tables"""
    target: str
    """`module:Class`, a `stclip.methods.contract.Method`"""
    order: int
    """its place in tables"""
    assumptions: Annotated[list[Literal["independent", "voted"]], Once] = Field(min_length=1)
    """rows in Table 2; `voted`: with soft voting over a clip (the single-action assumption)"""
    preprocessing: Preprocessing = Preprocessing()
    """how frames and boxes become the backbone's pictures"""
    features: Annotated[list[FeatureKind], Once] = Field(default=[])
    """of what stored features of the frozen backbone are read in place of pictures; where the
    method takes them and no picture is changed by chance"""
    objects: bool = False
    """whether boxes of objects are read (the data set's `objects`); as the method itself says"""
    params: dict[str, Any] = Field(default={}, validate_default=True)
    """the class's own `Config`, below"""
    train: TrainConfig
    """optimiser and schedule"""
    score: ScoreConfig = ScoreConfig()
    """how scoring is computed"""


class MethodFile(_MethodKeys):
    """The keys that a method's YAML, with what is laid over it, may have."""

    backbone: str
    """a backbone of the scale"""


class MethodConfig(_MethodKeys, OfTarget):
    """One method on one data set at one scale, resolved: everything that makes a run."""

    name: str
    backbone: BackboneConfig
    label_text: LabelText
    label_templates: Templates = BARE_LABEL
    exclusive_labels: list[str] | None = None
    patience_s: float = Field(default=1 / 6, gt=0)  # of tracks of detected boxes, by the data set
    two_scores: TwoScores | None = None  # of the same, by the data set

    @field_validator("params")
    @classmethod
    def _own_params(cls, params: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """All of the method's own settings: what the code has by default moves hashes too."""
        return resolved_params(info.data["target"], params) if "target" in info.data else params
