"""The settings as records: one class per section of config/*.yaml, unknown keys refused.

Here those of data sets and scales; those of methods and detectors have modules of their own.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stclip.config.detector_models import DetectorConfig
from stclip.config.download_models import Download, FileList
from stclip.config.fields import BARE_LABEL, Formed, LocalPath, OfTarget, Once, Templates
from stclip.config.method_models import BackboneConfig, LabelText, TwoScores
from stclip.config.names import check_name
from stclip.config.strict import Strict


class BoxSource(Strict):
    """Which boxes are scored, and the filter applied when detections are read."""

    source: Literal["detections", "ground_truth"]
    """which boxes"""
    within: float | None = Field(default=None, ge=0)
    """keep boxes of score > best of the frame - within (paper: S - T); of detections"""
    top: int | None = Field(default=None, ge=1)
    """keep the best so many of a frame; of detections"""

    @model_validator(mode="after")
    def _filters_have_scores(self) -> Self:
        if self.source == "ground_truth" and (self.within is not None or self.top is not None):
            raise ValueError("ground truth has no scores: `within` and `top` are of detections")
        return self


class EveryFrames(Strict):
    """Every n-th frame of a test clip is a key frame."""

    rule: Literal["every"]
    """every n-th frame"""
    frames: int = Field(default=1, ge=1)
    """that n"""


class AnnotatedFrames(Strict):
    """The frames with a ground-truth box are key frames, the others belong to no action."""

    rule: Literal["annotated"]
    """the frames with a ground-truth box"""
    frames: int = Field(default=1, ge=1)
    """of them, those whose number it divides"""


class Seconds(Strict):
    """One key frame a second, as in AVA; excluded seconds count on neither side."""

    rule: Literal["seconds"]
    """one a second"""
    start: float = Field(default=0, ge=0)
    """the second in which the prepared frame 0 lies"""
    first: int
    """second of the first key frame"""
    last: int
    """of the last one"""
    excluded: Annotated[list[str], Once] = Field(default=[])
    """csv files of (video, second) among the archives, `a.zip/b.csv` is one in an archive: rows
    that are no key frames"""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.start <= self.first <= self.last:
            raise ValueError(f"start {self.start} <= first {self.first} <= last {self.last} fails")
        return self


KeyFrameRule = Annotated[EveryFrames | AnnotatedFrames | Seconds, Field(discriminator="rule")]
Overlap = Annotated[float, Field(gt=0, le=1)]
# The evaluators of `stclip.evaluate`, by metric; named here as they are checked before it is there.
PROTOCOLS = {
    "frame_map": ("iclip", "tf", "activitynet", "hit", "act"),
    "video_map": ("act", "multisports"),
}


class Metric(Strict):
    """A metric of a run's score files."""

    name: Literal["frame_map", "video_map"]
    """exactly one is `frame_map`, at most one `video_map`"""
    protocol: str
    """`iclip`, `tf`, `activitynet`, `hit`, `act`; of `video_map` `act`, `multisports`
    ([protocol.md](../docs/protocol.md))"""
    iou: Annotated[list[Overlap | Literal["0.5:0.95"]], Once] = Field(min_length=1)
    """thresholds; `frame_map` has one, `video_map` may have `0.5:0.95`"""

    @model_validator(mode="after")
    def _known_protocol(self) -> Self:
        check_name(self.protocol, PROTOCOLS[self.name], what=f"protocol of {self.name}")
        return self


class LinkingConfig(Strict):
    """How long a track may pause and must last; boxes are linked as ACT does."""

    patience_s: float = Field(default=1 / 6, gt=0)
    """seconds without a box, before a track ends"""
    min_length_s: float = Field(default=0.5, ge=0)
    """seconds of a tube that video mAP judges, at least"""
    two_scores: TwoScores | None = None
    """how detected boxes become persons' tracks, for methods that look at them, where they are
    linked otherwise than tubes are: in two rounds by score, each the assignment of most overlap.
    null: as tubes are"""


class DatasetForm(Strict):
    """One form in which a data set is published, and who reads it."""

    target: str
    """`module:function` that prepares it"""
    archives: dict[str, Download]
    """file name under `raw/` -> where from, as downloads below"""
    lists: list[FileList] = Field(default=[])
    """files of which there are many, beside `archives`"""
    params: dict[str, Any] = Field(default={})
    """its keyword arguments, beside the data set's"""


LabelGroup = Annotated[list[str], Field(min_length=1), Once]


