"""What a check found and what to do about it; as lines on a terminal and as JSON."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Part = Literal["machine", "downloads", "weights", "folder"]
Status = Literal["ok", "note", "problem"]
PARTS: tuple[Part, ...] = ("machine", "downloads", "weights", "folder")
NARROW = 30  # characters of a line that are left for words, at least
FEW = 4  # names in a line


@dataclass(frozen=True)
class Finding:
    """A line of the table. `problem`: the run would stop or go wrong; `note`: it might."""

    part: Part
    check: str
    status: Status
    found: str
    to_do: str = ""

    def __post_init__(self) -> None:
        """What is not in order says what to do."""
        assert self.status == "ok" or self.to_do, self


def of_machine(check: str, status: Status, found: str, to_do: str = "") -> Finding:
    """A finding on the machine."""
    return Finding("machine", check, status, found, to_do)


def render(findings: Sequence[Finding], *, width: int | None = None) -> str:
    """A line per finding, below it what to do, and a last line that counts.

    What neighbours have in common to do stands below the last of them. Lines are at most `width`
    characters long, or as long as it takes.
    """
    columns = [max((len(text) for text in column), default=0) for column in _columns(findings)]
    lines = []
    rows = list(zip(*_columns(findings), strict=True))
    followers = [*findings[1:], None]
    for finding, follower, cells in zip(findings, followers, rows, strict=True):
        head = "  ".join(cell.ljust(width) for cell, width in zip(cells, columns, strict=True))
        indent = " " * (len(head) + 2)
        lines.append(_wrapped(finding.found, f"{head}  ", indent, width))
        if finding.to_do and not (follower and follower.to_do == finding.to_do):
            lines.append(_wrapped(finding.to_do, f"{indent}-> ", f"{indent}   ", width))
    numbers = {status: sum(f.status == status for f in findings) for status in ("note", "problem")}
    many = ", ".join(
        f"{number} {status}{'s' * (number != 1)}" for status, number in numbers.items()
    )
    return "\n".join([*lines, f"{len(findings)} checks: {many}."])


def as_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """A record per finding."""
    return [asdict(finding) for finding in findings]


def some(names: Sequence[str]) -> str:
    """The names, or the first of many and how many more.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c, d and 1 more'
    """
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def _columns(findings: Sequence[Finding]) -> list[list[str]]:
    return [[f.status for f in findings], [f.part for f in findings], [f.check for f in findings]]


def _wrapped(text: str, first: str, rest: str, width: int | None) -> str:
    if width is None:
        return first + text
    return textwrap.fill(
        text, max(width, len(rest) + NARROW), initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
