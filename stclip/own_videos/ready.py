"""Builds what a prediction needs: the settings, the method with its weights, the detector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from torch import Tensor

from stclip import config as c
from stclip.config import DetectorConfig, MethodConfig
from stclip.config.hashes import config_hash, detection_settings, training_settings
from stclip.config.package_files import path_of
from stclip.config.predict_models import PredictConfig
from stclip.config.target import resolve_target
from stclip.detect.backends.backend import Backend, files_of, load_backend
from stclip.errors import ConfigError, DataError
from stclip.methods.build import load_method
from stclip.methods.contract import Method
from stclip.records import Clips
from stclip.runtime.device import best_device, seed_everything
from stclip.runtime.identity import backbone_content, files_content
from stclip.storage.tensors import read_foreign_tensors, read_tensors
from stclip.train.run_folder import WEIGHTS, backbone_hash

SETTINGS = "config.yaml"  # of a run, beside its weights
_SEED = 0  # of a method that trains nothing but has random parts; as `stclip score` by default


@dataclass(frozen=True)
class Choice:
    """Which method, weights and detectors: settings alone, nothing is loaded."""

    method: MethodConfig
    weights: Path | None
    detector: DetectorConfig
    objects: DetectorConfig | None  # for a method that looks at objects
    own: PredictConfig
    scale: str

    def key(self, computed: Mapping[str, Any]) -> str:
        """16 hex digits that change with all that moves a number, content of files included.

        `computed`: precision and device that are used; they count where the settings leave the
        precision to the device.

        Raises:
            DataError: a file is missing.
        """
        detectors = [d for d in (self.detector, self.objects) if d is not None]
        left_open = "auto" in [self.method.score.precision, *(d.precision for d in detectors)]
        weights = {} if self.weights is None else {"weights": self.weights}
        return config_hash(
            training_settings(self.method), self.own,
            *(detection_settings(detector) for detector in detectors),
            {
                "score": self.method.score.model_dump(mode="json"),
                "backbone": backbone_content(self.method.backbone),
                "weights": files_content(weights),
                "detectors": [files_content(files_of(detector)) for detector in detectors],
            }
            | ({"computed": computed} if left_open else {}),
        )  # fmt: skip


def choose(
    *,
    config: Path,
    scale: str,
    own: PredictConfig,
    weights: Path | None,
    method: str | None,
    detector: str | None,
) -> Choice:
    """Resolve what is asked for, and see that its files are there.

    Args:
        config: folder of the YAML files.
        scale: a file of its `scales`.
        own: the settings of predictions.
        weights: a run's folder, its weights, or a file of trained tensors of `method`.
        method: a file of `methods` or a variant; None: that of the run, else of `own`.
        detector: of the scale; None: that of the data set of `own`.

    Raises:
        ConfigError: unknown names, a method that needs weights, weights of another method.
        DataError: a file is missing.
    """
    about = c.load_dataset(config, own.dataset, scale=scale)
    file, settings = (None, None) if weights is None else _run_of(weights)
    if settings is None:
        name = method or own.method
        settings = c.load_method(config, name, dataset=own.dataset, scale=scale)
    elif method is not None and method != settings.name:
        raise ConfigError(
            f"{weights}: weights of method {settings.name!r}, --method says {method!r}. Leave "
            "--method out, or give weights of that method."
        )
    if file is None and settings.train.iterations:
        raise ConfigError(
            f"method {settings.name!r} is trained and needs weights: --weights with a run's folder "
            "(runs/.../METHOD/SEED) or a .safetensors file. Without weights go "
            f"{untrained_methods(config, dataset=own.dataset, scale=scale)}."
        )
    persons = c.load_detector(config, detector or about.detector, scale=scale)
    persons = persons.model_copy(
        update={"score_threshold": max(own.min_score, persons.score_threshold)}
    )
    objects = None
    if settings.objects:
        if about.objects is None:
            raise ConfigError(
                f"method {settings.name!r} looks at objects; data set {own.dataset!r} names no "
                "detector of objects. Take a variant without objects."
            )
        objects = c.load_detector(config, about.objects, scale=scale)
    for found in (persons, objects):
        if found is not None:
            _check_detector(found, scale=scale)
    _check_files([path_of(name) for name in settings.backbone.files], scale=scale)
    return Choice(settings, file, persons, objects, own, scale)


def untrained_methods(config: Path, *, dataset: str, scale: str) -> list[str]:
    """The methods that need no weights."""
    names = sorted(path.stem for path in (config / "methods").glob("*.yaml"))
    settings = (c.load_method(config, name, dataset=dataset, scale=scale) for name in names)
    return [found.name for found in settings if not found.train.iterations]


def _run_of(weights: Path) -> tuple[Path, MethodConfig | None]:
    """The file of trained tensors, and the settings beside it if it is a run's."""
    if not weights.exists():
        raise DataError(f"{weights}: no such file or folder; --weights names a run or its weights.")
    file = weights / WEIGHTS if weights.is_dir() else weights
    beside = file.with_name(SETTINGS)
    if not file.exists():
        raise DataError(f"{file}: no such file; is {weights} the folder of a finished run?")
    if not beside.exists():
        if weights.is_dir():
            raise DataError(f"{beside}: no such file; a run's folder holds its settings.")
        return file, None
    try:
        content = yaml.safe_load(beside.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{beside}: not valid YAML ({error}); restore the run.") from None
    if not isinstance(content, dict):
        raise DataError(f"{beside}: expected the settings of a run; restore it.")
    return file, c.checked(MethodConfig, content, str(beside))


def _check_detector(settings: DetectorConfig, *, scale: str) -> None:
    target = resolve_target(settings.target)
    if not target.needs_frames:
        raise ConfigError(
            f"detector {settings.target} has its boxes from files of a data set, none for videos "
            "of your own. Name another (--detector), or a method or variant that looks at no "
            "objects."
        )
    _check_files(list(files_of(settings).values()), scale=scale, by_hand=settings.by_hand)


def _check_files(files: Sequence[Path], *, scale: str, by_hand: str | None = None) -> None:
    for path in files:
        if not path.is_file():
            how = f"Make or download it: snakemake --cores 2 {path} --config scale={scale}"
            raise DataError(f"{path}: no such file. {by_hand or how}")


def ready_method(choice: Choice) -> Method:
    """The method with its weights on the best device, ready to score.

    Raises:
        ConfigError: the weights are of another method or backbone. DataError: they are damaged.
    """
    config = choice.method
    seed_everything(_SEED)
    method = load_method(config).to(best_device())
    if config.train.iterations:
        assert choice.weights is not None, "`choose` refuses it"
        method.load_trained_state(_trained(choice.weights, config), where=str(choice.weights))
    method.eval()
    method.prepare_scoring()
    if config.score.compile:
        method.backbone.compile_blocks()
    return method


def _trained(file: Path, config: MethodConfig) -> dict[str, Tensor]:
    if not file.with_name(SETTINGS).exists():
        return read_foreign_tensors(file)
    state, metadata = read_tensors(file, stage="train")
    if metadata.get("backbone") != backbone_hash(config):
        raise ConfigError(
            f"{file}: these weights were trained on other files of the backbone than those that "
            "are there now. Restore the files, or train anew."
        )
    return state


def ready_detector(settings: DetectorConfig) -> Backend:
    """The detector on the best device.

    Raises:
        ConfigError: a library is not installed. DataError: damaged weights.
    """
    nothing = Clips(pd.DataFrame(columns=list(Clips.COLUMNS)))
    return load_backend(settings, files=files_of(settings), clips=nothing)


def with_labels(config: MethodConfig, templates: Sequence[str] | None) -> MethodConfig:
    """The settings that score: other templates, and pictures in place of stored features.

    Raises:
        ConfigError: a template without exactly one {}.
    """
    wrong = [t for t in templates or () if t.count("{}") != 1]
    if wrong or (templates is not None and len(set(templates)) < len(templates)):
        raise ConfigError(
            f"templates {list(templates or ())}: each needs exactly one {{}}, where the label "
            "goes, and is given once."
        )
    changed = {"features": [], "label_templates": list(templates or config.label_templates)}
    return config.model_copy(update=changed)