class _DatasetKeys(Strict):
    """What a data set's YAML says, and stays as it is in the resolved settings."""

    title: str
    """name in tables; shown when the data are fetched, as licence and citation are"""
    licence: str
    """of the data"""
    citation: str
    """of whom to cite"""
    benchmark: str = Field(pattern=r"^[a-z0-9-]+$")
    """name of the protocol; with family of label splits and version it stands in every
    `metrics.json` and table: `zs-jhmdb/st-clip@1`"""
    version: int = Field(ge=1)
    """raised when clips, boxes, key frames or metrics change their meaning"""
    form: str
    """which of `forms` is read"""
    extracted: LocalPath | None = None
    """path of an unpacked copy of that form, `~` and `$NAME` allowed; nothing is downloaded then
    ([docs/data.md](../docs/data.md))"""
    params: dict[str, Any] = Field(default={})
    """keyword arguments of every form's target"""
    frame_store: Literal["decoded", "jpeg"] = "decoded"
    """how prepared frames lie on the disk, one file a clip: `decoded`, memory-mapped pixels;
    `jpeg`, a tenth of that, decoded when they are read ([docs/data.md](../docs/data.md))"""
    test_split: Literal["test", "val"] = "test"
    """the official split that is tested"""
    key_frames: KeyFrameRule = EveryFrames(rule="every")
    """which frames of tested clips are scored and evaluated, by a `rule`; of training clips the
    annotated ones"""
    label_text: LabelText = "raw"
    """what the text tower reads: official names `raw`; `spaced`, underscores become spaces;
    `words`, CamelCase is parted too"""
    label_templates: Templates = BARE_LABEL
    """texts around a label, of which `{}` is the place: `["a person {}"]`. Several are averaged
    (features normalised first) for methods that only read the texts' features; others take one
    ([protocol.md](../docs/protocol.md)). The bare label by default"""
    exclusive_labels: Annotated[list[str], Once] | None = None
    """labels that exclude each other and share a softmax; the others get a sigmoid each, and the
    loss follows. null: all exclude each other"""
    scored_labels: Literal["apart", "together"] = "apart"
    """`apart`: unseen labels on clips of unseen classes, base labels on the others; `together`: all
    labels of the split on every tested clip, means over each group"""
    label_groups: Annotated[dict[str, LabelGroup], Formed] = Field(default={})
    """kinds of labels, by name, of which `metrics.json` has means beside those of unseen and base
    labels ([protocol.md](../docs/protocol.md))"""
    voting: bool = True
    """whether a clip shows one action, so that its boxes may vote"""
    linking: LinkingConfig = LinkingConfig()
    """of boxes into tracks and tubes"""
    metrics: list[Metric] = Field(min_length=1)
    """what is measured"""
    boxes: Annotated[dict[str, BoxSource], Formed] = Field(min_length=1)
    """box sources, by name"""
    detector: str
    """the detector of the scale whose boxes are scored"""
    compared: Annotated[list[str], Once] = Field(default=[])
    """those beside it in `results/detectors.csv`, where `detectors` of `config.yaml` is `all`;
    default: all of the scale that need nothing by hand"""
    objects: str | None = None
    """the detector of the scale, one with `params.objects`, for methods that look at objects"""
    family: str = "st-clip"
    """family of label splits"""
    splits: Annotated[list[str], Field(min_length=1), Once]
    """its splits, files `splits/{dataset}/{family}/{split}.json`; each says its own `dataset`,
    `family` and `name`"""

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


class DatasetFile(_DatasetKeys):
    """The keys that a data set's YAML, with what is laid over it, may have."""

    forms: dict[str, DatasetForm]
    """the forms in which the data set is published, by name"""


class DatasetConfig(_DatasetKeys, OfTarget):
    """One data set, resolved: where it comes from, who reads it, how it is tested."""

    target: str  # of the form that is read
    archives: dict[str, Download]  # of that form; none where there is an unpacked copy

    def benchmark_of(self, family: str) -> str:
        """Names the data set's protocol and a family of label splits: zs-jhmdb/st-clip@1."""
        return f"{self.benchmark}/{family}@{self.version}"


class Rendering(OfTarget):
    """How a data set's archives are drawn."""

    target: str
    """`module:function(out, *, workers, ...)` that draws them"""
    files: Annotated[list[str], Field(min_length=1), Once]
    """what it writes into `data/{scale}/source/{dataset}/`"""
    names: str | None = None
    """file of `config/datasets` with names of more that it writes, one a line"""
    params: dict[str, Any] = Field(default={})
    """its keyword arguments"""


