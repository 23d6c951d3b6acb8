from pathlib import Path

import pytest
import yaml
from conftest import ROOT, World

from stclip.config import (
    config_hash,
    load_dataset,
    load_method,
    load_scale,
    merge,
    what_trains,
)
from stclip.errors import ConfigError

CONFIG = ROOT / "config"
METHODS = sorted(p.stem for p in (CONFIG / "methods").glob("*.yaml"))


@pytest.mark.parametrize("scale", ["mini", "paper"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_resolves_at_both_scales(method: str, scale: str) -> None:
    config = load_method(CONFIG, method, dataset="jhmdb", scale=scale)
    assert config.name == method
    backbone = {"mini": "tiny", "paper": "ViT-B-16"}[scale]
    assert config.backbone == load_scale(CONFIG, scale).backbones[backbone]


def test_paper_scale_has_the_paper_s_hyper_parameters() -> None:
    """Huang et al. 2025, Table 20."""
    train = load_method(CONFIG, "st_clip", dataset="jhmdb", scale="paper").train
    assert (train.iterations, train.batch_frames, train.lr) == (3000, 8, 2.5e-4)
    assert (train.warmup_iterations, train.warmup_factor) == (800, 0.25)


def test_later_layers_win_key_by_key() -> None:
    merged = merge({"a": {"x": 1, "y": 2}, "b": [1, 2]}, {"a": {"y": 3}}, {"b": [4]})
    assert merged == {"a": {"x": 1, "y": 3}, "b": [4]}


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda c: load_scale(c, "huge"), r"unknown scale 'huge'.*known are \['small'\]"),
        (lambda c: load_dataset(c, "kth", scale="small"), r"unknown dataset 'kth'.*jhmdb"),
        (
            lambda c: load_method(c, "clap", dataset="jhmdb", scale="small"),
            r"unknown method 'clap'.*clip_frame",
        ),
    ],
)
def test_unknown_names_list_the_known_ones(world: World, load, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=message):
        load(world.config)


def edit(path: Path, **changes: object) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_unknown_keys_are_refused_with_the_allowed_ones(world: World) -> None:
    edit(world.config / "methods" / "st_clip.yaml", epochs=3)
    with pytest.raises(ConfigError, match=r"st_clip\.yaml.*epochs.*allowed keys.*train"):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")


def test_unknown_training_key_names_its_path(world: World) -> None:
    edit(world.config / "methods" / "st_clip.yaml", train={"iterations": 1, "learning_rate": 1})
    with pytest.raises(ConfigError, match=r"train\.learning_rate"):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")


def test_unknown_backbone_names_those_of_the_scale(world: World) -> None:
    edit(world.config / "scales" / "small.yaml", methods={"*": {"backbone": "RN50"}})
    with pytest.raises(ConfigError, match=r"backbone 'RN50' is unknown.*\['small'\]"):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")


def test_a_source_needs_exactly_one_checksum(world: World) -> None:
    archives = {"a.zip": {"url": "https://example.org/a.zip"}}
    edit(world.config / "datasets" / "jhmdb.yaml", archives=archives)
    with pytest.raises(ConfigError, match=r"archives\.a\.zip.*exactly one checksum, got none"):
        load_dataset(world.config, "jhmdb", scale="small")


def test_damaged_yaml_is_named(world: World) -> None:
    (world.config / "methods" / "st_clip.yaml").write_text("train: [")
    with pytest.raises(ConfigError, match=r"st_clip\.yaml: not valid YAML"):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")


def test_hash_follows_what_trains_and_nothing_else() -> None:
    config = load_method(CONFIG, "st_clip", dataset="jhmdb", scale="mini")
    renamed = config.model_copy(update={"title": "other", "order": 1})
    faster = config.model_copy(update={"train": config.train.model_copy(update={"lr": 1.0})})
    assert config_hash(what_trains(config)) == config_hash(what_trains(renamed))
    assert config_hash(what_trains(config)) != config_hash(what_trains(faster))
