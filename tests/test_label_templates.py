"""Templates around labels: what the text tower reads, for which methods, and what it changes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import yaml
from conftest import World
from torch.nn import functional as F

from stclip.config import MethodConfig, load_method
from stclip.errors import ConfigError
from stclip.methods.build import load_method as build
from stclip.methods.contract import Method
from stclip.train.run_folder import run_hash
from stclip.train.train import train

LABELS = ["run", "walk"]


def with_templates(world: World, method: str, *templates: str) -> MethodConfig:
    """The method on J-HMDB with the templates; none: what the data set says by itself."""
    path = world.config / "datasets" / "jhmdb.yaml"
    content = yaml.safe_load(path.read_text())
    content.pop("label_templates", None)
    path.write_text(
        yaml.safe_dump(content | ({"label_templates": [*templates]} if templates else {}))
    )
    return load_method(world.config, method, dataset="jhmdb", scale="small")


def seeded(config: MethodConfig) -> Method:
    """The method on a random CLIP, always the same."""
    torch.manual_seed(0)
    return build(config)


def test_the_default_is_the_bare_label(world: World) -> None:
    config = with_templates(world, "clip_crop")
    assert config.label_templates == ["{}"]
    method = seeded(config)
    assert torch.equal(method.encode_names(LABELS, config), method.backbone.encode_text(LABELS))


def test_one_template_is_text_for_every_method(world: World) -> None:
    texts = ["a person run", "a person walk"]
    for name in ("clip_crop", "xclip", "a5"):
        config = with_templates(world, name, "a person {}")
        method = seeded(config)
        found, expected = method.encode_names(LABELS, config), method.encode_labels(texts)
        parts = [(found, expected)] if torch.is_tensor(found) else zip(found, expected, strict=True)
        assert all(torch.equal(one, other) for one, other in parts)


def test_several_templates_are_the_mean_of_normalised_features(world: World) -> None:
    config = with_templates(world, "clip_crop", "a person {}", "{}, an action")
    method = seeded(config)
    one, other = (
        F.normalize(method.backbone.encode_text([form.format(n) for n in LABELS]), dim=-1)
        for form in ("a person {}", "{}, an action")
    )
    torch.testing.assert_close(method.encode_names(LABELS, config), (one + other) / 2)


@pytest.mark.parametrize("method", ["vitaclip", "a5", "actionclip"])
def test_several_are_refused_where_more_than_the_feature_is_read(world: World, method: str) -> None:
    config = with_templates(world, method, "a {}", "the {}")
    with pytest.raises(ConfigError, match=r"templates cannot be averaged; give .* one of its 2"):
        seeded(config).encode_names(LABELS, config)


def test_templates_change_the_hash_of_a_run_and_the_bare_label_does_not(world: World) -> None:
    bare, named, one = (
        run_hash(with_templates(world, "clip_crop", *templates), world.split, 0)
        for templates in ((), ("{}",), ("a person {}",))
    )
    assert bare == named
    assert one != bare


def test_a_template_needs_one_place_for_the_label(world: World) -> None:
    for templates, message in [
        (["a person"], r"label_templates: .*\['a person'\]: each needs exactly one \{\}"),
        (["{} {}"], "exactly one"),
        (["{}", "{}"], "given twice"),
    ]:
        with pytest.raises(ConfigError, match=message):
            with_templates(world, "clip_crop", *templates)


def train_on(world: World, name: str, **changes: Any) -> None:
    split = replace(world.split, **changes)
    config = world.method(name, iterations=2, batch_frames=2)
    train(config, world.data, split=split, seed=0, out=world.folder / "run")


def test_an_unseen_label_that_does_not_fit_is_told_before_training(world: World) -> None:
    """13 words fit the text tower's 16 positions, but not beside learned vectors or a template."""
    for method in ("a5", "actionclip", "vitaclip"):
        where = rf"split 1 \(st-clip\) of jhmdb, method {method}: .*has 1\d tokens"
        with pytest.raises(ConfigError, match=where):
            train_on(world, method, unseen=("run " * 13,))
        assert not (world.folder / "run").exists()


def test_an_unseen_label_that_a_base_label_is_to_the_tokenizer_is_told(world: World) -> None:
    with pytest.raises(ConfigError, match=r"labels \['run', ' RUN '\] have the same tokens"):
        train_on(world, "st_clip", unseen=(" RUN ", "clap"))


def test_a_single_base_label_teaches_nothing(world: World) -> None:
    with pytest.raises(ConfigError, match=r"'run' is the only base label .*the loss 0"):
        train_on(world, "st_clip", base=("run",), train_clips=("clip_0",))


@pytest.mark.parametrize(
    ("batch", "clips"), [(1, ("clip_0", "clip_1")), (2, ("clip_0",))], ids=["batch", "data"]
)
def test_a_contrastive_loss_of_one_clip_is_refused(
    world: World, batch: int, clips: tuple[str, ...]
) -> None:
    config = world.method("actionclip", iterations=2, batch_frames=batch)
    split = replace(world.split, train_clips=clips)
    with pytest.raises(ConfigError, match=r"ActionCLIP compares the clips of a batch.*always be 0"):
        train(config, world.data, split=split, seed=0, out=world.folder / "run")
    assert not (world.folder / "run" / "weights.safetensors").exists()
