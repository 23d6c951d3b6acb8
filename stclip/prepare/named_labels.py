"""The labels of one's own data: a text file with a name a line, or a label map with numbers.

Annotations name a label, or give its number: that of the label map, else that of the line, from 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stclip.config.names import known_names
from stclip.errors import DataError
from stclip.prepare.label_map import parse_label_map
from stclip.storage.outside_files import content_of, text_of


@dataclass(frozen=True)
class LabelList:
    """Names in the order of the file, and the number of each."""

    numbers: Mapping[int, str]

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return list(self.numbers.values())

    def name_of(self, text: str) -> str | None:
        """The name that a text means, None if it means none.

        >>> labels = LabelList({1: "sit", 2: "stand up"})
        >>> [labels.name_of(text) for text in ("stand up", "2", "run")]
        ['stand up', 'stand up', None]
        """
        if text in self.names:
            return text
        return self.numbers.get(int(text)) if text.isdecimal() else None

    def unknown(self, texts: list[str]) -> str:
        """The end of a message about texts that mean no label."""
        ends = [known_names(text, self.names, lead="the label list has") for text in texts[:1]]
        return f"{texts[:5]}{' and more' if texts[5:] else ''}: {''.join(ends)}"


def read_label_list(path: Path) -> LabelList:
    """Read a file of labels.

    Raises:
        DataError: missing, fewer than two labels, or one twice; a label map that is none.
    """
    content = content_of(path)
    text = text_of(content, path)
    if "{" in text or text.split("\n", 1)[0].replace(" ", "").startswith("id,"):
        numbers = parse_label_map(content, path)
    else:
        lines = {n: line.strip() for n, line in enumerate(text.splitlines(), 1) if line.strip()}
        first: dict[str, int] = {}
        for line, name in lines.items():
            if first.setdefault(name, line) != line:
                raise DataError(f"{path}: line {line}: {name!r} stands in line {first[name]} too.")
        numbers = dict(enumerate(first, 1))
    if len(numbers) < 2:
        raise DataError(
            f"{path}: has {len(numbers)} labels; at least two are needed, one to train on and one "
            "that is never seen. A name a line, or a label map."
        )
    return LabelList(numbers)
