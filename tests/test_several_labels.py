"""Several labels a person, as in AVA: poses exclude each other, a split may have no unseen pose."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import METHODS, ROOT, World

from stclip.config import BoxSource
from stclip.errors import ConfigError
from stclip.inputs.batch import PersonSample
from stclip.inputs.loader import assemble
from stclip.methods.build import load_method
from stclip.methods.label_semantics import exclusive_mask, probabilities
from stclip.methods.reading import make_reader
from stclip.records import Boxes, LabelSplit, Scores
from stclip.score.score import score
from stclip.train.run_folder import write_untrained
from stclip.train.train import train

POSES = ["stand", "sit"]
SHOWN = [["stand", "hold"], ["sit", "talk"], ["stand", "hold", "talk"], ["sit", "hug"], ["hug"]]
ONE_LABEL_A_CLIP = ["actionclip"]  # its loss compares the clips of a batch by their single label
PLAIN = [name for name in METHODS if "+" not in name and name not in ONE_LABEL_A_CLIP]


def split_of(world: World) -> LabelSplit:
    """No unseen label is a pose."""
    tested = tuple(f"clip_{number}" for number in range(5, 10))
    return replace(
        world.split, base=("stand", "sit", "hold", "talk"), unseen=("hug", "stir"),
        train_clips=("clip_0", "clip_1", "clip_2"), unseen_clips=tested, base_clips=tested,
    )  # fmt: skip


def boxes_of(world: World) -> Boxes:
    table = world.boxes.table
    number = table["clip"].str.removeprefix("clip_").astype(int)
    return Boxes(table.assign(actions=[SHOWN[n % 5] for n in number]))


@pytest.mark.parametrize("name", PLAIN)
def test_every_method_is_trained_and_scored_without_an_unseen_pose(world: World, name: str) -> None:
    is_trained = world.method(name).train.iterations > 0
    config = world.method(name, iterations=2 if is_trained else 0, batch_frames=2)
    config = config.model_copy(update={"exclusive_labels": POSES})
    data = replace(world.with_key_frames(every=5), boxes=boxes_of(world))
    split, out = split_of(world), world.folder / "run"
    if is_trained:
        train(config, data, split=split, seed=0, out=out)
    else:
        write_untrained(config, split=split, seed=0, out=out)
    for together in (True, False):
        score(
            config, data, weights=out / "weights.safetensors", split=split, together=together,
            seed=0, sources={"gt": BoxSource(source="ground_truth")}, out=out,
        )  # fmt: skip
        base = Scores.read(out / "scores_gt_base.parquet").probabilities
        unseen = Scores.read(out / "scores_gt_unseen.parquet").probabilities
        np.testing.assert_allclose(base[:, :2].sum(1), 1, atol=1e-5)  # a softmax over two poses
        assert ((unseen >= 0) & (unseen <= 1)).all()
        assert np.abs(unseen.sum(1) - 1).min() > 1e-6  # a sigmoid each, no softmax


def test_a_loss_that_needs_one_label_a_clip_says_so(world: World) -> None:
    config = world.method("actionclip", iterations=2, batch_frames=2)
    config = config.model_copy(update={"exclusive_labels": POSES})
    data = replace(world.data, boxes=boxes_of(world))
    with pytest.raises(ConfigError, match=r"its loss needs exactly one each\. Train it on data of"):
        train(config, data, split=split_of(world), seed=0, out=world.folder / "run")


@pytest.mark.parametrize("interest_tokens", [0, 3])
def test_80_labels_and_25_persons_go_through_st_clip(world: World, interest_tokens: int) -> None:
    split = LabelSplit.read(ROOT / "splits" / "ava" / "st-clip" / "3.json")
    tower = world.folder / "small-clip.json"  # its 16 positions are too few for three labels
    tower.write_text(tower.read_text().replace('"context_length": 16', '"context_length": 77'))
    labels = [*split.unseen, *split.base]
    config = world.method("st_clip", iterations=0)
    params = config.params | {"interest_tokens": interest_tokens}
    config = config.model_copy(update={"params": params})
    torch.manual_seed(0)
    method = load_method(config).eval()
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 20, (25, 2))
    crowd = np.hstack([corner, corner + rng.uniform(8, 24, (25, 2))]).astype(np.float32)
    samples = [
        PersonSample("clip_5", 11, crowd[:n], np.arange(n), size=(48, 64), key_frame=4)
        for n in (25, 1)
    ]
    reader = make_reader(method, config, world.data, kinds_of_boxes=[])
    with torch.no_grad():
        batch = assemble(reader, method.inputs, samples, training=False)
        logits = method(batch, method.encode_labels(labels))
    assert logits.shape == (26, 80)
    assert torch.isfinite(logits).all()
    poses = list(split.base[:14])  # AVA's poses, of which none is unseen
    likely = probabilities(logits, exclusive_mask(labels, poses))
    of_poses = likely[:, [labels.index(pose) for pose in poses]]
    torch.testing.assert_close(of_poses.sum(1), torch.ones(26))
    assert ((likely > 0) & (likely < 1)).all()
    # A crowd does not change what one person of another frame gets.
    with torch.no_grad():
        alone = assemble(reader, method.inputs, samples[1:], training=False)
        torch.testing.assert_close(
            method(alone, method.encode_labels(labels)), logits[25:], atol=1e-4, rtol=1e-4
        )
