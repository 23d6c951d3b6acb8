"""Reads and checks config/tables/*.yaml: which runs stand in a table of ablations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from stclip.config import Strict, checked, load_dataset, load_method, read_yaml
from stclip.errors import ConfigError


class TableRow(Strict):
    """A row of a table of ablations."""

    method: str  # a method, or METHOD+VARIANT
    title: str = ""  # default: the method's at the scale
    published: float | None = None  # the paper's value in percent


class TableConfig(Strict):
    """A table of ablations: which runs stand in it, and what they are compared with."""

    title: str
    note: str  # what the paper shows with it
    dataset: str
    splits: list[str] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=0)]] | None = Field(default=None, min_length=1)
    reference: str  # the row, by its method, that the others are compared with
    rows: list[TableRow] = Field(min_length=1)

    @model_validator(mode="after")
    def _reference_is_a_row(self) -> Self:
        methods = [row.method for row in self.rows]
        if self.reference not in methods or len(set(methods)) < len(methods):
            raise ValueError(
                f"rows have the methods {methods}; each once, and {self.reference!r}, the "
                "reference, among them"
            )
        return self


def load_table(folder: Path, table: str, *, scale: str) -> TableConfig:
    """A table of ablations; a row without a title takes its method's at this scale."""
    path = folder / "tables" / f"{table}.yaml"
    config = checked(TableConfig, read_yaml(path), str(path))
    with _naming(f"{path}: dataset"):
        load_dataset(folder, config.dataset, scale=scale)
    rows = []
    for number, row in enumerate(config.rows):
        with _naming(f"{path}: rows.{number}.method"):
            method = load_method(folder, row.method, dataset=config.dataset, scale=scale)
        rows.append(row.model_copy(update={"title": row.title or method.title}))
    return config.model_copy(update={"rows": rows})


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Put in front of a ConfigError which key led to it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
