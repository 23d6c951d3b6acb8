"""What a scale asks for, read from its settings: data sets, methods, detectors, resources."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stclip import config as c

RULES_OWN_MB = 2000  # memory of a job whose rule the scale says nothing of


@dataclass(frozen=True)
class Needs:
    """A scale with the data sets and methods that are to be run at it."""

    config: Path  # folder of the YAML files
    name: str
    scale: c.Scale
    datasets: dict[str, c.DatasetConfig]
    methods: dict[str, list[c.MethodConfig]]  # each as it is for every data set
    detectors: dict[str, c.DetectorConfig]  # those in use

    def most(self, resource: str, default: int) -> tuple[int, list[str]]:
        """The most that a job asks for of a resource, and the rules whose jobs do."""
        asked = {rule: getattr(r, resource) for rule, r in self.scale.resources.items()}
        most = max([default, *(n for n in asked.values() if n is not None)])
        return most, sorted(rule for rule, n in asked.items() if n == most)

    @property
    def threads(self) -> int:
        """CPU threads of a job, at most; one computes, the others read ahead."""
        return self.most("threads", 1)[0]

    @property
    def half_precision(self) -> list[str]:
        """The methods and detectors that compute in bf16."""
        of_methods = {n for n, own in self.methods.items() for m in own if _in_bf16(m)}
        return sorted(of_methods | {n for n, d in self.detectors.items() if d.precision == "bf16"})

    @property
    def compiled(self) -> list[str]:
        """The methods that torch.compile is asked for."""
        own = self.methods.items()
        return sorted(n for n, ms in own if any(m.train.compile or m.score.compile for m in ms))

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """Path of a file -> the methods and detectors in use that read it."""
        found: dict[str, list[str]] = {}
        for name, own in self.methods.items():
            for path in {path for method in own for path in method.backbone.files}:
                found.setdefault(path, []).append(name)
        for name, detector in self.detectors.items():
            for path in detector.paths:
                found.setdefault(path, []).append(f"detector {name}")
        return found


def read_needs(
    config: Path,
    scale: str | None = None,
    *,
    datasets: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> Needs:
    """The needs of a scale; what is not named is as config.yaml chooses it.

    Raises:
        ConfigError: the settings are wrong; as when the workflow is parsed.
    """
    built = c.read_yaml(config / "config.yaml")
    name = scale or str(built["scale"])
    settings = c.load_scale(config, name)
    data = {
        d: c.load_dataset(config, d, scale=name)
        for d in (list(datasets) or list(built["datasets"]))
    }
    chosen = list(methods) or _all_or_named(
        built.get("methods", "all"), lambda: [p.stem for p in (config / "methods").glob("*.yaml")]
    )
    resolved = {
        m: [c.load_method(config, m, dataset=d, scale=name) for d in data] for m in sorted(chosen)
    }
    compared = _all_or_named(
        built.get("detectors", "all"),
        lambda: [n for n, d in settings.detectors.items() if not d.by_hand and not d.finds_objects],
    )
    used = [*compared, *(n for d in data.values() for n in (d.detector, d.objects, *d.compared))]
    detectors = {
        n: c.pick(settings.detectors, n, what=f"detector of scale {name}")
        for n in dict.fromkeys(used)
        if n is not None
    }
    return Needs(config, name, settings, data, resolved, detectors)


def _all_or_named(chosen: Any, everything: Callable[[], list[str]]) -> list[str]:
    return everything() if chosen == "all" else [str(name) for name in chosen]


def _in_bf16(method: c.MethodConfig) -> bool:
    return "bf16" in (method.train.precision, method.score.precision)
