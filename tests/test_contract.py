"""What every method of config/methods, and every variant, must hold to; being there is enough."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import METHODS, ROOT, World

from stclip.boxes.select import select_boxes
from stclip.config import BoxSource, MethodConfig
from stclip.config.target import make_config, resolve_target
from stclip.errors import ConfigError
from stclip.inputs.batch import Batch
from stclip.inputs.loader import assemble
from stclip.inputs.person_tracks import tracks
from stclip.inputs.samples import make_samples
from stclip.methods.build import load_method
from stclip.methods.contract import Method
from stclip.methods.label_semantics import probabilities
from stclip.methods.layers.video import VideoMethod
from stclip.methods.reading import make_reader
from stclip.records import Boxes, Clips, Detections, Scores
from stclip.score.score import score
from stclip.train.train import train

PLAIN = [name for name in METHODS if "+" not in name]


def build(world: World, name: str) -> tuple[Method, Batch, pd.DataFrame]:
    torch.manual_seed(0)
    config = world.method(name, iterations=0)
    method = load_method(config).eval()
    data = world.with_key_frames(every=4)
    table = select_boxes(BoxSource(source="detections"), data, names=world.split.unseen_clips)
    samples = make_samples(table, world.clips, inputs=method.inputs, objects=world.objects)
    reader = make_reader(method, config, data, kinds_of_boxes=[])
    return method, assemble(reader, method.inputs, samples, training=False), table


@pytest.mark.parametrize("name", METHODS)
def test_logits_are_finite_repeatable_and_one_row_each(world: World, name: str) -> None:
    method, batch, table = build(world, name)
    text = method.encode_labels(world.split.unseen)
    with torch.no_grad():
        logits, again = method(batch, text), method(batch, text)
    rows = len(table) if method.inputs.row_per_box else table["clip"].nunique()
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


@pytest.mark.parametrize("name", PLAIN)
def test_labels_with_odd_characters_are_scored(world: World, name: str) -> None:
    method, batch, _ = build(world, name)
    labels = ["turn (e.g., a screwdriver)", "jump/leap", "été & «nuit»", "frame"]
    with torch.no_grad():
        assert torch.isfinite(method(batch, method.encode_labels(labels))).all()


@pytest.mark.parametrize("name", PLAIN)
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


VIDEO = [  # what classifies clips, by its Config
    path.stem
    for path in sorted((ROOT / "config" / "methods").glob("*.yaml"))
    for target in [yaml.safe_load(path.read_text())["target"]]
    if issubclass(resolve_target(target), VideoMethod)
]


@pytest.mark.parametrize("name", PLAIN)
def test_a_single_label_is_certain(world: World, name: str) -> None:
    method, batch, _ = build(world, name)
    with torch.no_grad():
        logits = method(batch, method.encode_labels(["run"]))
    assert logits.shape[-1] == 1
    assert torch.equal(probabilities(logits), torch.ones_like(logits))


@pytest.mark.parametrize("name", PLAIN)
def test_labels_that_cannot_be_read_are_told(world: World, name: str) -> None:
    method, _, _ = build(world, name)
    with pytest.raises(ConfigError, match=r"'.*run.*' are given twice|'run.*'\] are given twice"):
        method.encode_labels(["run", "walk", "run"])
    endless = "run " * 20
    with pytest.raises(ConfigError, match=r"label '.*run run run.*' has \d+ tokens.* \d+"):
        method.encode_labels(["walk", endless.strip()])


@pytest.mark.parametrize("name", PLAIN)
def test_texts_of_one_label_list_are_not_those_of_another(world: World, name: str) -> None:
    method, batch, _ = build(world, name)
    with torch.no_grad():
        first = method(batch, method.encode_labels(world.split.unseen))
        base = method(batch, method.encode_labels(world.split.base))
        again = method(batch, method.encode_labels(world.split.unseen))
    assert torch.equal(first, again)
    assert base.shape[-1] == len(world.split.base)


@pytest.mark.parametrize("crops", [True, False])
@pytest.mark.parametrize("name", VIDEO)
def test_video_level_methods_score_tracklets(world: World, name: str, crops: bool) -> None:
    """Detected persons are linked to tracks; each track gets one row, and so do all its boxes."""
    config = world.method(name, iterations=2, batch_frames=2)
    tracklets = config.params | {"unit": "tracklet", "crops": crops, "num_frames": 3}
    config = config.model_copy(update={"params": tracklets})
    found = scores_of(world, config)
    fps = dict(world.clips.table[["clip", "fps"]].values)
    by_track = found.table.assign(track=tracks(found.table, fps=fps)).groupby(["clip", "track"])
    columns = [column for column in found.table if column.startswith("score:")]
    assert (by_track[columns].nunique() == 1).all(axis=None)
    assert len(by_track) == 4  # two persons in each of two clips
    rows = by_track[columns].first().to_numpy()
    if crops:  # whole frames of two persons of a clip may be the same
        assert not np.allclose(rows[0], rows[1])


@pytest.mark.parametrize("name", VIDEO)
def test_clips_of_a_single_frame_are_trained_on_and_scored(world: World, name: str) -> None:
    clips = Clips(world.clips.table.assign(num_frames=1))
    boxes = Boxes(world.boxes.table.query("frame == 0").reset_index(drop=True))
    found = Detections(world.detections.table.query("frame == 0").reset_index(drop=True))
    things = Detections(world.objects.table.query("frame == 0").reset_index(drop=True))
    still = replace(world, clips=clips, boxes=boxes, detections=found, objects=things)
    scores = scores_of(still, world.method(name, iterations=2, batch_frames=2))
    assert len(scores) == 2
    np.testing.assert_allclose(scores.probabilities.sum(1), 1, atol=1e-5)


def scores_of(world: World, config: MethodConfig) -> Scores:
    """Train a little, then score the detected boxes of the unseen clips."""
    out = world.folder / "run"
    train(config, world.data, split=world.split, seed=0, out=out)
    score(
        config, world.data, weights=out / "weights.safetensors", split=world.split,
        sources={"detected": BoxSource(source="detections")}, seed=0, out=out,
    )  # fmt: skip
    return Scores.read(out / "scores_detected_unseen.parquet")
