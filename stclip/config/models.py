"""The settings as records: one class per section of config/*.yaml, unknown keys refused."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Interpolation = Literal["bicubic", "bilinear"]
CropMode = Literal["center", "squash", "pad", "context"]
FeatureKind = Literal["frames", "boxes", "objects"]  # what stored features are of


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Download(Strict):
    """A file to download and how to know that it is whole."""

    url: str  # https://..., file:PATH (relative to the working folder) or manual:PAGE
    sha256: str | None = None
    sha256_prefix: str | None = None  # for sources that publish no more, as torchvision's names
    md5: str | None = None
    checksums: str | None = None  # url of a `sha256sum` listing that names the file

    @model_validator(mode="after")
    def _one_checksum(self) -> Self:
        given = [k for k in ("sha256", "sha256_prefix", "md5", "checksums") if getattr(self, k)]
        if not given and self.url.startswith("manual:"):  # some pages publish none
            return self
        if len(given) != 1:
            raise ValueError(f"{self.url}: give exactly one checksum, got {given or 'none'}")
        return self


class BoxSource(Strict):
    """Which boxes are scored, and the filter applied when detections are read."""

    source: Literal["detections", "ground_truth"]
    within: float | None = None  # keep score > best score of the frame - within (paper: S - T)
    top: int | None = Field(default=None, ge=1)  # keep the best `top` boxes of a frame


class EveryFrames(Strict):
    """Every n-th frame of a test clip is a key frame."""

    rule: Literal["every"]
    frames: int = Field(default=1, ge=1)


class AnnotatedFrames(Strict):
    """The frames with a ground-truth box are key frames, the others belong to no action."""

    rule: Literal["annotated"]


class Seconds(Strict):
    """One key frame a second, as in AVA; excluded seconds count on neither side."""

    rule: Literal["seconds"]
    start: float = 0  # the second in which the prepared frame 0 lies
    first: int  # second of the first key frame
    last: int  # of the last one
    excluded: str | None = None  # csv `video,second` among the archives

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.start <= self.first <= self.last:
            raise ValueError(f"start {self.start} <= first {self.first} <= last {self.last} fails")
        return self


KeyFrameRule = Annotated[EveryFrames | AnnotatedFrames | Seconds, Field(discriminator="rule")]


class Metric(Strict):
    """A metric of a run's score files."""

    name: Literal["frame_map", "video_map"]
    protocol: str  # a key of stclip.evaluate.protocol.PROTOCOLS, or of VIDEO_PROTOCOLS
    iou: list[float | Literal["0.5:0.95"]] = Field(min_length=1)  # frame_map has one


class LinkingConfig(Strict):
    """How long a track may pause and must last; boxes are linked as ACT does."""

    patience_s: float = Field(default=1 / 6, gt=0)  # without a box, before a track ends
    min_length_s: float = Field(default=0.5, ge=0)  # of a tube that video mAP judges


class DatasetForm(Strict):
    """One form in which a data set is published, and who reads it."""

    target: str  # module:function that prepares it
    archives: dict[str, Download]  # file name under raw/ -> where from
    params: dict[str, Any] = {}  # keyword arguments of the target, beside the data set's own


class DatasetConfig(Strict):
    """One data set, resolved: where it comes from, who reads it, how it is tested."""

    title: str
    benchmark: str = Field(pattern=r"^[a-z0-9-]+$")  # its name in metrics and tables
    version: int = Field(ge=1)  # raised when its protocol changes: clips, key frames, metrics
    licence: str
    citation: str
    form: str  # the name of the form that is read
    extracted: str | None = None  # folder of an unpacked copy, read in place of the archives
    target: str  # of that form
    archives: dict[str, Download]  # of that form; none where there is an unpacked copy
    params: dict[str, Any] = {}  # the data set's and that form's
    frame_store: Literal["decoded"] = "decoded"  # how frames lie on the disk; one way so far
    test_split: Literal["test", "val"] = "test"  # the official split that is tested
    key_frames: KeyFrameRule = EveryFrames(rule="every")
    label_text: Literal["raw", "spaced", "words"] = "raw"  # words: CamelCase is parted too
    exclusive_labels: list[str] | None = None  # share a softmax, others a sigmoid each; null: all
    scored_labels: Literal["apart", "together"] = "apart"  # unseen and base ones
    voting: bool = True  # whether a clip shows one action, so that its boxes may vote
    linking: LinkingConfig = LinkingConfig()
    metrics: list[Metric]
    boxes: dict[str, BoxSource]
    family: str = "st-clip"  # of label splits: splits/{dataset}/{family}/
    splits: list[str] = Field(min_length=1)
    detector: str  # a detector of the scale
    objects: str | None = None  # another, whose boxes are of everything but persons

    @model_validator(mode="after")
    def _one_frame_map(self) -> Self:
        names = [metric.name for metric in self.metrics]
        if names.count("frame_map") != 1 or names.count("video_map") > 1:
            raise ValueError(f"metrics: exactly one frame_map, at most one video_map; got {names}")
        if len(self.frame_map.iou) != 1 or isinstance(self.frame_map.iou[0], str):
            raise ValueError(f"metrics: frame_map has one iou, a number; got {self.frame_map.iou}")
        return self

    @property
    def frame_map(self) -> Metric:
        """The metric that tables show."""
        return next(metric for metric in self.metrics if metric.name == "frame_map")

    @property
    def video_map(self) -> Metric | None:
        """The metric of tubes, if the data set has one."""
        return next((metric for metric in self.metrics if metric.name == "video_map"), None)

    def benchmark_of(self, family: str) -> str:
        """Names the data set's protocol and a family of label splits: zs-jhmdb/st-clip@1."""
        return f"{self.benchmark}/{family}@{self.version}"


