"""Values of settings: types, ranges and choices, checked before any job and without torch."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import METHODS, ROOT, World
from pydantic import BaseModel
from timm.data.auto_augment import rand_augment_transform

from baselines.iclip import ICLIP
from stclip import config as c
from stclip import load_official
from stclip.config.hashes import config_hash, training_settings
from stclip.config.models import PROTOCOLS
from stclip.config.target import (
    call_target,
    check_arguments,
    config_class,
    make_config,
    params_of,
    resolve_target,
    resolved_params,
)
from stclip.errors import ConfigError
from stclip.evaluate import protocol, video_map
from stclip.methods.build import build
from stclip.methods.contract import Method
from stclip.methods.st_clip.st_clip import STCLIP
from stclip.train.run_folder import run_hash

CONFIG = ROOT / "config"
PLAIN = [name for name in METHODS if "+" not in name]
SCALES = [c.load_scale(CONFIG, scale) for scale in ("mini", "paper")]
DETECTORS = {d.target for scale in SCALES for d in scale.detectors.values()}


def with_params(world: World, method: str, params: str) -> c.MethodConfig:
    """The method with `params`, the text of a YAML mapping, in its file."""
    path = world.config / "methods" / f"{method}.yaml"
    content = yaml.safe_load(path.read_text()) | {"params": yaml.safe_load(params)}
    path.write_text(yaml.safe_dump(content))
    return c.load_method(world.config, method, dataset="jhmdb", scale="small")


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("st_clip", "{temporal: keyframe}", "temporal: .*'average' or 'key', found 'keyframe'"),
        (
            "st_clip",
            "{lora_placement: attn}",
            "lora_placement: .*'all', found 'attn'",
        ),
        ("st_clip", "{adapter: typo}", "adapter: .*'linear' or 'none', found 'typo'"),
        ("st_clip", "{lora_at_test: sometimes}", "lora_at_test: .*boolean.*found 'sometimes'"),
        ("st_clip", "{lora_rank: -1}", "lora_rank: .*greater than or equal to 0, found -1"),
        ("st_clip", "{lora_rank: yes}", "lora_rank: a number is needed, found True"),
        ("st_clip", "{lora_rank: 2.5}", "lora_rank: .*integer.*found 2.5"),
        ("st_clip", "{temperature: 0}", "temperature: .*greater than 0, found 0"),
        ("st_clip", "{temperature: .inf}", "temperature: .*finite number, found inf"),
        ("st_clip", "{rho: .nan}", "rho: .*finite number, found nan"),
        ("st_clip", "{interest_tokens: 3, prompting: none}", "with prompting none no token"),
        ("st_clip", "{temporal_layers: 2, temporal: average}", "average has no layers"),
        ("iclip", "{object_pick: scores}", "object_pick: .*'score' or 'random', found 'scores'"),
        ("iclip", "{memory_pool: visit}", "memory_pool: .*'full' or 'visited', found 'visit'"),
        ("iclip", "{temperature: -0.07}", "temperature: .*greater than 0, found -0.07"),
        ("iclip", "{before: -1}", "before: .*greater than or equal to 0, found -1"),
        ("xclip", "{sampling: all}", r"sampling: known rules are \['a5',.*found 'all'"),
        ("xclip", "{views: 3}", "views is 3, but sampling xclip_whole chooses the same frames"),
        ("a5", "{crops: true}", "crops are of a person's track: they need unit tracklet"),
        ("vitaclip", "{logit_scale_init: clap}", "logit_scale_init.*found 'clap'"),
    ],
)
def test_a_value_without_meaning_is_refused_on_loading(
    world: World, method: str, params: str, message: str
) -> None:
    where = re.escape(str(world.config / "methods" / f"{method}.yaml"))
    with pytest.raises(ConfigError, match=f"{where} at scale small: params: .*{message}"):
        with_params(world, method, params)


def test_text_is_read_as_the_number_that_it_means(world: World) -> None:
    text = "{temperature: 7e-2, lora_rank: '4', lora_at_test: 'no'}"
    assert yaml.safe_load(text)["temperature"] == "7e-2"  # YAML wants 7.0e-2
    params = with_params(world, "st_clip", text).params
    assert (params["temperature"], params["lora_rank"], params["lora_at_test"]) == (0.07, 4, False)


def test_a_misspelt_param_is_refused_with_the_nearest_and_all_names(world: World) -> None:
    known = r"unknown params \['lora_rnak'\] for STCLIP; it takes \['adapter', 'after'.*"
    with pytest.raises(ConfigError, match=known + r"the nearest is 'lora_rank'"):
        with_params(world, "st_clip", "{lora_rnak: 4}")


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_resolved_is_whole_and_resolved_once(name: str) -> None:
    """What rule, job and hash see: a default that changes in the code changes the hash."""
    config = c.load_method(CONFIG, name, dataset="jhmdb", scale="mini")
    own = make_config(resolve_target(config.target), config.params, where=name)
    assert config.params == params_of(own) == resolved_params(config.target, config.params)
    assert config.params.keys() == type(own).model_fields.keys()
    assert training_settings(config)["params"] == config.params


def test_another_default_is_another_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world.method("st_clip")

    class Other(STCLIP.Config):
        rho: float = 0.3

    monkeypatch.setattr("stclip.methods.st_clip.st_clip_config.STCLIPConfig", Other)
    other = world.method("st_clip")
    assert (config.params["rho"], other.params["rho"]) == (0.2, 0.3)
    hashes = {run_hash(x, world.split, 0) for x in (config, other)}
    assert len(hashes) == 2
    assert config_hash(training_settings(config)) != config_hash(training_settings(other))


METHOD_TARGETS = {
    yaml.safe_load(path.read_text())["target"] for path in (CONFIG / "methods").glob("*.yaml")
}


@pytest.mark.parametrize("target", sorted(METHOD_TARGETS | DETECTORS))
def test_a_class_and_the_module_beside_it_have_one_config(target: str) -> None:
    assert config_class(target) is resolve_target(target).Config


def test_settings_are_checked_without_torch() -> None:
    code = f"""
