"""What a made-up scale asks for, for tests of the doctor."""

from pathlib import Path
from typing import Any

from conftest import ROOT

from stclip.config import BackboneConfig, DatasetConfig, Scale, load_dataset, load_method
from stclip.doctor.finding import Finding
from stclip.doctor.needs import Needs

CONFIG = ROOT / "config"


def made_needs(folder: Path, *, used: tuple[str, ...] = (), **scale: Any) -> Needs:
    """A scale of one method per backbone and no data set; `used`: detectors in use."""
    content = {"title": "made up", "published": False, "backbones": {}} | scale
    settings = Scale.model_validate(content)
    return Needs(
        config=folder / "config", name="made", scale=settings, datasets={},
        methods={f"of {n}": [_method(b)] for n, b in settings.backbones.items()},
        detectors={name: settings.detectors[name] for name in used},
    )  # fmt: skip


def _method(backbone: BackboneConfig) -> Any:
    whole = load_method(CONFIG, "clip_frame", dataset="jhmdb", scale="mini")
    return whole.model_copy(update={"backbone": backbone})


def dataset(**changes: Any) -> DatasetConfig:
    """A data set of which some settings are others."""
    return load_dataset(CONFIG, "jhmdb", scale="paper").model_copy(update=changes)


def by_status(findings: Any) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {"ok": [], "note": [], "problem": []}
    for finding in findings:
        found[finding.status].append(finding)
    return found
