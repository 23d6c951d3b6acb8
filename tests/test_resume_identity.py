"""An interrupted job goes on only where all that it read, its code and its stage are the same."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from conftest import World, make_world
from safetensors.torch import load_file
from typer.testing import CliRunner

import stclip.methods.contract
from stclip.cli import app
from stclip.config import MethodConfig
from stclip.errors import ConfigError
from stclip.records import Boxes, Data, LabelSplit
from stclip.score.score import read_weights
from stclip.storage.frame_store import manifest, read_clip, write_clip
from stclip.train.run_folder import backbone_hash, run_hash, training_identity, write_untrained
from stclip.train.train import train

STEPS = {"iterations": 4, "batch_frames": 2, "lr": 0.01, "checkpoint_every": 2}
OWN = """
from stclip.methods.st_clip.st_clip import STCLIP


class Own(STCLIP):
    factor = 1.0

    def logits(self, batch, text):
        return self.factor * super().logits(batch, text)
"""


class Killed(BaseException):
    """As of a kill: nothing tidies up."""


def training(world: World, out: str, data: Data | None = None, **kind: object) -> dict:
    """Train, perhaps on other data; the weights."""
    config = kind.pop("config", None) or world.method("st_clip", **STEPS)
    assert isinstance(config, MethodConfig)
    folder = world.folder / out
    train(config, data or world.data, split=world.split, seed=0, out=folder, **kind)  # type: ignore[arg-type]
    return load_file(folder / "weights.safetensors")


def interrupt(monkeypatch: pytest.MonkeyPatch, world: World, out: str, **kind: object) -> None:
    """Leave a checkpoint of step 2 behind."""
    calls = []
    true_loss = stclip.methods.contract.classification_loss

    def killed(*args: object, **kwargs: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        return true_loss(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(stclip.methods.contract, "classification_loss", killed)
        with pytest.raises(Killed):
            training(world, out, **kind)
    assert (world.folder / out / "checkpoint.pt").exists()


def moved_boxes(world: World) -> Data:
    table = world.boxes.table.assign(x2=world.boxes.table["x2"] + 20)
    return replace(world.data, boxes=Boxes(table))


def other_frames(world: World) -> Data:
    clip = world.split.train_clips[0]
    path = world.frames / f"{clip}.npy"
    stat = path.stat()
    write_clip(world.frames, clip, 255 - read_clip(world.frames, clip))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return world.data


def other_backbone(world: World) -> Data:
    path = world.folder / "small-clip.json"
    content = json.loads(path.read_text())
    content["vision_cfg"]["head_width"] = 16
    path.write_text(json.dumps(content))
    return world.data


@pytest.mark.parametrize("change", [moved_boxes, other_frames, other_backbone])
def test_a_training_on_other_content_begins_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[World], Data]
) -> None:
    interrupt(monkeypatch, world, "cut")
    changed = change(world)
    found = training(world, "cut", changed)
    whole = training(world, "whole", changed)
    assert all(torch.equal(whole[name], found[name]) for name in whole)


def test_a_training_by_edited_code_of_ones_own_begins_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = tmp_path / "own_method_of_test.py"
    code.write_text(OWN)
    own = {"target": "own_method_of_test:Own"}
    config = world.method("st_clip", **STEPS).model_copy(update=own)
    interrupt(monkeypatch, world, "cut", config=config)
    code.write_text(OWN.replace("1.0", "3.0"))
    edited = world.method("st_clip", **STEPS).model_copy(update=own)
    monkeypatch.delitem(sys.modules, "own_method_of_test")
    found = training(world, "cut", config=edited)
    whole = training(world, "whole", config=edited)
    assert all(torch.equal(whole[name], found[name]) for name in whole)
    run = run_hash(config, world.split, 0)
    with pytest.raises(ConfigError, match="settings, the method's code, split or seed changed"):
        read_weights(world.folder / "cut" / "weights.safetensors", run=run)


def test_a_training_of_another_stage_version_begins_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupt(monkeypatch, world, "cut", version=4)
    with caplog.at_level("INFO"):
        training(world, "cut", version=5)
    assert "of other settings, code or content of what is read; starting anew" in caplog.text
    assert "steps 0 to 4" in caplog.text


def test_the_same_training_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupt(monkeypatch, world, "cut")
    for path in world.frames.iterdir():
        os.utime(path)  # prepared again, or copied: the same content
    with caplog.at_level("INFO"):
        training(world, "cut")
    assert "steps 2 to 4" in caplog.text


def other_split(world: World) -> LabelSplit:
    return replace(world.split, train_clips=world.split.train_clips[:-1])


def test_every_input_stands_in_the_identity(world: World) -> None:
    config, features = world.method("clip_frame"), world.folder / "features.bin"
    features.write_bytes(b"a")
    data = replace(world.data, features={"frames": features})

    def identity(data: Data = data, split: LabelSplit = world.split, **kind: int) -> str:
        kind = {"seed": 0, "version": 4, **kind}
        return training_identity(config, data, split=split, **kind)

    first = identity()
    found = [
        identity(moved_boxes(world)),
        identity(replace(data, objects=None)),
        identity(replace(data, objects=world.detections)),
        identity(world.with_key_frames(every=3)),
        identity(split=other_split(world)),
        identity(seed=1),
        identity(version=5),
    ]
    features.write_bytes(b"b")
    found.append(identity())
    features.write_bytes(b"a")
    assert identity() == first
    other_frames(world)
    found.append(identity())
    other_backbone(world)
    found.append(identity())
    assert len({first, *found}) == 1 + len(found)


def test_weights_of_another_backbone_file_are_not_scored(world: World) -> None:
    config, path = world.method("clip_frame", iterations=0), world.folder / "weights.safetensors"
    write_untrained(config, split=world.split, seed=0, out=world.folder)
    run = run_hash(config, world.split, 0)
    assert read_weights(path, run=run, backbone=backbone_hash(config)) == {}
    other_backbone(world)
    with pytest.raises(ConfigError, match="trained on other files of the backbone"):
        read_weights(path, run=run, backbone=backbone_hash(config))


def test_a_manifest_tells_frames_apart_and_not_their_times(world: World, tmp_path: Path) -> None:
    clips = world.split.train_clips
    first = manifest(world.frames, clips)
    again = make_world(tmp_path / "again")
    assert manifest(again.frames, clips) == first
    assert manifest(again.frames, clips[1:]) != first
    (again.frames / f"{clips[0]}.npy").unlink()
    assert manifest(again.frames, clips) != first
    other_frames(world)
    assert manifest(world.frames, clips) != first


def test_a_table_s_content_follows_its_values_alone(world: World, tmp_path: Path) -> None:
    first = world.boxes.content()
    world.boxes.write(tmp_path / "boxes.parquet")
    assert Boxes.read(tmp_path / "boxes.parquet").content() == first
    table = world.boxes.table
    edits = [
        table.assign(x1=table["x1"] + 1),
        table.assign(actions=[["run"]] * len(table)),
        table.iloc[::-1],
        table.iloc[1:],
    ]
    assert len({first, *(Boxes(edit).content() for edit in edits)}) == 1 + len(edits)


def test_the_commands_hand_over_the_versions_of_config_yaml(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = {}

    def spy(name: str) -> Callable[..., None]:
        return lambda *_, **given: got.update({name: given["version"]})

    for module in ("train.train", "detect.detect", "detect.finetune"):
        name = module.partition(".")[2]
        monkeypatch.setattr(f"stclip.{module}.{name}", spy(name))
    versions = {"train": 7, "detect": 8, "finetune": 9}
    (world.config / "config.yaml").write_text(json.dumps({"stage_version": versions}))
    scale = world.config / "scales" / "small.yaml"
    params = {"builder": "stclip.mini.tiny_detector:build"}
    how = {"target": "stclip.detect.backends.torchvision:TorchvisionDetector", "params": params}
    content = yaml.safe_load(scale.read_text())
    scale.write_text(yaml.safe_dump(content | {"detectors": {"own": how}}))
    files, config = world.folder / "prepared", ["--config", str(world.config)]
    world.data.clips.write(files / "clips")
    world.data.boxes.write(files / "boxes")
    world.data.key_frames.write(files / "key_frames")
    world.split.write(files / "split")
    options = {
        "train": ["method", "dataset", "split", "boxes", "key-frames", "seed"],
        "detect": ["detector", "dataset", "key-frames"],
        "finetune": ["detector", "split", "boxes"],
    }
    values = {"method": "st_clip", "dataset": "jhmdb", "detector": "own", "seed": "0"}
    values |= {"clips": str(files / "clips"), "frames": str(world.frames), "scale": "small"}
    values |= {name: str(files / name.replace("-", "_")) for name in ("split", "boxes")}
    values |= {"key-frames": str(files / "key_frames"), "out": str(world.folder / "out")}
    for command, names in options.items():
        given = [f"--{n}={values[n]}" for n in [*names, "scale", "clips", "frames", "out"]]
        done = CliRunner().invoke(app, [command, *given, *config])
        assert done.exit_code == 0, done.output + str(done.exception)
    assert got == versions
