import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import World
from safetensors.torch import load_file, save_file

from stclip.config import DetectorConfig
from stclip.detect import finetune as stage
from stclip.errors import ConfigError, DataError, TrainingError
from stclip.mini.tiny_detector import build
from stclip.records import Boxes
from stclip.storage.frame_store import read_clip, write_clip

TINY = {
    "target": "stclip.detect.backends.torchvision:TorchvisionDetector",
    "params": {"builder": "stclip.mini.tiny_detector:build"},
    "score_threshold": 0.0,
    "finetune": {
        "epochs": 2, "frame_stride": 5, "batch_frames": 4, "lr": 1e-3, "optimizer": "adamw",
    },
}  # fmt: skip


def config(**how: object) -> DetectorConfig:
    return DetectorConfig.model_validate(TINY | {"finetune": {**TINY["finetune"], **how}})  # type: ignore[dict-item]


@pytest.fixture
def start(world: World) -> Path:
    torch.manual_seed(0)
    path = world.folder / "start.safetensors"
    save_file(build().state_dict(), path)
    return path


def finetune(
    world: World,
    settings: DetectorConfig,
    out: str = "tuned",
    *,
    workers: int = 0,
    version: int = 0,
) -> Path:
    path = world.folder / f"{out}.safetensors"
    stage.finetune(
        settings, files={"weights": world.folder / "start.safetensors"}, split=world.split,
        clips=world.clips, ground_truth=world.boxes, frames=world.frames, out=path,
        workers=workers, version=version,
    )  # fmt: skip
    return path


