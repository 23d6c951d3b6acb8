import json

import numpy as np
import pytest
import torch
import yaml
from conftest import World
from safetensors.torch import load_file

import stclip.methods.contract
from stclip.config import TrainConfig
from stclip.errors import ConfigError, DataError, TrainingError
from stclip.inputs.batch import Inputs, Sample
from stclip.train.resume import write_checkpoint
from stclip.train.run_folder import write_untrained
from stclip.train.train import learning_rate, plan_batches, train


def run_training(
    world: World, name: str, folder: str, *, seed: int = 0, workers: int = 0, **settings: object
) -> dict:
    config = world.method(name, **settings)
    out = world.folder / folder
    train(config, world.data, split=world.split, seed=seed, out=out, workers=workers)
    return load_file(out / "weights.safetensors")


SHORT = {"iterations": 6, "batch_frames": 2, "lr": 0.01, "warmup_iterations": 2}


def test_same_seed_gives_the_same_weights_and_another_seed_others(world: World) -> None:
    first = run_training(world, "st_clip", "a", **SHORT)
    again = run_training(world, "st_clip", "b", **SHORT)
    other = run_training(world, "st_clip", "c", seed=1, **SHORT)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_training_moves_every_declared_tensor_and_no_clip_weight(world: World) -> None:
    before = run_training(world, "st_clip", "a", **(SHORT | {"iterations": 1, "lr": 1e-12}))
    after = run_training(world, "st_clip", "b", **SHORT)
    still = [k for k in after if torch.equal(before[k], after[k])]
    # Window slots 0..8 are all used; key biases of the temporal attention have no gradient, but
    # weight decay and the rest of in_proj_bias move the tensor.
    assert still == []
    assert all("lora_" in k for k in after if k.startswith("backbone."))


def test_interrupted_training_resumes_to_the_same_weights(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SHORT | {"checkpoint_every": 2}
    whole = run_training(world, "st_clip", "whole", **settings)
    calls = 0
    true_loss = stclip.methods.contract.classification_loss

    def killed(*args: object, **kwargs: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:  # three steps done, a checkpoint stands at step 2
            raise KeyboardInterrupt
        return true_loss(*args, **kwargs)

    monkeypatch.setattr(stclip.methods.contract, "classification_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run_training(world, "st_clip", "cut", **settings)
    assert not (world.folder / "cut" / "weights.safetensors").exists()
    resumed = run_training(world, "st_clip", "cut", **settings)
    assert calls == 4 + 4  # only steps 2..5 ran again
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    log = [
        json.loads(line) for line in (world.folder / "cut" / "log.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in log] == list(range(6))
    assert not (world.folder / "cut" / "checkpoint.pt").exists()


def test_settings_beside_the_weights_are_whole(world: World) -> None:
    run_training(world, "st_clip", "a", **SHORT)
    settings = yaml.safe_load((world.folder / "a" / "config.yaml").read_text())
    assert settings["train"]["iterations"] == 6
    assert settings["params"]["temperature"] == 0.07  # a default that no YAML names


def test_a_checkpoint_of_other_settings_is_not_used(world: World) -> None:
    out = world.folder / "a"
    out.mkdir()
    write_checkpoint(out / "checkpoint.pt", {"step": 5, "log": []}, begun="other")
    run_training(world, "st_clip", "a", **SHORT)
    assert len((out / "log.jsonl").read_text().splitlines()) == 6


def test_a_checkpoint_without_random_states_begins_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older versions wrote none; resuming from it would give other numbers."""
    whole = run_training(world, "st_clip", "whole", **SHORT)
    content = {"step": 5, "log": [], "weights": {}, "optimizer": {}}
    monkeypatch.setattr(stclip.train.train, "read_checkpoint", lambda *args, **kwargs: content)
    again = run_training(world, "st_clip", "a", **SHORT)
    assert all(torch.equal(whole[k], again[k]) for k in whole)


def test_a_damaged_checkpoint_is_named(world: World) -> None:
    out = world.folder / "a"
    out.mkdir()
    (out / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(DataError, match=r"checkpoint\.pt: damaged.*Delete it"):
        run_training(world, "st_clip", "a", **SHORT)


def test_loss_that_is_not_finite_stops_and_writes_no_weights(world: World) -> None:
    with pytest.raises(
        TrainingError, match=r"loss is (nan|inf).*on the clips \['clip_.*Lower train\.lr"
    ):
        run_training(world, "st_clip", "a", **(SHORT | {"lr": 1e18, "warmup_iterations": 0}))
    assert not (world.folder / "a" / "weights.safetensors").exists()


def test_baseline_trains_nothing(world: World) -> None:
    out = world.folder / "a"
    write_untrained(world.method("clip_frame", iterations=0), split=world.split, seed=0, out=out)
    assert load_file(out / "weights.safetensors") == {}
    assert (world.folder / "a" / "log.jsonl").read_text() == ""
    assert "name: clip_frame" in (world.folder / "a" / "config.yaml").read_text()


def test_iterations_for_a_method_without_weights_are_refused(world: World) -> None:
    with pytest.raises(ConfigError, match=r"ClipFrame.*nothing to train.*iterations"):
        run_training(world, "clip_frame", "a", **SHORT)


def test_learning_rate_warms_up_linearly() -> None:
    config = TrainConfig(iterations=3000, lr=2.5e-4, warmup_iterations=800, warmup_factor=0.25)
    rates = [learning_rate(config, step) for step in (0, 400, 800, 2999)]
    assert rates == pytest.approx([6.25e-5, 1.5625e-4, 2.5e-4, 2.5e-4])


PERSON = Inputs(unit="person")


def test_every_epoch_shows_each_sample_once_and_drops_the_rest() -> None:
    samples = [Sample(str(i), 1, np.zeros((1, 4), np.float32), np.array([i])) for i in range(5)]
    config = TrainConfig(iterations=4, batch_frames=2, lr=1.0)
    batches = plan_batches(samples, config, inputs=PERSON, seed=0)
    first_epoch = [s.clip for batch in batches[:2] for s in batch]
    assert len(batches) == 4  # two batches an epoch, the fifth sample is left out of each
    assert len(set(first_epoch)) == 4


def test_more_boxes_than_allowed_give_a_random_subset() -> None:
    boxes = np.arange(48, dtype=np.float32).reshape(12, 4)
    sample = Sample("a", 1, boxes, np.arange(12))
    config = TrainConfig(iterations=2, batch_frames=1, lr=1.0, max_boxes=10)
    first, second = (batch[0] for batch in plan_batches([sample], config, inputs=PERSON, seed=0))
    assert len(first.rows) == len(second.rows) == 10
    assert not np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.boxes_xyxy, boxes[first.rows])


def test_worker_processes_change_nothing(world: World) -> None:
    alone = run_training(world, "st_clip", "a", **SHORT)
    helped = run_training(world, "st_clip", "b", workers=1, **SHORT)
    assert all(torch.equal(alone[k], helped[k]) for k in alone)
