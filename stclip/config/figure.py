"""Reads and checks config/figures/*.yaml: which runs a figure of the paper shows, and how."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from stclip.config.fields import Once
from stclip.config.method_models import MethodConfig
from stclip.config.models import DatasetConfig
from stclip.config.names import check_form, check_name, pick
from stclip.config.resolve import checked, load_dataset, load_method, naming
from stclip.config.resolved import as_resolved
from stclip.config.strict import Strict
from stclip.config.table import RunName
from stclip.config.yaml_file import read_yaml
from stclip.errors import ConfigError

WEIGHTS = "weights.safetensors"


class _OfRuns(Strict, ABC):
    """What all figures have in common."""

    title: str
    """what it is; above the picture"""
    note: str
    """what it shows; below the title"""
    dataset: str
    """what its runs are of"""
    family: str = ""
    """of label splits; default: the data set's"""
    seed: int = Field(default=0, ge=0)
    """of the runs"""
    of_weights: ClassVar[bool] = False  # whether the methods themselves are run to draw it
    suffix: ClassVar[str] = "png"  # of its file

    @property
    @abstractmethod
    def methods(self) -> list[str]:
        """Those whose runs it shows, of every label split."""

    @property
    @abstractmethod
    def label_splits(self) -> list[str]:
        """The label splits that it shows."""

    @property
    @abstractmethod
    def files(self) -> list[str]:
        """What it reads in the folder of each run."""

    @property
    def runs(self) -> list[RunName]:
        """The runs that it shows; of a split side by side."""
        return [
            RunName(self.dataset, self.family, split, method, self.seed)
            for split in self.label_splits
            for method in self.methods
        ]

    @abstractmethod
    def check(self, data: DatasetConfig, methods: Mapping[str, MethodConfig]) -> None:
        """Refuse what the data set or the methods do not have."""


class _OfOneSplit(_OfRuns):
    """What figures of one label split have in common."""

    split: str = ""
    """label split, in quotes, as it is a name; default: the data set's first"""
    method: str
    """a method, or `METHOD+VARIANT`"""

    @property
    def label_splits(self) -> list[str]:
        """The only one."""
        return [self.split] if self.split else []


class _OfScores(_OfOneSplit):
    """What figures of one run's scores have in common."""

    boxes: str = "detected"
    """box source"""

    @property
    def methods(self) -> list[str]:
        """The only one."""
        return [self.method]

    @property
    def files(self) -> list[str]:
        """The scores of unseen labels."""
        return [f"scores_{self.boxes}_unseen.parquet"]

    def check(self, data: DatasetConfig, methods: Mapping[str, MethodConfig]) -> None:
        """The box source is one of the data set."""
        pick(data.boxes, self.boxes, what=f"box source of {self.dataset}")


class UnannotatedFigure(_OfScores):
    """A key frame of a run on which boxes are counted as wrong that show persons."""

    kind: Literal["unannotated"]


class InterestTokensFigure(_OfOneSplit):
    """The tokens that prompt the text of one person, and what they change."""

    kind: Literal["interest_tokens"]
    compared: str
    """the method whose texts are prompted by all tokens"""
    boxes: str = "gt"
    """box source, of ground truth: the person's true label is known"""
    place: int = Field(default=1, ge=1)
    """which person: of each unseen label the one whom interest tokens help most, these by how much
    they help; 1: most"""
    of_weights: ClassVar[bool] = True

    @property
    def methods(self) -> list[str]:
        """The method with interest tokens, and the one without."""
        return [self.method, self.compared]

    @property
    def files(self) -> list[str]:
        """The weights choose the tokens, the scores choose the person."""
        return [WEIGHTS, f"scores_{self.boxes}_unseen.parquet"]

    def check(self, data: DatasetConfig, methods: Mapping[str, MethodConfig]) -> None:
        """Only one of the methods has interest tokens, and the boxes are annotated."""
        source = pick(data.boxes, self.boxes, what=f"box source of {self.dataset}")
        if source.source != "ground_truth":
            raise ConfigError(
                f"boxes: {self.boxes} are {source.source}, of which no true label is known; name a "
                "box source of ground_truth."
            )
        for name, wanted in ((self.method, True), (self.compared, False)):
            found = methods[name].params.get("interest_tokens", 0)
            if bool(found) != wanted:
                raise ConfigError(
                    f"{'method' if wanted else 'compared'}: {name} has interest_tokens {found} on "
                    f"{self.dataset}; the one compared is prompted by all tokens (0), the other by "
                    "some."
                )
        _check_pictures(methods)


