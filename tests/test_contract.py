"""What every method of config/methods, and every variant, must hold to; being there is enough."""

import pandas as pd
import pytest
import torch
from conftest import METHODS, ROOT, World

from stclip.boxes import make_samples, select_boxes
from stclip.config import BoxSource
from stclip.errors import ConfigError
from stclip.frames import FrameReader, assemble
from stclip.method import Batch, Method, load_method, make_config
from stclip.targets import resolve_target


def build(world: World, name: str) -> tuple[Method, Batch, pd.DataFrame]:
    torch.manual_seed(0)
    method = load_method(world.method(name, iterations=0)).eval()
    table = select_boxes(
        BoxSource(source="detections"), ground_truth=world.boxes, detections=world.detections,
        clips=world.clips, names=world.split.unseen_clips, key_frame_stride=4,
    )  # fmt: skip
    samples = make_samples(table, world.clips, unit=method.inputs.unit)
    reader = FrameReader(world.frames, method.backbone.image_size)
    return method, assemble(reader, method.inputs, samples), table


@pytest.mark.parametrize("name", METHODS)
def test_logits_are_finite_repeatable_and_one_row_each(world: World, name: str) -> None:
    method, batch, table = build(world, name)
    text = method.encode_labels(world.split.unseen)
    with torch.no_grad():
        logits, again = method(batch, text), method(batch, text)
    rows = len(table) if method.inputs.unit == "person" else table["clip"].nunique()
    assert (len(logits), logits.shape[-1]) == (rows, len(world.split.unseen))
    assert logits.ndim <= 3  # an axis of views between rows and labels, at most
    assert torch.isfinite(logits).all()
    assert torch.equal(logits, again)


@pytest.mark.parametrize("name", METHODS)
def test_weights_round_trip_through_the_trained_state(world: World, name: str) -> None:
    method, batch, _ = build(world, name)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    torch.manual_seed(1)
    other = load_method(world.method(name, iterations=0)).eval()
    other.backbone.load_state_dict(method.backbone.state_dict())  # random here, fixed in use
    other.load_trained_state(method.trained_state(), where="test")
    text = method.encode_labels(world.split.unseen)
    with torch.no_grad():
        assert torch.equal(method(batch, text), other(batch, text))


@pytest.mark.parametrize("name", METHODS)
def test_labels_with_odd_characters_are_scored(world: World, name: str) -> None:
    method, batch, _ = build(world, name)
    labels = ["turn (e.g., a screwdriver)", "jump/leap", "été & «nuit»", "frame"]
    with torch.no_grad():
        assert torch.isfinite(method(batch, method.encode_labels(labels))).all()


@pytest.mark.parametrize("name", METHODS)
def test_unknown_params_are_refused(name: str, world: World) -> None:
    target = resolve_target(world.method(name, iterations=0).target)
    with pytest.raises(ConfigError, match=r"unknown params \['colour'\].*it takes"):
        make_config(target, {"colour": "red"}, where="test")


def test_foreign_weights_are_refused_by_name(world: World) -> None:
    method, _, _ = build(world, "st_clip")
    state = method.trained_state()
    state["strange"] = state.pop("temporal.slots.weight")
    with pytest.raises(ConfigError, match=r"missing \['temporal\.slots\.weight'\], unknown \['str"):
        method.load_trained_state(state, where="test")


def test_stclip_never_imports_baselines() -> None:
    for path in (ROOT / "stclip").rglob("*.py"):
        assert "import baselines" not in path.read_text(), path
        assert "from baselines" not in path.read_text(), path
