"""Code of one's own is found through import statements, without importing it."""

import sys
from pathlib import Path

import pytest
from conftest import ROOT

from stclip.config import DetectorConfig, load_dataset, load_method
from stclip.config.hashes import (
    config_hash,
    detection_settings,
    finetuning_settings,
    preparation_settings,
    training_settings,
)
from stclip.config.sources import SUITE, sources_of
from stclip.errors import ConfigError

FILES = {
    "own/__init__.py": "",
    "own/method.py": "from . import parts\nfrom own.sub.deep import thing\nimport beside\n",
    "own/method_config.py": "from stclip.config import Params as OwnConfig",
    "own/parts.py": "import torch\nraise SystemExit('imported')\n",
    "own/sub/__init__.py": "from ..layer import Layer\n",
    "own/sub/deep.py": "def f():\n    from own import late\n",
    "own/layer.py": "",
    "own/late.py": "import own.method\n",
    "own/other.py": "",
    "beside.py": "",
    "stranger.py": "",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_what_a_module_imports_counts_and_nothing_is_imported(folder: Path) -> None:
    found = sources_of("own.method:Method")
    assert list(found) == [
        *("beside", "own", "own.late", "own.layer", "own.method", "own.parts", "own.sub"),
        "own.sub.deep",
    ]
    assert not {"own", "beside"} & sys.modules.keys()


@pytest.mark.parametrize("name", ["own/method.py", "own/late.py", "own/layer.py", "beside.py"])
def test_an_edit_of_any_of_them_counts(folder: Path, name: str) -> None:
    before = sources_of("own.method:Method")
    (folder / name).write_text(FILES[name] + "# edited\n")
    after = sources_of("own.method:Method")
    assert [module for module in after if after[module] != before[module]] == [
        name.removesuffix(".py").replace("/", ".")
    ]


def test_what_nobody_imports_does_not_count(folder: Path) -> None:
    before = sources_of("own.method:Method")
    (folder / "own/other.py").write_text("edited = True\n")
    assert sources_of("own.method:Method") == before


def test_a_target_among_the_params_counts_and_libraries_do_not(folder: Path) -> None:
    params = {"builder": "stranger:build", "deep": [{"a": "torchvision.models:resnet18"}]}
    target = "stclip.detect.backends.torchvision:TorchvisionDetector"
    assert list(sources_of(target, params)) == ["stranger"]
    assert sources_of(target, {"text": "a:b", "path": "file:data/a"}) == {}


def test_baselines_count_and_the_suite_does_not() -> None:
    found = sources_of("baselines.iclip:ICLIP")
    assert "baselines.iclip_interaction" in found
    assert not [module for module in found if module.startswith("stclip")]
    assert sources_of("stclip.methods.st_clip.st_clip:STCLIP") == {}


def test_what_stands_under_a_stage_version_exists() -> None:
    for module in SUITE:
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module


def test_a_module_of_ones_own_inside_the_package_counts() -> None:
    """As docs/add-a-dataset.md says where it is to be put."""
    assert list(sources_of("stclip.prepare.counts:count")) == ["stclip.prepare.counts"]


def test_a_module_that_is_not_there_or_no_python_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"target 'own\.gone:A': there is no module 'own\.gone'"):
        sources_of("own.gone:A")
    (folder / "own/layer.py").write_text("def f(:\n")
    with pytest.raises(ConfigError, match=r"own/layer\.py:1: not valid Python"):
        sources_of("own.method:Method")


def test_every_stage_of_a_target_has_its_sources_among_its_settings(folder: Path) -> None:
    config = ROOT / "config"
    own = {"target": "own.method:Own"}
    method = load_method(config, "st_clip", dataset="jhmdb", scale="mini")
    data = load_dataset(config, "jhmdb", scale="mini")
    detector = DetectorConfig.model_validate(own)
    found = []
    for _ in range(2):
        parts = [
            training_settings(method.model_copy(update=own)),
            preparation_settings(data.model_copy(update=own)),
            detection_settings(detector.model_copy()),
            finetuning_settings(detector.model_copy()),
        ]
        found.append([config_hash(part) for part in parts])
        (folder / "own/late.py").write_text("edited = True\n")
        detector = DetectorConfig.model_validate(own)
    assert not {*found[0]} & {*found[1]}
