import inspect
from pathlib import Path

import pytest
import yaml
from conftest import METHODS, ROOT, World

from stclip.config import (
    DatasetConfig,
    DetectorConfig,
    Download,
    load_dataset,
    load_method,
    load_scale,
    merge,
)
from stclip.config.hashes import config_hash, training_settings
from stclip.config.target import resolve_target
from stclip.errors import ConfigError

CONFIG = ROOT / "config"


@pytest.mark.parametrize("scale", ["mini", "paper"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_resolves_at_both_scales(method: str, scale: str) -> None:
    config = load_method(CONFIG, method, dataset="jhmdb", scale=scale)
    assert config.name == method
    own = yaml.safe_load((CONFIG / "methods" / f"{method.partition('+')[0]}.yaml").read_text())
    backbone = {"mini": "tiny", "paper": own["backbone"]}[scale]
    assert config.backbone == load_scale(CONFIG, scale).backbones[backbone]


def test_a_variant_is_its_method_but_for_what_it_replaces() -> None:
    full = load_method(CONFIG, "st_clip", dataset="jhmdb", scale="mini")
    variant = load_method(CONFIG, "st_clip+rank_4", dataset="jhmdb", scale="mini")
    assert variant.params == full.params | {"lora_rank": 4}
    assert variant == full.model_copy(
        update={"name": "st_clip+rank_4", "title": variant.title, "params": variant.params}
    )


def test_variants_keep_what_they_are_about_and_a_scale_overrides_single_ones(world: World) -> None:
    variants = {
        "slow": {"title": "Slow", "train": {"lr": 1e-5}, "datasets": {"jhmdb": {"order": 7}}},
        "deep": {"title": "Deep", "params": {"temporal_layers": 3}},
    }
    edit(world.config / "methods" / "st_clip.yaml", variants=variants)
    scale = {
        "*": {"backbone": "small"},
        "st_clip": {"train": {"lr": 1e-2, "iterations": 5}, "params": {"temporal_layers": 2}},
        "st_clip+deep": {"title": "Deeper", "params": {"temporal_layers": 4}},
    }
    edit(world.config / "scales" / "small.yaml", methods=scale)
    slow, deep = (
        load_method(world.config, f"st_clip+{name}", dataset="jhmdb", scale="small")
        for name in variants
    )
    # The scale's rate of st_clip gives way to the variant's, its iterations stay.
    assert (slow.train.lr, slow.train.iterations, slow.order) == (1e-5, 5, 7)
    assert slow.params["temporal_layers"] == 2
    assert (deep.title, deep.params["temporal_layers"], deep.train.lr) == ("Deeper", 4, 1e-2)


@pytest.mark.parametrize("name", ["st_clip+rank_5", "st_clip+", "clip_frame+rank_4"])
def test_an_unknown_variant_lists_the_known_ones(name: str) -> None:
    known = r"\['adamw_high'.*'rank_4'" if name.startswith("st_clip") else r"\[\]"
    with pytest.raises(ConfigError, match=rf"unknown variant of .*yaml '.*'; known are {known}"):
        load_method(CONFIG, name, dataset="jhmdb", scale="mini")


def test_a_scale_overrides_no_variant_that_does_not_exist(world: World) -> None:
    methods = {"*": {"backbone": "small"}, "st_clip+its_1OO": {"title": "typo"}}
    edit(world.config / "scales" / "small.yaml", methods=methods)
    message = r"small\.yaml: unknown variant .* 'its_1OO'; .*nearest is 'its_1"
    with pytest.raises(ConfigError, match=message):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")


def test_a_variant_needs_a_title_and_known_keys(world: World) -> None:
    path = world.config / "methods" / "st_clip.yaml"
    edit(path, variants={"a": {"params": {}}})
    with pytest.raises(ConfigError, match=r"st_clip\.yaml: variants\.a\.title: Field required"):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")
    edit(path, variants={"a": {"title": "A", "epochs": 3}})
    edit(world.config / "scales" / "small.yaml", methods={"*": {"backbone": "small"}})
    with pytest.raises(ConfigError, match=r"st_clip\.yaml: variants\.a: .*unknown key 'epochs'"):
        load_method(world.config, "st_clip+a", dataset="jhmdb", scale="small")


def test_paper_scale_has_the_paper_s_hyper_parameters() -> None:
    """Huang et al. 2025, Table 20."""
    train = load_method(CONFIG, "st_clip", dataset="jhmdb", scale="paper").train
    assert (train.iterations, train.batch_frames, train.lr) == (3000, 8, 2.5e-4)
    assert (train.warmup_iterations, train.warmup_factor) == (800, 0.25)


def test_a_scale_is_laid_over_its_base() -> None:
    mini, choice = (load_scale(CONFIG, scale) for scale in ("mini", "mini_choice"))
    assert choice.methods == mini.methods
    assert choice.backbones == mini.backbones
    drawn, other = (scale.miniature.render["jhmdb"] for scale in (mini, choice))
    assert other == drawn.model_copy(update={"params": drawn.params | {"seed": 1}})
    assert choice.title != mini.title


def test_a_base_that_does_not_exist_is_named(world: World) -> None:
    path = world.config / "scales" / "other.yaml"
    path.write_text("base: small_clip\ntitle: other\n")
    with pytest.raises(ConfigError, match=r"unknown scale 'small_clip'.*known are"):
        load_scale(world.config, "other")


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
    message = r"st_clip\.yaml.*unknown backbone .*'RN50'; known are \['small'\]"
    with pytest.raises(ConfigError, match=message):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")


def test_an_archive_needs_exactly_one_checksum(world: World) -> None:
    archives = {"a.zip": {"url": "https://example.org/a.zip"}}
    forms = {"official": {"target": "a:b", "archives": archives}}
    edit(world.config / "datasets" / "jhmdb.yaml", forms=forms)
    with pytest.raises(
        ConfigError,
        match=r"forms\.official\.archives\.a\.zip.*exactly one checksum, got none",
    ):
        load_dataset(world.config, "jhmdb", scale="small")


def test_a_form_s_target_takes_its_params() -> None:
    names = yaml.safe_load((CONFIG / "datasets" / "jhmdb.yaml").read_text())["forms"]
    assert set(names) == {"official", "repackaged", "authors"}
    for name in names:
        config = at_scale(CONFIG, "paper", {"form": name})
        inspect.signature(resolve_target(config.target)).bind(Path(), Path(), **config.params)
        assert config.archives


def at_scale(folder: Path, scale: str, overrides: dict[str, object]) -> DatasetConfig:
    """J-HMDB with what a scale's YAML would set beside its own overrides."""
    settings = load_scale(folder, scale)
    changed = settings.model_copy(
        update={"datasets": {"jhmdb": merge(settings.datasets.get("jhmdb", {}), overrides)}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stclip.config.resolve.load_scale", lambda *_: changed)
        return load_dataset(folder, "jhmdb", scale=scale)


def test_a_scale_chooses_the_form_and_an_extracted_copy() -> None:
    official = load_dataset(CONFIG, "jhmdb", scale="paper")
    repackaged = at_scale(CONFIG, "paper", {"form": "repackaged"})
    assert list(repackaged.archives) == ["JHMDB.tar.gz"]
    assert repackaged.params == official.params | {
        "archive": "JHMDB.tar.gz", "frames": "Frames", "ground_truth": "JHMDB-GT.pkl",
    }  # fmt: skip
    copy = at_scale(CONFIG, "paper", {"extracted": "/data/JHMDB"})
    assert (copy.extracted, copy.archives) == ("/data/JHMDB", {})
    assert (copy.target, copy.params) == (official.target, official.params)


FILE_DETECTOR = "stclip.detect.backends.file:FileDetector"


def test_an_extracted_copy_may_lie_below_home_or_a_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DATA", "/data")
    for written, path in (
        ("~/JHMDB", "/home/me/JHMDB"), ("$HOME/JHMDB", "/home/me/JHMDB"),
        ("${DATA}/JHMDB", "/data/JHMDB"), ("a/~b", "a/~b"),
    ):  # fmt: skip
        assert at_scale(CONFIG, "paper", {"extracted": written}).extracted == path
    with pytest.raises(ConfigError, match=r"extracted: .*\$NOWHERE/JHMDB: names an environment"):
        at_scale(CONFIG, "paper", {"extracted": "$NOWHERE/JHMDB"})
    with pytest.raises(ConfigError, match=r"extracted: .*~nobody_of_that_name/x"):
        at_scale(CONFIG, "paper", {"extracted": "~nobody_of_that_name/x"})
    detector = DetectorConfig(target=FILE_DETECTOR, files={"detections": "~/found.json"})
    assert detector.files == {"detections": "/home/me/found.json"}


def test_a_scale_s_archives_replace_those_of_the_form() -> None:
    mini = load_dataset(CONFIG, "jhmdb", scale="mini")
    assert all(source.url.startswith("file:") for source in mini.archives.values())
    one = {"forms": {"official": {"archives": {"a.zip": {"url": "file:a.zip", "md5": "0" * 32}}}}}
    assert list(at_scale(CONFIG, "paper", one).archives) == ["a.zip"]


def test_an_unknown_form_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown form .*'zip'; known are \['authors', 'offic"):
        at_scale(CONFIG, "paper", {"form": "zip"})


def test_a_manual_download_may_lack_a_checksum() -> None:
    assert Download(url="manual:https://example.org").md5 is None


def test_damaged_yaml_is_named(world: World) -> None:
    (world.config / "methods" / "st_clip.yaml").write_text("train: [")
    with pytest.raises(ConfigError, match=r"st_clip\.yaml: not valid YAML"):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")


def test_hash_follows_training_settings_and_nothing_else() -> None:
    config = load_method(CONFIG, "st_clip", dataset="jhmdb", scale="mini")
    renamed = config.model_copy(update={"title": "other", "order": 1})
    faster = config.model_copy(update={"train": config.train.model_copy(update={"lr": 1.0})})
    assert config_hash(training_settings(config)) == config_hash(training_settings(renamed))
    assert config_hash(training_settings(config)) != config_hash(training_settings(faster))


@pytest.mark.parametrize(
    ("method", "iterations", "warmup", "params"),
    [
        ("st_clip", 20_000, 2000, {"interest_tokens": 100}),
        ("iclip", 30_000, 2000, {"before": 30, "after": 30}),
        ("vitaclip", 10_000, 1000, {"unit": "tracklet", "crops": True}),
    ],
)
def test_settings_on_ava_are_those_of_table_19(
    world: World, method: str, iterations: int, warmup: int, params: dict[str, object]
) -> None:
    datasets = world.config / "datasets"
    (datasets / "ava.yaml").write_text((datasets / "jhmdb.yaml").read_text())
    config = load_method(world.config, method, dataset="ava", scale="small")
    schedule = (config.train.iterations, config.train.warmup_iterations, config.train.warmup_factor)
    assert schedule == (iterations, warmup, 0.25)
    assert (config.train.lr, config.train.batch_frames) == (4e-4, 8)
    assert config.params.items() >= params.items()
