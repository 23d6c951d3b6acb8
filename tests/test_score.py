import sys
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
from conftest import World
from torch import nn

from stclip.config import BoxSource, MethodConfig
from stclip.errors import ConfigError, DataError
from stclip.methods.build import build
from stclip.records import LABEL_GROUPS, LabelSplit, Scores
from stclip.score.score import score
from stclip.storage.frame_store import clip_file
from stclip.storage.tensors import read_tensors
from stclip.train.run_folder import write_untrained
from stclip.train.train import train

TINY = "package:mini/tiny_clip/tiny-clip.json"
SOURCES = {
    "detected": BoxSource(source="detections", within=0.001),
    "top1": BoxSource(source="detections", top=1),
    "gt": BoxSource(source="ground_truth"),
}


def make_weights(world: World, config: MethodConfig, *, seed: int = 0) -> Path:
    out = world.folder / "run"
    if not config.train.iterations:
        write_untrained(config, split=world.split, seed=seed, out=out)
        return out / "weights.safetensors"
    train(config, world.data, split=world.split, seed=seed, out=out)
    return out / "weights.safetensors"


def run_score(world: World, config: MethodConfig, weights: Path) -> Path:
    out, data = world.folder / "scores", world.with_key_frames(every=3)
    score(config, data, weights=weights, split=world.split, sources=SOURCES, seed=0, out=out)
    return out


@pytest.mark.parametrize("method", ["clip_frame", "st_clip"])
def test_scores_are_distributions_over_the_labels_of_each_group(world: World, method: str) -> None:
    config = world.method(method, iterations=0)
    out = run_score(world, config, make_weights(world, config))
    assert len(list(out.iterdir())) == len(SOURCES) * 2
    unseen = Scores.read(out / "scores_detected_unseen.parquet")
    assert unseen.labels == list(world.split.unseen)
    assert np.allclose(unseen.probabilities.sum(1), 1, atol=1e-6)
    # clip_8 has 13 frames, clip_9 11: key frames 0 3 6 9 12 and 0 3 6 9. Odd frames have two
    # persons whose scores differ by 0.0005 < 0.001, so both stay: 5 + 4 boxes + 3, 9 and 3, 9.
    assert len(unseen) == 9 + 4
    assert len(Scores.read(out / "scores_top1_unseen.parquet")) == 9
    gt = Scores.read(out / "scores_gt_base.parquet")
    assert gt.labels == list(world.split.base)
    assert set(gt.table["clip"]) == set(world.split.base_clips)
    assert (gt.table["detector_score"] == 1).all()
    assert (gt.table["frame"] % 3 == 0).all()


def test_batching_does_not_change_scores(world: World) -> None:
    config = world.method("st_clip", iterations=0)
    weights = make_weights(world, config)
    whole = Scores.read(run_score(world, config, weights) / "scores_detected_unseen.parquet")
    single = config.model_copy(
        update={"score": config.score.model_copy(update={"batch_frames": 1})}
    )
    one = Scores.read(run_score(world, single, weights) / "scores_detected_unseen.parquet")
    assert np.allclose(whole.probabilities, one.probabilities, atol=1e-5)