class VideoFigure(_OfScores):
    """Clips in motion with what a run says of every person, one of each unseen label."""

    kind: Literal["video"]
    clips: int = Field(default=6, ge=1)
    """how many are shown side by side, each of another unseen label"""
    suffix: ClassVar[str] = "gif"


class LabelFeaturesFigure(_OfRuns):
    """The features of unseen labels before and after the frames prompted them."""

    kind: Literal["label_features"]
    splits: Annotated[list[str], Once] = Field(default=[])
    """label splits, in quotes, as they are names; default: the data set's"""
    method: str
    """a method that prompts texts by the frame, or `METHOD+VARIANT`"""
    persons: int = Field(default=60, ge=1)
    """annotated persons of unseen test clips of each split, whose features are shown; all if there
    are fewer"""
    of_weights: ClassVar[bool] = True

    @property
    def methods(self) -> list[str]:
        """The only one."""
        return [self.method]

    @property
    def label_splits(self) -> list[str]:
        """All of them."""
        return list(self.splits)

    @property
    def files(self) -> list[str]:
        """The weights."""
        return [WEIGHTS]

    def check(self, data: DatasetConfig, methods: Mapping[str, MethodConfig]) -> None:
        """The method reads pictures."""
        _check_pictures(methods)


Figure = UnannotatedFigure | InterestTokensFigure | LabelFeaturesFigure | VideoFigure


KINDS: dict[str, type[Figure]] = {
    "unannotated": UnannotatedFigure, "interest_tokens": InterestTokensFigure,
    "label_features": LabelFeaturesFigure, "video": VideoFigure,
}  # fmt: skip


def load_figure(folder: Path, figure: str, *, scale: str) -> Figure:
    """A figure of `folder`/figures; what is left open is that of its data set.

    Raises:
        ConfigError: something in it is unknown or refused.
    """
    check_form(figure, what="figure")
    path = folder / "figures" / f"{figure}.yaml"
    content = read_yaml(path)
    kind = pick(KINDS, str(content.get("kind")), what=f"kind of {path}")
    config = checked(kind, content, str(path))
    with naming(str(path)):
        data = load_dataset(folder, config.dataset, scale=scale)
        config = config.model_copy(update={"family": config.family or data.family})
        _check_splits(folder.parent / "splits", config)  # those that it names, not its data set
        if isinstance(config, LabelFeaturesFigure):
            config = config.model_copy(update={"splits": config.splits or data.splits})
        if isinstance(config, _OfOneSplit):
            config = config.model_copy(update={"split": config.split or data.splits[0]})
        methods = {
            name: load_method(folder, name, dataset=config.dataset, scale=scale)
            for name in config.methods
        }
        config.check(data, methods)
    return as_resolved(f"figure {figure} at scale {scale}", config)


def _check_splits(committed: Path, figure: Figure) -> None:
    """The label splits that it names are committed."""
    families = [path.name for path in (committed / figure.dataset).glob("*/")]
    check_name(figure.family, families, what=f"family of label splits of {figure.dataset}")
    known = sorted(p.stem for p in (committed / figure.dataset).glob(f"{figure.family}/*.json"))
    for split in figure.label_splits:
        check_name(split, known, what=f"{figure.family} split of {figure.dataset}")


def _check_pictures(methods: Mapping[str, MethodConfig]) -> None:
    """What frames do to texts is computed anew, from the pictures."""
    stored: Sequence[str] = [n for n, method in methods.items() if method.features]
    if stored:
        raise ConfigError(
            f"methods {stored} read stored features; a figure of how frames prompt texts needs "
            "methods that read pictures (features: [])."
        )
