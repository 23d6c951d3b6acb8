"""What an import of annotations found, kept and dropped: import.json, and the same to read.

It says too how it was done, so that it can be done again.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from stclip.config.strict import Strict, complaint
from stclip.errors import DataError
from stclip.storage.files import read_json, whole_file, write_json

RECORD, TEXT, SHEET = "import.json", "import.txt", "import.png"
_SHOWN = 3  # places of a reason


class Settings(Strict):
    """How annotations are imported, as a person said it."""

    annotations: list[str] = Field(min_length=1)
    format: str | None = None
    read_as: dict[str, Any] = Field(default={})
    ignored_labels: list[str] = Field(default=[])
    without: list[str] = Field(default=[])
    test_list: str | None = None
    test_share: float = Field(default=0.5, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    as_they_are: bool = False


class Source(Strict):
    """A file that was read."""

    path: str
    format: str
    sha256: str
    rows: int


class Dropped(Strict):
    """Rows that are left out, or (`kept`) are odd, and why; the first places."""

    why: str
    count: int
    places: list[str] = Field(default=[])
    kept: bool = False


class LabelCount(Strict):
    """How often a label is shown."""

    label: str
    videos: int
    boxes: int


class SplitClips(Strict):
    """What a label split selects."""

    split: str
    train: int
    unseen: int
    base: int


class ImportRecord(Strict):
    """The whole report."""

    dataset: str
    settings: Settings
    sources: list[Source]
    labels_file: str
    videos_folder: str
    videos: int  # in the folder
    annotated: int  # of them
    unannotated: list[str]
    missing: dict[str, int]  # video that the annotations name -> rows
    official_splits: dict[str, int]
    frames: int
    annotated_frames: int
    boxes: int
    unlabelled_boxes: int
    whole_pictures: int
    rows: list[Dropped]
    labels: list[LabelCount]
    splits: list[SplitClips]
    notes: list[str]

    def write(self, folder: Path) -> None:
        """Write import.json and import.txt."""
        write_json(folder / RECORD, self.model_dump())
        with whole_file(folder / TEXT) as temporary:
            temporary.write_text(self.text(), "utf-8")

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether annotations were imported there."""
        return (folder / RECORD).exists()

    @classmethod
    def read(cls, folder: Path) -> "ImportRecord":
        """Read import.json.

        Raises:
            DataError: missing, damaged or not that.
        """
        path = folder / RECORD
        content = read_json(path)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise DataError(
                f"{path}: {complaint(error.errors()[0])}; import the annotations again."
            ) from None

    def text(self) -> str:
        """The report, to read."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterable[str]:
        yield f"Import of {self.dataset}"
        yield ""
        yield f"videos       {self.videos} in {self.videos_folder}, {self.annotated} annotated"
        for source in self.sources:
            yield f"annotations  {source.path}: {source.rows} rows ({source.format})"
        yield f"labels       {len(self.labels)} in {self.labels_file}"
        sides = ", ".join(f"{count} {side}" for side, count in self.official_splits.items())
        yield f"clips        {sides}"
        yield (
            f"kept         {self.boxes} boxes in {self.annotated_frames} of {self.frames} frames"
            + (f", {self.whole_pictures} of them whole pictures" if self.whole_pictures else "")
        )
        for kept, heading in ((False, "Dropped"), (True, "Kept, but look")):
            own = [row for row in self.rows if row.kept == kept and row.count]
            yield ""
            yield heading + ("" if own else ": nothing")
            for row in own:
                yield f"  {row.count:7}  {row.why}"
                yield from (f"           {place}" for place in row.places)
        if self.missing:
            yield ""
            yield f"Videos that the annotations name and the folder lacks: {len(self.missing)}"
            yield from _counted(self.missing, "rows")
        if self.unannotated:
            yield ""
            yield (
                f"Videos without annotations, left out: {len(self.unannotated)} "
                f"({', '.join(self.unannotated)})"
            )
        yield ""
        yield "Labels"
        for label in self.labels:
            yield f"  {label.label}: {label.boxes} boxes in {label.videos} videos"
        yield ""
        yield "Label splits"
        for split in self.splits:
            yield (
                f"  {split.split}: {split.train} clips to train on, {split.unseen} test clips with "
                f"unseen labels, {split.base} with base labels"
            )
        if self.notes:
            yield ""
            yield "Notes"
            yield from (f"  {note}" for note in self.notes)


def _counted(counts: Mapping[str, int], what: str) -> Iterable[str]:
    for name, count in counts.items():
        yield f"  {name}: {count} {what}"


def dropped(why: str, places: Iterable[str], *, kept: bool = False) -> Dropped:
    """A reason with the first of its places."""
    listed = list(places)
    return Dropped(why=why, count=len(listed), places=listed[:_SHOWN], kept=kept)
