"""The three lists of what the package needs say the same: pyproject, conda's, the locked set."""

import re
import tomllib

import pytest
import yaml
from conftest import ROOT
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

CONDA = {  # conda-forge's name -> that of the package index
    "pytorch": "torch",
    "matplotlib-base": "matplotlib",
    "py-opencv": "opencv-python-headless",
    "snakemake-minimal": "snakemake",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
# where a next version is known to be able to break what is relied on inside the library
BOUNDED = {
    "av", "numpy", "open-clip-torch", "peft", "snakemake", "snakemake-executor-plugin-slurm",
    "timm", "torch", "torchvision", "wandb", "wandb-workspaces",
}  # fmt: skip


def bounds(requirements: list[str]) -> dict[str, SpecifierSet]:
    parsed = map(Requirement, requirements)
    return {canonicalize_name(r.name): r.specifier for r in parsed}


NEEDED = bounds(PROJECT["project"]["dependencies"])
EVERYTHING = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["cluster"],
    *PROJECT["dependency-groups"]["dev"],
]


def test_conda_has_the_same_bounds() -> None:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    (from_pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    found = bounds([entry for entry in listed if isinstance(entry, str)] + from_pip)
    found = {CONDA.get(name, name): specifier for name, specifier in found.items()}
    assert found.pop("python") == SpecifierSet(PROJECT["project"]["requires-python"])
    assert found.pop("pip") == SpecifierSet()
    assert found == NEEDED


def locked() -> list[tuple[str, str, bool]]:
    """Name, version and whether it is for this machine."""
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    pins = [Requirement(re.sub(r" \\$", "", line)) for line in lines if re.match(r"\w", line)]
    return [
        (
            canonicalize_name(pin.name),
            next(iter(pin.specifier)).version,
            pin.marker is None or pin.marker.evaluate(dict(default_environment())),
        )
        for pin in pins
    ]


@pytest.mark.parametrize("requirement", EVERYTHING)
def test_the_locked_versions_are_inside_the_bounds(requirement: str) -> None:
    wanted = Requirement(requirement)
    versions = [v for name, v, _ in locked() if name == canonicalize_name(wanted.name)]
    assert versions, "run `make lock`"
    assert all(wanted.specifier.contains(version) for version in versions)
    assert sum(here for name, _, here in locked() if name == canonicalize_name(wanted.name)) == 1


def test_what_is_relied_on_inside_has_an_upper_bound() -> None:
    bounded = {
        name
        for name, specifier in bounds(EVERYTHING).items()
        if any(part.operator == "<" for part in specifier)
    }
    assert bounded == BOUNDED