Colours = tuple[FiniteFloat, FiniteFloat, FiniteFloat]  # red, green, blue in 0..1


def _all_positive(values: Colours) -> Colours:
    if min(values) <= 0:
        raise ValueError(f"above 0 are expected; got {values}")
    return values


class Statistics(Strict):
    """Mean and standard deviation that pictures are normalised by."""

    mean: Colours
    std: Annotated[Colours, AfterValidator(_all_positive)]


StatisticsName = Literal["clip", "imagenet", "inception"]


class ModelPreprocessing(Strict):
    """How the pictures were made that a CLIP was trained on; methods may say otherwise."""

    frame_mode: Literal["cover", "squash"] = "cover"
    interpolation: Interpolation = "bicubic"
    statistics: StatisticsName | Statistics = "clip"


class BackboneConfig(Strict):
    """A CLIP: an open_clip model and its weights."""

    model: str  # open_clip model name, or path of a model config (.json), `package:...`
    weights: str | None  # path, `package:...`, or null for random weights
    preprocessing: ModelPreprocessing | None = None  # of its training; null: as `model` says

    @model_serializer(mode="wrap")
    def _without_what_is_unsaid(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        if self.preprocessing is None:  # so that runs keep their keys
            del content["preprocessing"]
        return content


class FinetuneConfig(Strict):
    """Fine-tuning of a detector on the persons of a split's training clips."""

    epochs: int = Field(ge=1)
    frame_stride: int = Field(default=1, ge=1)  # every n-th frame of a training clip
    batch_frames: int = Field(default=8, ge=1)
    lr: float = Field(gt=0)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_steps: int = Field(default=0, ge=0)  # linear from 0; then a cosine down to 0
    frozen: list[str] = []  # parts that keep their weights, as backbone.body.conv1
    flip: bool = True  # mirror every second picture, by chance
    seed: int = Field(default=0, ge=0)


class DetectorConfig(Strict):
    """A source of boxes: of persons, or of everything else."""

    target: str  # module:Class, a `stclip.detect.backends.backend.Backend`
    params: dict[str, Any] = {}  # checked by the backend's own Config
    weights: str | None = None  # where fine-tuning begins, if there is any
    files: dict[str, str] = {}  # whatever else the backend reads: name -> path
    batch_frames: int = Field(default=8, ge=1)
    score_threshold: float = Field(default=0.05, ge=0, le=1)  # boxes below are not stored
    precision: Literal["fp32", "bf16"] = "fp32"
    finetune: FinetuneConfig | None = None
    datasets: list[str] = []  # those it has boxes for; none named: all
    by_hand: str | None = None  # what a person must do before it can be used

    @property
    def finds_objects(self) -> bool:
        """Whether it is asked for everything but persons; every backend calls the param so."""
        return bool(self.params.get("objects", False))

    @model_validator(mode="after")
    def _finetuned_to_persons(self) -> Self:
        if self.finds_objects and self.finetune:
            raise ValueError("fine-tuning is to persons: drop `finetune` or `params.objects`")
        return self


class Preprocessing(Strict):
    """How frames and boxes become the backbone's pictures, and whose statistics normalise them."""

    frame_mode: Literal["cover", "squash"] = "cover"  # cut the middle, or lose the aspect ratio
    enlarge: float = Field(default=1.0, ge=1)  # shorter side, over that of the picture cut from it
    interpolation: Interpolation = "bicubic"
    statistics: StatisticsName | Statistics = "clip"
    crop_mode: CropMode = "center"  # of boxes, see stclip.inputs.preprocess.crop_box
    crop_scale: float = Field(default=1.0, gt=0)  # box sides are multiplied by this before cutting

    @model_validator(mode="after")
    def _squashed_whole(self) -> Self:
        if self.frame_mode == "squash" and self.enlarge != 1:
            raise ValueError("frame_mode squash keeps the whole frame; enlarge must be 1")
        return self


class Augmentation(Strict):
    """Chance in the pictures of a training clip; what is not named here is the same in all frames.

    Of whole frames of clips and tracklets; nothing changes key frames or persons cut out.
    """

    crop: Literal["none", "multi_scale_5", "multi_scale_13", "random_resized"] = "none"
    flip: float = Field(default=0.0, ge=0, le=1)  # probability of mirroring
    jitter: float = Field(default=0.0, ge=0, le=1)  # of other colours, in each frame others
    greyscale: float = Field(default=0.0, ge=0, le=1)
    rand_augment: str | None = None  # timm's notation, rand-m7-n4-mstd0.5-inc1


class TrainConfig(Strict):
    """Optimiser and schedule (Huang et al. 2025, Tables 19-21)."""

    iterations: int = Field(ge=0)
    batch_frames: int = Field(default=8, ge=1)  # key frames (or clips) per step, over all GPUs
    lr: float = Field(default=2.5e-4, gt=0)
    momentum: float = 0.9
    weight_decay: float = 1e-7
    warmup_iterations: int = Field(default=0, ge=0)
    warmup_factor: float = 0.25
    loss: Literal["focal", "ce"] = "focal"
    focal_gamma: float = 2.0
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    augmentation: Augmentation = Augmentation()
    optimizer: Literal["sgd", "adamw"] = "sgd"
    max_boxes: int = Field(default=10, ge=1)  # ground-truth boxes of a key frame, random subset
    checkpoint_every: int = Field(default=500, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False  # the image tower's blocks, by torch.compile


class ScoreConfig(Strict):
    """How scoring is computed: the same numbers but for rounding."""

    batch_frames: int = Field(default=32, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False


class MethodConfig(Strict):
    """One method on one data set at one scale, resolved: everything that makes a run."""

    name: str
    title: str
    target: str  # module:Class
    order: int  # its place in the tables
    assumptions: list[Literal["independent", "voted"]]  # voted: with single-action soft voting
    backbone: BackboneConfig
    label_text: Literal["raw", "spaced", "words"]
    exclusive_labels: list[str] | None = None
    patience_s: float = LinkingConfig().patience_s  # of tracks of detected boxes, by the data set
    preprocessing: Preprocessing = Preprocessing()
    features: list[FeatureKind] = []  # read the frozen backbone's stored features of these
    objects: bool = False  # whether boxes of objects are read
    params: dict[str, Any] = {}  # checked by the method's own Config
    train: TrainConfig
    score: ScoreConfig = ScoreConfig()


class Variant(BaseModel):
    """What a variant of a method replaces; keys beside the title are checked with the method's."""

    model_config = ConfigDict(extra="allow", frozen=True)

    title: str


class Variants(Strict):
    """The variants of a method, by name."""

    variants: dict[str, Variant]


class Rendering(Strict):
    """How a data set's archives are drawn."""

    target: str  # module:function(out, *, workers, **params)
    files: list[str] = Field(min_length=1)  # what it writes into data/{scale}/source/{dataset}/
    params: dict[str, Any] = {}


class Miniature(Strict):
    """What `stclip mini ...` draws and trains."""

    render: dict[str, Rendering] = {}  # by data set
    clip: dict[str, Any] = {}  # arguments of the tiny CLIP's pre-training
    detector: dict[str, Any] = {}  # and of the tiny detector's training


class Scale(Strict):
    """All that differs between mini and paper; the keys override those of methods and data sets."""

    title: str
    published: bool  # whether the paper's values stand beside ours in the tables
    backbones: dict[str, BackboneConfig]
    detectors: dict[str, DetectorConfig] = {}
    miniature: Miniature = Miniature()  # what is drawn and trained in place of downloads
    models: dict[str, Download] = {}  # file name under data/{scale}/models/ -> where from
    datasets: dict[str, dict[str, Any]] = {}
    methods: dict[str, dict[str, Any]] = {}  # "*" holds for all
    resources: dict[str, dict[str, int]] = {}  # per rule: threads, gpu, mem_mb, runtime
