"""iCLIP's counts, initial values, learning rates, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import World
from iclip_world import Frames, idle, small_method
from small_clip import LABELS, gap, meta_backbone
from test_train import run_training

from baselines.iclip import ICLIP, InteractionPrompting
from stclip.boxes.select import select_boxes
from stclip.config import BoxSource
from stclip.errors import ConfigError
from stclip.inputs.loader import assemble
from stclip.inputs.samples import make_samples
from stclip.methods.build import load_method
from stclip.methods.reading import make_reader


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    return Frames(tmp_path)


@pytest.mark.parametrize(
    ("name", "params", "interaction", "prompting"),
    [
        ("ViT-B-16", {}, 8_527_872, 6_303_232),  # 14.83 M
        ("ViT-B-16", {"prompt_layers": 1}, 8_527_872, 3_152_384),  # 11.68 M
        ("ViT-B-16", {"prompt_layers": 0, "units": "POHM"}, 4_202_496 + 61_440, 0),
        ("ViT-L-14", {}, 19_083_264, 14_173_440),
    ],
)
def test_trained_parameters(
    name: str, params: dict[str, Any], interaction: int, prompting: int
) -> None:
    with torch.device("meta"):
        method = ICLIP(meta_backbone(name), ICLIP.Config(**params))
    counts = {"interaction": 0, "prompting": 0}
    for own, p in method.named_parameters():
        if p.requires_grad:
            counts[own.split(".")[0]] += p.numel()  # of nothing else
    assert counts == {"interaction": interaction, "prompting": prompting}
    if not params and name == "ViT-B-16":
        assert sum(counts.values()) == 14_831_104
        without = sum(p.numel() for n, p in method.named_parameters() if idle(n))
        assert without == 8 * 512 + 2 * (2 * 512**2 + 2 * 512)


def test_initial_values_are_those_of_the_released_code(frames: Frames) -> None:
    method = small_method(perturbed=False).requires_grad_(False)
    for name, p in method.interaction.named_parameters():
        if "out" in name or "bias" in name or "pos" in name:
            assert not p.any(), name
        else:
            assert p.std() == pytest.approx(0.01, rel=0.05), name
    for name, p in method.prompting.layers.named_parameters():
        if p.ndim == 2:
            assert p.std() == pytest.approx(0.02, rel=0.05), name
        elif "norm" not in name:
            assert not p.any(), name
    assert (method.prompting.alpha == 0.1).all()
    # Units begin as the identity: a person is the mean of crop and frame.
    batch = frames.batch(method)
    context = method.image_features(batch.pictures)[batch.key][batch.box_sample]
    assert gap(method.persons(batch), (method.image_features(batch.crops) + context) / 2) < 1e-12


def test_prompting_begins_as_a_small_change_of_direction() -> None:
    torch.manual_seed(0)
    prompting = InteractionPrompting(512, layers=2, alpha=0.1)
    text = torch.randn(5, 512)
    with torch.no_grad():
        prompted = prompting(text, torch.randn(3, 512))
    cosine = torch.nn.functional.cosine_similarity(prompted, text.expand_as(prompted), dim=-1)
    assert cosine.min() > 0.99


def test_units_learn_ten_times_as_fast_and_biases_twice_without_decay() -> None:
    method = small_method()
    factors = {
        id(p): (group.lr_factor, group.weight_decay)
        for group in method.parameter_groups()
        for p in group.parameters
    }
    trained = {n: p for n, p in method.named_parameters() if p.requires_grad}
    assert len(factors) == len(trained)
    for name, p in trained.items():
        rate = 10.0 if name.startswith("interaction") else 1.0
        bias = name.endswith("bias")
        assert factors[id(p)] == ((2 * rate, 0.0) if bias else (rate, None)), name
    (single,) = small_method(lr_groups=False).parameter_groups()
    assert len(single.parameters) == len(trained)
    assert (single.lr_factor, single.weight_decay) == (1.0, None)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"units": ""}, r"units: .*\[POHM\]\+.*, found ''"),
        ({"units": "POX"}, r"units: .*, found 'POX'"),
        ({"object_slots": 0}, r"object_slots: .*greater than or equal to 1, found 0"),
        ({"prompt_layers": -1}, r"prompt_layers: .*greater than or equal to 0, found -1"),
        ({"before": -1}, r"before: .*greater than or equal to 0, found -1"),
        ({"temperature": -0.07}, r"temperature: .*greater than 0, found -0.07"),
        ({"object_pick": "scores"}, r"object_pick: .*'score' or 'random', found 'scores'"),
        ({"memory_pool": "visit"}, r"memory_pool: .*'full' or 'visited', found 'visit'"),
        ({"before": 0, "after": 0}, r"units has M, but before and after are 0: take M out"),
    ],
)
def test_settings_without_meaning_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ICLIP.Config(**params)


def test_what_is_missing_is_named(frames: Frames, world: World) -> None:
    method = small_method()
    batch, text = frames.batch(method), method.encode_labels(LABELS)
    with pytest.raises(ConfigError, match=r"batch\.memory.* leave M out of params\.units"):
        method(
            replace(batch, memory=batch.memory[:, :0], memory_mask=batch.memory_mask[:, :0]), text
        )
    config = world.method("iclip", iterations=0)
    config = config.model_copy(update={"params": {"units": "PHM"}})
    with pytest.raises(ConfigError, match=r"iclip: objects is True, the method itself says False"):
        make_reader(load_method(config), config, world.data, kinds_of_boxes=[])


def test_frames_of_a_data_set_without_any_object_are_scored(world: World) -> None:
    method = load_method(world.method("iclip", iterations=0)).eval()
    data = world.with_key_frames(every=4)
    table = select_boxes(BoxSource(source="detections"), data, names=world.split.unseen_clips)
    none = replace(world.objects, table=world.objects.table[:0])
    samples = make_samples(table, world.clips, inputs=method.inputs, objects=none)
    config = world.method("iclip", iterations=0)
    reader = make_reader(method, config, data, kinds_of_boxes=[])
    with torch.no_grad():
        found = method(
            assemble(reader, method.inputs, samples, training=False),
            method.encode_labels(["run", "walk"]),
        )
    assert torch.isfinite(found).all()


def test_training_moves_every_tensor_that_scores_depend_on(world: World, tmp_path: Path) -> None:
    short = {"iterations": 3, "batch_frames": 4, "lr": 1e-3, "optimizer": "adamw"}
    after = run_training(world, "iclip+official", "a", **short)
    before = run_training(world, "iclip+official", "b", **(short | {"iterations": 1, "lr": 1e-12}))
    still = {name for name in after if torch.equal(after[name], before[name])}
    assert still == {name for name in after if idle(name)}
    assert {name.split(".")[0] for name in after} == {"interaction", "prompting"}