import sys
from pathlib import Path
from stclip import config as c
for scale in ("mini", "paper"):
    c.load_scale(Path("config"), scale)
    for method in {METHODS}:
        c.load_method(Path("config"), method, dataset="jhmdb", scale=scale)
assert not {{"torch", "open_clip", "torchvision"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_program_gets_the_same_errors() -> None:
    with pytest.raises(ConfigError, match=r"params of STCLIP: temporal: .*found 'keyframe'"):
        STCLIP.Config(temporal="keyframe")
    with pytest.raises(
        ConfigError, match=r"unknown params \['unitz'\] for ICLIP; .*nearest is 'units'"
    ):
        ICLIP.Config(unitz="P")
    for make in (build, lambda name, **k: load_official(name, Path("none.pth"), **k)):
        with pytest.raises(ConfigError, match=r"method st_clip: .* adapter: .*'typo'"):
            make("st_clip", labels=["run"], config=CONFIG, adapter="typo")
    assert STCLIP.Config(temperature=1).temperature == 1.0


class Own(Method):
    """A method whose Config stands in the class, as a dataclass."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        frames: int = 4


class Newer(Method):
    class Config(c.Params):
        frames: int = 4


class Neither:
    class Config(BaseModel):  # would ignore unknown params
        pass


@pytest.mark.parametrize("owner", ["Own", "Newer"])
def test_a_config_inside_its_class_is_checked_by_its_types(owner: str) -> None:
    target = f"{__name__}:{owner}"
    assert resolved_params(target, {"frames": "8"}) == {"frames": 8}
    assert resolved_params(target, {}) == {"frames": 4}
    with pytest.raises(ConfigError, match=rf"params of {owner}: frames: .*integer.*found 'many'"):
        resolved_params(target, {"frames": "many"})
    with pytest.raises(ConfigError, match=rf"\['frame'\] for {owner}; .*nearest is 'frames'"):
        resolved_params(target, {"frame": 8})


def test_a_target_without_a_config_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"Neither\.Config must be a stclip\.config\.Params"):
        resolved_params(f"{__name__}:Neither", {})
    with pytest.raises(ConfigError, match=r"has no Config; see docs/add-a-method\.md"):
        resolved_params("pathlib:PurePath", {})
    with pytest.raises(ConfigError, match=r"baselines\.iclip:ICLP.*must be module:name"):
        resolved_params("baselines.iclip:ICLP", {})
    with pytest.raises(ConfigError, match=r"No module named 'baselines\.iclap'"):
        resolved_params("baselines.iclap:ICLIP", {})


def test_a_detector_s_params_are_checked_with_the_scale(world: World) -> None:
    path = world.config / "scales" / "small.yaml"
    content = yaml.safe_load(path.read_text())
    file = {"target": "stclip.detect.backends.file:FileDetector", "params": {"objects": "no"}}
    path.write_text(yaml.safe_dump(content | {"detectors": {"file": file}}))
    assert not c.load_scale(world.config, "small").detectors["file"].finds_objects
    file["params"] = {"box_fromat": "xyxy"}
    path.write_text(yaml.safe_dump(content | {"detectors": {"file": file}}))
    message = r"small\.yaml: detectors\.file\.params: unknown params \['box_fromat'\] for FileDet"
    with pytest.raises(ConfigError, match=message):
        c.load_scale(world.config, "small")


@pytest.mark.parametrize(
    ("model", "content", "message"),
    [
        (c.TrainConfig, {"iterations": 1, "momentum": 1.5}, "momentum: .*less than 1, found 1.5"),
        (c.TrainConfig, {"iterations": 1, "weight_decay": -1}, "weight_decay: .*equal to 0"),
        (c.TrainConfig, {"iterations": 1, "warmup_factor": 2}, "warmup_factor: .*equal to 1"),
        (c.TrainConfig, {"iterations": 1, "focal_gamma": -2}, "focal_gamma: .*equal to 0"),
        (c.TrainConfig, {"iterations": True}, "iterations: a number is needed, found True"),
        (c.FinetuneConfig, {"epochs": 1, "lr": 1, "momentum": -1}, "momentum: .*equal to 0"),
        (
            c.FinetuneConfig,
            {"epochs": 1, "lr": 1, "weight_decay": -1},
            "weight_decay: .*equal to 0",
        ),
        (c.Augmentation, {"rand_augment": "m7-n4"}, "rand_augment: .*pattern.*found 'm7-n4'"),
        (c.BoxSource, {"source": "detections", "within": -0.1}, "within: .*equal to 0"),
        (c.BoxSource, {"source": "ground_truth", "top": 3}, "ground truth has no scores"),
        (c.Seconds, {"rule": "seconds", "start": -1, "first": 0, "last": 2}, "start: .*equal to 0"),
        (c.LinkingConfig, {"patience_s": 0}, "patience_s: .*greater than 0"),
        (
            c.LinkingConfig,
            {"two_scores": {"high": 2}},
            "two_scores.high: .*less than or equal to 1",
        ),
        (
            c.Metric,
            {"name": "frame_map", "protocol": "iclipp", "iou": [0.5]},
            "unknown protocol of frame_map 'iclipp'",
        ),
        (c.Metric, {"name": "video_map", "protocol": "hit", "iou": [0.5]}, "known are .*'act'"),
        (c.Metric, {"name": "frame_map", "protocol": "act", "iou": [50]}, "iou.*less than or eq"),
        (c.Metric, {"name": "video_map", "protocol": "act", "iou": [0.5, 0.5]}, "each once"),
        (c.Resources, {"threads": 0}, "threads: .*equal to 1, found 0"),
        (c.Resources, {"gpu": -1}, "gpu: .*equal to 0, found -1"),
        (c.Resources, {"gpus": 1}, "gpus: Extra inputs are not permitted"),
        (c.TinyClip, {"seed": 0, "steps": 0}, "steps: .*equal to 1, found 0"),
        (c.TinyDetector, {"seed": 0, "stepz": 10}, "stepz: Extra inputs are not permitted"),
        (
            c.Download,
            {"url": "ftp://x", "md5": "0" * 32},
            "url: .*begins with https:.*found 'ftp://x'",
        ),
        (c.Download, {"url": "https://x", "sha256": "12"}, "sha256: .*pattern"),
    ],
)
def test_numbers_outside_their_range_are_refused(
    model: type[Any], content: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s)here: .*{message}"):
        c.checked(model, content, "here")


@pytest.mark.parametrize(
    "key", ["label_text", "exclusive_labels", "patience_s", "two_scores", "name"]
)
def test_a_method_sets_nothing_that_is_the_data_set_s(world: World, key: str) -> None:
    """It would have been overwritten."""
    path = world.config / "methods" / "st_clip.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: "raw"}))
    with pytest.raises(
        ConfigError, match=f"st_clip.yaml at scale small: {key}: it is not set here"
    ):
        c.load_method(world.config, "st_clip", dataset="jhmdb", scale="small")


@pytest.mark.parametrize("key", ["target", "archives"])
def test_a_data_set_sets_nothing_that_is_its_form_s(world: World, key: str) -> None:
    path = world.config / "datasets" / "jhmdb.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: {}}))
    with pytest.raises(ConfigError, match=f"jhmdb.yaml at scale small: {key}: it is not set here"):
        c.load_dataset(world.config, "jhmdb", scale="small")


def test_the_protocols_are_those_that_there_are() -> None:
    assert set(PROTOCOLS["frame_map"]) == set(protocol.PROTOCOLS)
    assert set(PROTOCOLS["video_map"]) == set(video_map.VIDEO_PROTOCOLS)


@pytest.mark.parametrize(
    "notation", ["rand", "rand-m7-n4-mstd0.5-inc1", "rand-mstd1-tweights", "rand-p0.3-mmax20"]
)
def test_the_notation_of_rand_augment_is_timm_s(notation: str) -> None:
    assert c.Augmentation(rand_augment=notation).rand_augment == notation
    rand_augment_transform(notation, {})


def drawn(out: Path, *, seed: int, size: list[int], name: str = "a", workers: int = 1) -> None:
    """A target with params of several types."""


def hands_on(out: Path, **others: Any) -> None:
    """Its own params are known to `drawn` alone."""
    drawn(out, **others)


DRAWN: Callable[..., dict[str, Any]] = lambda params: check_arguments(  # noqa: E731
    f"{__name__}:drawn", params, where="here", given=1, also=["workers"]
)


def test_params_of_a_function_are_checked_by_its_signature() -> None:
    assert DRAWN({"seed": "3", "size": (1, 2)}) == {"seed": 3, "size": [1, 2]}
    for params, message in (
        ({"seed": 1, "size": "big"}, "size: .*list, found 'big'"),
        ({"seed": True, "size": [1]}, "seed: a number is needed, found True"),
        ({"size": [1]}, "seed: Field required"),
        ({"sede": 1, "size": [1]}, r"unknown params \['sede'\] .*nearest is 'seed'"),
        ({"seed": 1, "size": [1], "workers": 2}, r"unknown params \['workers'\]"),
    ):
        with pytest.raises(ConfigError, match=f"here: .*{message}"):
            DRAWN(params)
    with pytest.raises(ConfigError, match=r"drawn must take the keyword arguments \['store'\]"):
        call_target(
            f"{__name__}:drawn", Path(), params={"seed": 1, "size": [1]}, where="here", store="x"
        )


def test_a_function_that_hands_params_on_names_those_it_cannot() -> None:
    with pytest.raises(ConfigError, match=r"here: .*hands_on: .*unexpected.*'colour'"):
        call_target(f"{__name__}:hands_on", Path(), params={"colour": 1}, where="here")
    with pytest.raises(TypeError, match="missing 2 required"):  # a bug of the function
        call_target(f"{__name__}:hands_on", Path(), params={}, where="here")
