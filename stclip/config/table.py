"""Reads and checks config/tables/*.yaml: which runs stand in a table, and what it shows of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from stclip.config.resolve import checked, load_dataset, load_method, pick, read_yaml
from stclip.config.strict import Strict
from stclip.errors import ConfigError

Assumption = Literal["independent", "voted"]
Seed = Annotated[int, Field(ge=0)]
Column = Literal[
    "splits", "avg", "interval", "base", "H", "avg*", "H*", "seeds", "scale", "benchmark"
]


class RunName(NamedTuple):
    """Names a run: runs/{scale}/{dataset}/{family}/{split}/{method}/{seed}."""

    dataset: str
    family: str
    split: str
    method: str
    seed: int


class TableRow(Strict):
    """A row: a method, or METHOD+VARIANT."""

    method: str
    """a method, or `METHOD+VARIANT`"""
    title: str = ""
    """its name; default: that of the method at the scale"""
    published: float | None = Field(default=None, ge=0, le=100)
    """the paper's value in percent; of ablations"""


class _OfRuns(Strict):
    """What tables of runs have in common."""

    title: str
    """what it is; above the table in `.md`"""
    note: str
    """what it shows; beside the title"""
    of_paper: bool = True
    """whether the paper has it"""
    dataset: str
    """what its runs are of"""
    family: str = ""
    """of label splits; default: the data set's"""
    splits: list[str] = Field(default=[])
    """label splits, in quotes, as they are names; default: the data set's"""
    seeds: list[Seed] | None = Field(default=None, min_length=1)
    """a run for each; default: those of `config.yaml`"""
    boxes: str = "detected"
    """box source of the values"""
    starred: str | None = "gt"
    """box source of the values marked by a star"""
    rows: Literal["all"] | list[TableRow]
    """`all` methods of `config.yaml`, or some in order"""

    def methods(self, chosen: Sequence[str]) -> list[str]:
        """The methods of its rows; `chosen` are those of config.yaml."""
        return list(chosen) if self.rows == "all" else [row.method for row in self.rows]

    def runs(self, methods: Sequence[str], seeds: Sequence[int]) -> list[RunName]:
        """The runs it is made of."""
        return [
            RunName(self.dataset, self.family, split, method, seed)
            for split in self.splits
            for method in self.methods(methods)
            for seed in self.seeds or seeds
        ]

    @model_validator(mode="after")
    def _each_method_once(self) -> Self:
        methods = self.methods([])
        if len(set(methods)) < len(methods) or not (methods or self.rows == "all"):
            raise ValueError(f"rows have the methods {methods}; each once, and at least one")
        return self


class MainTable(_OfRuns):
    """A row per method and assumption about the video; label splits side by side."""

    kind: Literal["main"]
    assumptions: list[Assumption] = Field(default=["independent", "voted"])
    """about the video: blocks of rows, in this order"""
    columns: list[Column] = Field(min_length=1)
    """what stands side by side"""
    published: dict[Assumption, dict[str, dict[str, dict[str, float]]]] = Field(default={})
    """the paper's values in percent, shown where the scale's `published` is true: assumption ->
    method -> box source -> split, `avg` or `H`"""


class AblationTable(_OfRuns):
    """A row per method or variant, each compared with a row of reference."""

    kind: Literal["ablation"]
    assumption: Assumption = "independent"
    """about the video"""
    reference: str
    """the row, by its method, that every row is subtracted from"""

    @model_validator(mode="after")
    def _reference_is_a_row(self) -> Self:
        methods = self.methods([])
        if self.reference not in methods:
            raise ValueError(f"rows have the methods {methods}; the reference is {self.reference}")
        return self


class CostsTable(_OfRuns):
    """What methods cost beside what they reach, measured on this machine."""

    kind: Literal["costs"]
    assumptions: list[Assumption] = Field(default=["independent", "voted"])
    """about the video: blocks of rows, in this order"""
    published: dict[str, dict[str, float]] = Field(default={})
    """the paper's values, shown where the scale's `published` is true: method -> what"""

    @property
    def measured_split(self) -> str:
        """The split whose clips are measured on."""
        return self.splits[0]


class PublishedShare(Strict):
    """Whose published values show the gap that boxes open: detected over ground-truth boxes."""

    table: str
    """a table of kind `main`"""
    assumption: Assumption
    """of its rows"""
    method: str
    """the row"""


class DetectorsTable(Strict):
    """How good person boxes are, a row per data set, detector and filter."""

    kind: Literal["detectors"]
    title: str
    """what it is; above the table in `.md`"""
    note: str
    """what it shows; beside the title"""
    of_paper: bool = False
    """whether the paper has it"""
    share: dict[str, PublishedShare] = Field(default={})
    """data set -> whose published values show the gap that boxes open"""


Table = MainTable | AblationTable | CostsTable | DetectorsTable


KINDS: dict[str, type[Table]] = {
    "main": MainTable, "ablation": AblationTable, "costs": CostsTable, "detectors": DetectorsTable,
}  # fmt: skip


def load_table(folder: Path, table: str, *, scale: str) -> Table:
    """A table of `folder`/tables; what is left open is that of its data set and methods."""
    path = folder / "tables" / f"{table}.yaml"
    content = read_yaml(path)
    kind = pick(KINDS, str(content.get("kind")), what=f"kind of {path}")
    config = checked(kind, content, str(path))
    if isinstance(config, DetectorsTable):
        return config
    with _naming(f"{path}: dataset"):
        data = load_dataset(folder, config.dataset, scale=scale)
        for boxes in _box_sources(config):
            pick(data.boxes, boxes, what=f"box source of {config.dataset}")
    update: dict[str, Any] = {
        "family": config.family or data.family,
        "splits": config.splits or data.splits,
    }
    if config.rows != "all":
        update["rows"] = []
        for number, row in enumerate(config.rows):
            with _naming(f"{path}: rows.{number}.method"):
                method = load_method(folder, row.method, dataset=config.dataset, scale=scale)
            title = row.title or method.title
            update["rows"].append(row.model_copy(update={"title": title}))
    return config.model_copy(update=update)


def _box_sources(table: MainTable | AblationTable | CostsTable) -> list[str]:
    """Those that it names, published values too: a misspelt one would be a gap."""
    named = {table.boxes, *([table.starred] if table.starred else [])}
    if isinstance(table, MainTable):
        named.update(*(cells for rows in table.published.values() for cells in rows.values()))
    return sorted(named)


def caption_of(folder: Path, table: Table, *, scale: str) -> str:
    """What stands above a table: title, scale, protocol and note."""
    if isinstance(table, DetectorsTable):
        return f"{table.title} (scale {scale}). {table.note}"
    data = load_dataset(folder, table.dataset, scale=scale)
    protocol = data.benchmark_of(table.family)
    return f"{table.title} (scale {scale}, {protocol}). {table.note}"


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Put in front of a ConfigError which key led to it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
