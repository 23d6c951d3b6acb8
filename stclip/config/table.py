"""Reads and checks config/tables/*.yaml: which runs stand in a table, and what it shows of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from stclip.config.chosen import only_splits
from stclip.config.drawn_tables import DrawnTable, LatencyTable, PartsTable
from stclip.config.fields import Once
from stclip.config.names import check_form, check_name, pick
from stclip.config.resolve import checked, load_dataset, load_method, naming, variants_of
from stclip.config.resolved import as_resolved
from stclip.config.seeds import expand_seeds
from stclip.config.strict import Strict
from stclip.config.yaml_file import read_yaml
from stclip.errors import ConfigError

Assumption = Literal["independent", "voted"]
Seed = Annotated[int, Field(ge=0)]
# 0-4, or [0, 2-4]
Seeds = Annotated[list[Seed], Field(min_length=1), BeforeValidator(expand_seeds), Once]
PublishedCost = Literal["multiply_adds_g", "trained_m", "training_s", "testing_s", "frames_per_s"]
PUBLISHED_MEANS = ("avg", "H")  # what is published of a row beside its splits
Column = Literal[
    "splits", "avg", "interval", "base", "H", "avg*", "H*", "groups", "classes",
    "seeds", "scale", "benchmark",
]  # fmt: skip


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
    splits: Annotated[list[str], Once] = Field(default=[])
    """label splits, in quotes, as they are names; default: the data set's"""
    seeds: Seeds | None = None
    """a run for each: numbers, a range as `0-4`, or both in a list; default: those of
    `config.yaml`"""
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
    assumptions: Annotated[list[Assumption], Field(min_length=1), Once] = Field(
        default=["independent", "voted"]
    )
    """about the video: blocks of rows, in this order"""
    columns: Annotated[list[Column], Field(min_length=1), Once]
    """what stands side by side"""
    published: dict[Assumption, dict[str, dict[str, dict[str, float]]]] = Field(default={})
    """the paper's values in percent, shown where the scale's `published` is true: assumption ->
    method -> box source -> split, `avg` or `H`"""
    published_of: str | None = None
    """a table of kind `main` and the same data set, whose published values it shares"""

    @model_validator(mode="after")
    def _published_once(self) -> Self:
        if self.published and self.published_of:
            raise ValueError("`published` and `published_of`: give the one or the other")
        return self

    @model_validator(mode="after")
    def _starred_columns_have_boxes(self) -> Self:
        starred = [column for column in self.columns if column.endswith("*")]
        if starred and self.starred is None:
            raise ValueError(f"columns {starred} need `starred`, a box source")
        return self


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
    assumptions: Annotated[list[Assumption], Field(min_length=1), Once] = Field(
        default=["independent", "voted"]
    )
    """about the video: blocks of rows, in this order"""
    published: dict[str, dict[PublishedCost, float]] = Field(default={})
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


Table = MainTable | AblationTable | CostsTable | DetectorsTable | DrawnTable


KINDS: dict[str, type[Table]] = {
    "main": MainTable, "ablation": AblationTable, "costs": CostsTable, "detectors": DetectorsTable,
    "parts": PartsTable, "latency": LatencyTable,
}  # fmt: skip


def load_table(folder: Path, table: str, *, scale: str) -> Table:
    """A table of `folder`/tables; what is left open is that of its data set and methods.

    Raises:
        ConfigError: something in it is unknown or refused.
    """
    check_form(table, what="table")
    path = folder / "tables" / f"{table}.yaml"
    content = read_yaml(path)
    kind = pick(KINDS, str(content.get("kind")), what=f"kind of {path}")
    config = checked(kind, content, str(path))
    announced = f"table {table} at scale {scale}"
    if isinstance(config, DetectorsTable):
        with naming(str(path)):
            _check_shares(config, folder, scale=scale)
        return as_resolved(announced, config)
    if isinstance(config, DrawnTable):
        with naming(f"{path}: dataset"):
            load_dataset(folder, config.dataset, scale=scale)
        for number, named in enumerate(config.methods([])):
            with naming(f"{path}: rows.{number}"):
                load_method(folder, named, dataset=config.dataset, scale=scale)
        return as_resolved(announced, config)
    if isinstance(config, MainTable) and config.published_of:
        with naming(f"{path}: published_of"):
            shared = _published_of(config, folder, scale=scale)
        config = config.model_copy(update={"published": shared})
    with naming(f"{path}: dataset"):
        data = load_dataset(folder, config.dataset, scale=scale)
        for boxes in _box_sources(config):
            pick(data.boxes, boxes, what=f"box source of {config.dataset}")
    splits = config.splits or data.splits
    update: dict[str, Any] = {"family": config.family or data.family, "splits": splits}
    with naming(str(path)):
        committed = folder.parent / "splits" / config.dataset
        families = [path.name for path in committed.glob("*/")]
        check_name(update["family"], families, what=f"family of label splits of {config.dataset}")
        known = {*splits, *(path.stem for path in committed.glob(f"{update['family']}/*.json"))}
        _check_published(config, folder, columns=[*known, *PUBLISHED_MEANS])
    if config.rows != "all":
        update["rows"] = []
        for number, row in enumerate(config.rows):
            with naming(f"{path}: rows.{number}.method"):
                method = load_method(folder, row.method, dataset=config.dataset, scale=scale)
            title = row.title or method.title
            update["rows"].append(row.model_copy(update={"title": title}))
    return as_resolved(announced, config.model_copy(update=update))


