"""All checks of a scale, part by part, from what costs least to what costs most."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stclip.doctor.addresses import Answer
from stclip.doctor.downloads import asked, check_downloads
from stclip.doctor.files_there import Wanted, wanted_files
from stclip.doctor.finding import PARTS, Finding, Part
from stclip.doctor.folder import check_folder
from stclip.doctor.needs import Needs, read_needs
from stclip.errors import StclipError


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is asked for; see `stclip doctor`."""

    config: Path
    scale: str | None = None  # None: that of config.yaml
    datasets: Collection[str] = ()
    methods: Collection[str] = ()
    parts: Collection[Part] = PARTS
    offline: bool = False
    read_all: bool = False
    record_weights: bool = False

    def run(self) -> list[Finding]:
        """Every finding; what stops a part is one, too."""
        found: list[Finding] = []
        for part in PARTS:
            if part not in self.parts:
                continue
            try:
                found += self._checks[part]()
            except StclipError as error:  # settings are read by the first part, and by all
                finding = Finding(part, "settings", "problem", str(error), "correct the settings")
                if finding.found not in [other.found for other in found]:
                    found.append(finding)
        return found

    @cached_property
    def needs(self) -> Needs:
        """What the scale asks for.

        Raises:
            ConfigError: the settings are wrong.
        """
        return read_needs(
            self.config, self.scale, datasets=tuple(self.datasets), methods=tuple(self.methods)
        )

    @cached_property
    def files(self) -> list[Wanted]:
        """What comes from outside: whether it is there, and right."""
        return [w.looked_at(read_all=self.read_all) for w in wanted_files(self.needs)]

    @cached_property
    def answers(self) -> dict[str, Answer] | None:
        """What servers say of those that are not there."""
        return None if self.offline else asked(self.files)

    @property
    def _checks(self) -> dict[Part, Callable[[], Iterator[Finding]]]:
        return {
            "machine": self._machine,
            "downloads": self._downloads,
            "weights": self._weights,
            "folder": check_folder,
        }

    def _machine(self) -> Iterator[Finding]:
        # PyTorch takes seconds to import; the folder alone does without.
        from stclip.doctor.codecs import check_codecs
        from stclip.doctor.disk import check_disk
        from stclip.doctor.machine import check_machine, look
        from stclip.doctor.software import check_software

        needs = self.needs
        yield from check_software(needs, offline=self.offline)
        yield from check_machine(look(), needs)
        yield check_disk(needs, self.files, self.answers)
        yield from check_codecs()

    def _downloads(self) -> Iterator[Finding]:
        yield from check_downloads(self.files, self.answers, self.needs)

    def _weights(self) -> Iterator[Finding]:
        from stclip.doctor.known_cosines import check_weights

        yield from check_weights(self.needs, self.files, record=self.record_weights)