def test_compiled_blocks_train_and_score_alike(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dynamo's own backend, which needs no C++ compiler; what it traces is what runs."""
    eager = partialmethod(nn.Module.compile, backend="eager")
    compiled: list[nn.Module] = []

    def compile_block(module: nn.Module) -> None:
        compiled.append(module)
        eager.__get__(module)()

    monkeypatch.setattr(nn.Module, "compile", compile_block)
    monkeypatch.setenv("CXX", sys.executable)  # a program that is there
    found, names = [], []
    for switch in (False, True):
        config = world.method("st_clip", iterations=3, batch_frames=2, compile=switch)
        score_config = config.score.model_copy(update={"compile": switch})
        config = config.model_copy(update={"score": score_config})
        weights = make_weights(world, config)
        scores = Scores.read(run_score(world, config, weights) / "scores_detected_unseen.parquet")
        found.append(scores.probabilities)
        names.append(set(read_tensors(weights, stage="train")[0]))
    assert names[0] == names[1]
    assert len(compiled) == 2 * 2  # the small CLIP has two blocks: once to train, once to score
    assert np.allclose(found[0], found[1], atol=1e-5)
    assert found[0].std() > 0.01


def test_without_a_compiler_blocks_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = build("clip_frame", labels=("a",), backbone=TINY).method.backbone
    before = list(backbone.state_dict())
    monkeypatch.setenv("CXX", "no-such-compiler")
    backbone.compile_blocks()
    assert "no-such-compiler" in caplog.text
    assert [block for block in backbone.blocks if block._compiled_call_impl] == []
    monkeypatch.setenv("CXX", sys.executable)
    backbone.compile_blocks()  # nothing is compiled before a batch comes
    assert all(block._compiled_call_impl for block in backbone.blocks)
    assert list(backbone.state_dict()) == before


def test_weights_of_other_settings_are_refused(world: World) -> None:
    config = world.method("st_clip", iterations=1, batch_frames=2)
    weights = make_weights(world, config)
    other = world.method("st_clip", iterations=1, batch_frames=2, lr=0.5)
    with pytest.raises(ConfigError, match=r"weights are of run .* Run the train stage again"):
        run_score(world, other, weights)


def test_damaged_and_missing_weights_are_named(world: World) -> None:
    config = world.method("st_clip", iterations=0)
    weights = make_weights(world, config)
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(DataError, match=r"weights\.safetensors: damaged.*Delete it"):
        run_score(world, config, weights)
    weights.unlink()
    with pytest.raises(DataError, match=r"no such file; run the train stage"):
        run_score(world, config, weights)


def test_a_damaged_clip_is_named(world: World) -> None:
    config = world.method("clip_frame", iterations=0)
    weights = make_weights(world, config)
    path = clip_file(world.frames, "clip_8")
    whole = path.read_bytes()
    path.write_bytes(whole[:-60])
    with pytest.raises(DataError, match=r"clip_8\.npy: damaged"):
        run_score(world, config, weights)
    path.write_bytes(whole)
    run_score(world, config, weights)


def test_frames_without_detections_are_left_to_the_evaluation(world: World) -> None:
    config = world.method("clip_frame", iterations=0)
    weights = make_weights(world, config)
    table = world.detections.table
    kept = table[~((table["clip"] == "clip_8") & (table["frame"] == 0))]
    object.__setattr__(world.detections, "table", kept)
    found = Scores.read(run_score(world, config, weights) / "scores_detected_unseen.parquet")
    rows = found.table[found.table["clip"] == "clip_8"]
    assert 0 not in set(rows["frame"])
    assert len(found) == 13 - 1


def test_box_sources_scored_together_are_scored_as_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Persons of one source never see those of another, though they share the frame."""
    config = world.method("st_clip", iterations=1, batch_frames=2)
    weights = make_weights(world, config)
    together = run_score(world, config, weights)
    found = {n: Scores.read(together / f"scores_{n}_unseen.parquet") for n in SOURCES}
    for name, source in SOURCES.items():
        monkeypatch.setattr("test_score.SOURCES", {name: source})
        alone = Scores.read(run_score(world, config, weights) / f"scores_{name}_unseen.parquet")
        assert alone.table[["clip", "frame"]].equals(found[name].table[["clip", "frame"]])
        np.testing.assert_allclose(alone.probabilities, found[name].probabilities, atol=1e-6)


def test_labels_scored_together_share_a_softmax(world: World) -> None:
    """Odds between labels stay those of any label list; all labels of the split add up to 1."""
    config = world.method("clip_frame", iterations=0)
    data, clips = world.with_key_frames(every=3), [f"clip_{n}" for n in range(5, 10)]
    split = replace(world.split, unseen_clips=clips, base_clips=clips)
    moved = replace(split, unseen=(*split.unseen, *split.base[:2]), base=split.base[2:])

    def scored(own: LabelSplit, *, together: bool) -> list[Scores]:
        out = world.folder / "together"
        write_untrained(config, split=own, seed=0, out=out)
        score(
            config, data, weights=out / "weights.safetensors", split=own, sources=SOURCES,
            together=together, seed=0, out=out,
        )  # fmt: skip
        return [Scores.read(out / f"scores_gt_{group}.parquet") for group in LABEL_GROUPS]

    found = scored(split, together=True)
    assert [part.labels for part in found] == [list(split.unseen), list(split.base)]
    assert found[0].table[["clip", "frame"]].equals(found[1].table[["clip", "frame"]])
    every = np.hstack([part.probabilities for part in found])
    np.testing.assert_allclose(every.sum(1), 1, atol=1e-6)
    assert (every > 0).all()
    # Two label lists that overlap: together they fix all odds.
    for alone in (scored(moved, together=False)[0], scored(split, together=False)[1]):
        columns = [[*split.unseen, *split.base].index(label) for label in alone.labels]
        part = every[:, columns]
        odds = part / part.sum(1, keepdims=True)
        np.testing.assert_allclose(odds, alone.probabilities, atol=1e-5)