def of_splits(table: Table, only: Sequence[str], *, where: str) -> Table:
    """A table without the other label splits; none named, or not a table of runs: as it is.

    Published means are left out with them, as they are over all splits.

    Raises:
        ConfigError: it has none of these splits; the message begins with `where`.
    """
    if not isinstance(table, _OfRuns):
        return table
    splits = only_splits(table.splits, only, where=where)
    if splits == table.splits:
        return table
    update: dict[str, Any] = {"splits": splits}
    if isinstance(table, MainTable):
        update["published"] = {
            assumption: {
                method: {
                    boxes: {name: v for name, v in cells.items() if name not in PUBLISHED_MEANS}
                    for boxes, cells in row.items()
                }
                for method, row in rows.items()
            }
            for assumption, rows in table.published.items()
        }
    elif isinstance(table, AblationTable) and table.rows != "all":
        update["rows"] = [row.model_copy(update={"published": None}) for row in table.rows]
    return table.model_copy(update=update)


def _check_published(
    table: MainTable | AblationTable | CostsTable, folder: Path, *, columns: Sequence[str]
) -> None:
    """Names of published values: a misspelt one would be a gap in the table."""
    if isinstance(table, AblationTable):
        return
    if isinstance(table, CostsTable):
        methods = list(table.published)
    else:
        methods = [method for rows in table.published.values() for method in rows]
        rows = [row for rows in table.published.values() for row in rows.values()]
        for column in (name for row in rows for cells in row.values() for name in cells):
            check_name(column, columns, what="column of published:")
    for method in methods:
        stem, _, variant = method.partition("+")
        known = [path.stem for path in (folder / "methods").glob("*.yaml")]
        check_name(stem, known, what="method of published:")
        if method != stem:
            pick(variants_of(folder, stem), variant, what=f"variant of {stem}")


def _check_shares(table: DetectorsTable, folder: Path, *, scale: str) -> None:
    """The published values that it shows the gap of are there."""
    for dataset, share in table.share.items():
        with naming(f"share.{dataset}"):
            load_dataset(folder, dataset, scale=scale)
            shown = load_table(folder, share.table, scale=scale)
            if not isinstance(shown, MainTable):
                raise ConfigError(f"table {share.table!r} is of kind {shown.kind}, not main.")
            rows = shown.published.get(share.assumption, {})
            pick(rows, share.method, what=f"method with {share.assumption} values in {share.table}")


def _published_of(
    table: MainTable, folder: Path, *, scale: str
) -> dict[Assumption, dict[str, dict[str, dict[str, float]]]]:
    """The published values of the table that it names."""
    other = load_table(folder, str(table.published_of), scale=scale)
    if not isinstance(other, MainTable) or other.dataset != table.dataset or other.published_of:
        raise ConfigError(
            f"table {table.published_of!r} has no published values of {table.dataset} of its own; "
            "name a table of kind `main` and this data set that has `published`."
        )
    return other.published


def _box_sources(table: MainTable | AblationTable | CostsTable) -> list[str]:
    """Those that it names, published values too: a misspelt one would be a gap."""
    named = {table.boxes, *([table.starred] if table.starred else [])}
    if isinstance(table, MainTable):
        named.update(*(cells for rows in table.published.values() for cells in rows.values()))
    return sorted(named)


def caption_of(folder: Path, table: Table, *, scale: str) -> str:
    """What stands above a table: title, scale, protocol and note."""
    if not isinstance(table, _OfRuns):
        return f"{table.title} (scale {scale}). {table.note}"
    data = load_dataset(folder, table.dataset, scale=scale)
    protocol = data.benchmark_of(table.family)
    return f"{table.title} (scale {scale}, {protocol}). {table.note}"
