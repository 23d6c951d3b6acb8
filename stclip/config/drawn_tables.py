"""Tables of what a method costs on drawn pictures of one size: no runs, no data, no weights."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stclip.config.fields import Once
from stclip.config.strict import Strict

PublishedPart = Literal["multiply_adds_g", "trained_m"]


class _Drawn(Strict):
    """What these tables have in common."""

    title: str
    """what it is; above the table in `.md`"""
    note: str
    """what it shows; beside the title"""
    of_paper: bool = True
    """whether the paper has it"""
    dataset: str
    """whose sections of the methods' settings count"""
    persons: int = Field(ge=1)
    """in each drawn key frame"""
    labels: int = Field(ge=1)
    """class names"""


class PartRow(Strict):
    """A part of a method: what one method has more than that of the row before."""

    part: str
    """as the method calls it where it says what it costs as published"""
    method: str
    """a method, or `METHOD+VARIANT`: what it costs over that of the row before is the part"""
    published: dict[PublishedPart, float] = Field(default={})
    """the paper's values, shown where the scale's `published` is true: what -> value"""


class PartsTable(_Drawn):
    """What the parts of a method cost, counted for a key frame: as published, and as it runs."""

    kind: Literal["parts"]
    rows: Annotated[list[PartRow], Field(min_length=1)]
    """the parts, each on top of those before it"""

    def methods(self, chosen: Sequence[str]) -> list[str]:
        """The methods of its rows, whatever config.yaml has `chosen`."""
        return [row.method for row in self.rows]

    @model_validator(mode="after")
    def _each_part_once(self) -> Self:
        parts = [row.part for row in self.rows]
        if len(set(parts)) < len(parts):
            raise ValueError(f"rows have the parts {parts}; each once")
        return self


class LatencyTable(_Drawn):
    """How long a film takes on one and on more devices, measured on this machine."""

    kind: Literal["latency"]
    key_frames: int = Field(ge=1)
    """of the drawn film, whose frames all are key frames"""
    rows: Annotated[list[str], Field(min_length=1), Once]
    """methods, or `METHOD+VARIANT`"""

    def methods(self, chosen: Sequence[str]) -> list[str]:
        """The methods of its rows, whatever config.yaml has `chosen`."""
        return self.rows


DrawnTable = PartsTable | LatencyTable