def same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def test_a_seed_fixes_the_weights_and_only_training_frames_are_read(
    world: World, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = set()

    def spy(frames, batches, *, workers):  # type: ignore[no-untyped-def]
        read.update(key for batch in batches for key in batch)
        return stage_read(frames, batches, workers=workers)

    stage_read = stage.feed_frames
    monkeypatch.setattr(stage, "feed_frames", spy)
    first = finetune(world, config(), "first")
    assert {clip for clip, _ in read} == set(world.split.train_clips)
    assert not {clip for clip, _ in read} & set(world.split.unseen_clips)
    assert {frame for _, frame in read} == {0, 5, 10}
    assert same(first, finetune(world, config(), "second", workers=2))
    assert not same(first, finetune(world, config(seed=1), "third"))
    before, after = load_file(start), load_file(first)
    assert before.keys() == after.keys()
    head = "roi_heads.box_predictor.classes.weight"
    assert not torch.equal(before[head], after[head])
    for name in before:  # small batches would spoil them
        if "running" in name:
            assert torch.equal(before[name], after[name])


def test_a_killed_job_goes_on_after_its_last_epoch(
    world: World, start: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = finetune(world, config(epochs=3), "whole")
    original, calls = stage._epoch, []

    def dying(*arguments, epoch, **keywords):  # type: ignore[no-untyped-def]
        calls.append(epoch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments, epoch=epoch, **keywords)

    monkeypatch.setattr(stage, "_epoch", dying)
    with pytest.raises(KeyboardInterrupt):
        finetune(world, config(epochs=3), "again")
    assert not (world.folder / "again.safetensors").exists()
    assert (world.folder / ".again.safetensors.checkpoint.pt").exists()
    again = finetune(world, config(epochs=3), "again")
    assert calls == [0, 1, 2, 2]
    assert same(whole, again)
    assert not (world.folder / ".again.safetensors.checkpoint.pt").exists()


def interrupt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tuning that ends after its first epoch, with a checkpoint."""
    original = stage._epoch

    def dying(*arguments, epoch, **keywords):  # type: ignore[no-untyped-def]
        if epoch == 1:
            raise KeyboardInterrupt
        return original(*arguments, epoch=epoch, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "_epoch", dying)
        with pytest.raises(KeyboardInterrupt):
            finetune(world, config())


def test_a_checkpoint_of_other_settings_is_not_continued(
    world: World, start: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupt(world, monkeypatch)
    with caplog.at_level(logging.INFO):
        tuned = finetune(world, config(lr=5e-4))
    assert "checkpoint.pt is of other settings" in caplog.text
    assert same(tuned, finetune(world, config(lr=5e-4), "fresh"))


@pytest.mark.parametrize("what", ["boxes", "frames", "version"])
def test_a_checkpoint_of_other_content_is_not_continued(
    world: World, start: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    interrupt(world, monkeypatch)
    original = stage._epoch
    epochs = []

    def counted(*arguments, epoch, **keywords):  # type: ignore[no-untyped-def]
        epochs.append(epoch)
        return original(*arguments, epoch=epoch, **keywords)

    monkeypatch.setattr(stage, "_epoch", counted)
    version = 0
    match what:
        case "boxes":
            table = world.boxes.table.assign(x2=world.boxes.table["x2"] + 5)
            world = replace(world, boxes=Boxes(table))
        case "frames":
            clip = world.split.train_clips[0]
            write_clip(world.frames, clip, 255 - read_clip(world.frames, clip))
        case "version":
            version = 1
    finetune(world, config(), version=version)
    assert epochs == [0, 1]


def test_frozen_parts_keep_their_weights(world: World, start: Path) -> None:
    tuned = load_file(finetune(world, config(frozen=["backbone.0", "rpn"])))
    before = load_file(start)
    changed = {name for name in before if not torch.equal(before[name], tuned[name])}
    assert changed
    assert not [n for n in changed if n.startswith(("backbone.0.", "rpn."))]
    assert [n for n in changed if n.startswith("backbone.3.")]
    with pytest.raises(ConfigError, match=r"frozen: FasterRCNN has no part 'backbone\.body'"):
        finetune(world, config(frozen=["backbone.body"]))
    with pytest.raises(ConfigError, match=r"frozen leaves nothing to train"):
        finetune(world, config(frozen=["backbone", "rpn", "roi_heads"]))


def test_a_loss_that_is_not_finite_stops_and_writes_nothing(world: World, start: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf).*Lower finetune\.lr"):
        finetune(world, config(lr=1e9, epochs=5))
    assert not (world.folder / "tuned.safetensors").exists()


def test_boxes_beyond_the_picture_and_without_area_teach_nothing(
    world: World, start: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = world.boxes.table.copy()
    of_training = table["clip"].isin(world.split.train_clips) & (table["frame"] == 0)
    table.loc[of_training, ["x1", "x2"]] = [70.0, 90.0]  # pictures are 64 wide
    with caplog.at_level(logging.INFO):
        finetune(replace(world, boxes=Boxes(table)), config(epochs=1))
    assert "read 9 boxes, dropped 3 without area" in caplog.text
    nothing = replace(world, boxes=Boxes(table[of_training]))
    with pytest.raises(DataError, match=r"no ground-truth box on every 5\. frame"):
        finetune(nothing, config())


def test_mirrored_examples_mirror_their_boxes() -> None:
    picture = np.zeros((4, 10, 3), np.uint8)
    picture[1:3, 2:5] = 255  # pixels 2, 3, 4: inclusive corners 2..4
    box = np.array([[2, 1, 4, 2]], np.float32)
    image, goal = stage._example(picture, box, mirror=True, person=1)
    assert goal["boxes"].tolist() == [[5, 1, 7, 2]]
    assert image[0].sum(0).nonzero().flatten().tolist() == [5, 6, 7]


def test_detect_checks_whose_weights_they_are(world: World, start: Path) -> None:
    tuned = finetune(world, config())
    stage.check_finetuned(tuned, config(), world.split)
    for settings, message in (
        (config(lr=1e-5), r"tuned\.safetensors: fine-tuned by other settings or on another split"),
        (
            config(),
            r"tuned\.safetensors: fine-tuned by other settings or on another split than split 2",
        ),
    ):
        split = world.split
        if "than split 2" in message:
            split = replace(split, name="2", train_clips=split.train_clips[:1])
        with pytest.raises(ConfigError, match=message):
            stage.check_finetuned(tuned, settings, split)
    with pytest.raises(DataError, match=r"start\.safetensors: damaged, or .* it carries no seal"):
        stage.check_finetuned(start, config(), world.split)
    with pytest.raises(DataError, match=r"none\.safetensors: no such file; run the finetune"):
        stage.check_finetuned(world.folder / "none.safetensors", config(), world.split)
    tuned.write_bytes(tuned.read_bytes()[:100])
    with pytest.raises(DataError, match=r"tuned\.safetensors: damaged"):
        stage.check_finetuned(tuned, config(), world.split)


def test_what_cannot_be_fine_tuned_says_so(world: World, start: Path) -> None:
    plain = config().model_copy(update={"finetune": None})
    with pytest.raises(ConfigError, match=r"has no `finetune` section"):
        finetune(world, plain)
    file = config().model_copy(update={"target": "stclip.detect.backends.file:FileDetector"})
    with pytest.raises(ConfigError, match=r"FileDetector cannot be fine-tuned; only Torchvision"):
        finetune(world, file)


def test_fine_tuning_learns(world: World, start: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        finetune(world, config(epochs=10))
    said = [float(m) for m in re.findall(r"mean loss (\d+\.\d+)", caplog.text)]
    assert len(said) == 10
    assert said[-1] < 0.7 * said[0]
