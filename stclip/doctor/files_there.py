"""The files that come from outside, one by one: is it there, and is it what its publisher says?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stclip import config as c
from stclip.doctor.needs import Needs
from stclip.download.download import local_path
from stclip.download.fetcher import hash_file
from stclip.storage.digests import LARGE, content_of
from stclip.storage.listings import parse_listing

MODELS = "models"  # whose: the scale's, where others are a data set's
State = Literal["verified", "wrong", "unread", "unknown", "absent"]


@dataclass(frozen=True)
class Wanted:
    """A file that a rule downloads, or a person puts there."""

    owner: str  # a data set, or MODELS
    name: str
    source: c.Download
    path: Path
    record: Path  # where the SHA-256 of its first download is kept
    readers: tuple[str, ...] = ()  # of a model: the methods and detectors in use that read it
    state: State = "absent"

    @property
    def by_hand(self) -> bool:
        """Whether no script can fetch it."""
        return all(url.startswith("manual:") for url in self.source.urls)

    @property
    def web(self) -> list[str]:
        """Its http addresses."""
        return [url for url in self.source.urls if url.startswith("http")]

    @property
    def local(self) -> list[Path]:
        """The files that it may be copied from."""
        return [local_path(url) for url in self.source.urls if url.startswith("file:")]

    @property
    def pages(self) -> str:
        """Where a person gets it."""
        return " or ".join(url.removeprefix("manual:") for url in self.source.urls)

    @property
    def checksum(self) -> tuple[str, str] | None:
        """Algorithm and hex digits that are known of it, perhaps only the first; None: nothing."""
        source = self.source
        if source.md5:
            return "md5", source.md5.lower()
        if digits := source.sha256 or source.sha256_prefix:
            return "sha256", digits.lower()
        listed = self.record
        if source.listing is not None:
            listed = local_path(source.listing)
        if not listed.is_file():
            return None
        found = parse_listing(listed.read_text("utf-8", "replace")).get(self.name)
        return None if found is None else ("sha256" if len(found) == 64 else "md5", found)

    @property
    def is_idle(self) -> bool:
        """Whether nobody reads it."""
        return self.owner == MODELS and not self.readers

    def looked_at(self, *, read_all: bool) -> "Wanted":
        """With its state; files of more than 2 GiB are read only with `read_all`."""
        return replace(self, state=self._state(read_all=read_all))

    def _state(self, *, read_all: bool) -> State:
        if not self.path.is_file():
            return "absent"
        expected = self.checksum
        if expected is None:
            return "unknown"
        algorithm, digits = expected
        if self.path.stat().st_size > LARGE:
            if not read_all:
                return "unread"
            found = hash_file(self.path, algorithm).hexdigest()
        elif algorithm == "sha256":
            found = content_of(self.path)  # remembered: the next call reads nothing
        else:
            found = hash_file(self.path, algorithm).hexdigest()
        return "verified" if found.startswith(digits) else "wrong"


def wanted_files(needs: Needs) -> Iterator[Wanted]:
    """The models of the scale, then each data set's archives; not looked at yet."""
    data, records = Path("data", needs.name), needs.config / "checksums" / needs.name
    for name, source in needs.scale.models.items():
        path = data / MODELS / name
        readers = tuple(needs.readers.get(str(path), ()))
        record = records / MODELS / f"{name}.sha256"
        yield Wanted(MODELS, name, source, path, record, readers)
    for dataset, settings in needs.datasets.items():
        for name, source in settings.archives.items():
            path = data / dataset / "raw" / name
            yield Wanted(dataset, name, source, path, records / dataset / f"{name}.sha256")