class RandomWeights(OfTarget):
    """A file of random weights, in the form of one that is published."""

    target: str
    """`module:function(out, ...)` that writes it"""
    params: dict[str, Any] = Field(default={})
    """its keyword arguments"""


class TinyClip(Strict):
    """The pre-training of a tiny CLIP, `stclip mini clip`."""

    stills: str
    """`module:function()` that gives what it learns from, a `stclip.mini.stills.Stills`"""
    model: str
    """open_clip model config of what is trained: a path, or `package:` and one of the package"""
    seed: int = Field(ge=0)
    """of everything random"""
    steps: int = Field(default=600, ge=1)
    """optimiser steps"""
    batch: int = Field(default=128, ge=2)
    """drawn stills a step"""
    muon_lr: float = Field(default=0.02, gt=0)
    """learning rate of the matrices inside the blocks"""
    adamw_lr: float = Field(default=1.5e-3, gt=0)
    """of everything else"""
    precision: Literal["bf16", "fp32"] = "bf16"
    """of the towers; fp32 where a processor has no instructions for bf16"""


class TinyDetector(Strict):
    """The training of a tiny detector, `stclip mini detector`."""

    stills: str
    """as of `clips`"""
    builder: str
    """`module:function()` that builds the untrained detector"""
    seed: int = Field(ge=0)
    """of everything random"""
    steps: int = Field(default=120, ge=1)
    """optimiser steps"""
    batch: int = Field(default=16, ge=1)
    """drawn stills a step"""
    lr: float = Field(default=1.5e-3, gt=0)
    """highest learning rate"""


class Miniature(Strict):
    """What `stclip mini ...` draws and trains."""

    render: dict[str, Rendering] = Field(default={})
    """data set -> how its archives are drawn"""
    weights: dict[str, RandomWeights] = Field(default={})
    """file of `models` -> how random ones are written, into `data/{scale}/source/models/`, beside
    `NAME.sha256`, a listing of its checksum"""
    clips: Annotated[dict[str, TinyClip], Formed] = Field(default={})
    """name -> the pre-training of a tiny CLIP, `stclip mini clip`, into
    `data/mini/models/NAME/weights.safetensors`"""
    detectors: Annotated[dict[str, TinyDetector], Formed] = Field(default={})
    """name -> the training of a tiny detector, `stclip mini detector`, into
    `data/mini/models/NAME.safetensors`"""


class Resources(Strict):
    """What a job of a rule asks for; what is not named is the rule's own."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads"""
    gpu: int | None = Field(default=None, ge=0)
    """GPUs, never more than `--resources gpu=...` allows. `train` with several runs under torchrun,
    a process per GPU; they share `threads`, of which one computes and the others read frames"""
    mem_mb: int | None = Field(default=None, ge=1)
    """memory in MB"""
    runtime: int | None = Field(default=None, ge=1)
    """minutes"""


class ShownScale(Strict):
    """What tables show of a scale."""

    title: str
    published: bool


class Scale(Strict):
    """All that differs between mini and paper; the keys override those of methods and data sets."""

    base: str | None = None
    """another scale, over which this one is laid key by key; `mini_choice` is `mini` with other
    videos"""
    title: str
    """name in tables"""
    published: bool
    """whether the paper's values stand beside ours"""
    backbones: dict[str, BackboneConfig]
    """the CLIPs, by name"""
    detectors: Annotated[dict[str, DetectorConfig], Formed] = Field(default={})
    """sources of boxes of persons or objects, by name; [docs/detectors.md](../docs/detectors.md)
    says what each is"""
    miniature: Miniature = Miniature()
    """what is drawn and trained in place of downloads"""
    models: dict[str, Download] = Field(default={})
    """file under `data/{scale}/models/` -> where from, as downloads below"""
    datasets: dict[str, dict[str, Any]] = Field(default={})
    """overrides of the data sets' keys; a form's `archives` are replaced whole"""
    methods: dict[str, dict[str, Any]] = Field(default={})
    """overrides of the methods' keys; `"*"` means all, `METHOD+VARIANT` a single variant"""
    resources: dict[str, Resources] = Field(default={})
    """rule -> what its jobs ask for; a rule or key that no rule reads is an error"""

    @property
    def shown(self) -> ShownScale:
        """What tables show of it."""
        return ShownScale(title=self.title, published=self.published)
