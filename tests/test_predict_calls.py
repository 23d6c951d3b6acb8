"""The command that predicts, the Python call, and what goes to other libraries."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, World
from predict_world import LABELS, predict_world, ready, two_walk
from safetensors.torch import save_file
from stub_detectors import eager_tiny_detector
from typer.testing import CliRunner

import stclip
from stclip.cli import app
from stclip.errors import ConfigError
from stclip.own_videos import predictor
from stclip.own_videos.predictor import Predictor


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return predict_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_walk(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module")
def own(world: World) -> Predictor:
    return ready(world)


# The command, the Python call, other libraries


def test_the_command_predicts_with_what_the_project_ships(
    tmp_path: Path, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scale mini: the tiny CLIP, and a detector of the tiny one's form, here untrained."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "splits").symlink_to(ROOT / "splits")
    weights = tmp_path / "data/mini/models/tiny_detector.safetensors"
    weights.parent.mkdir(parents=True)
    save_file(eager_tiny_detector().state_dict(), weights)
    (tmp_path / "labels.txt").write_text("walk\nsit\n")
    done = CliRunner().invoke(
        app,
        ["predict", str(walk), "--labels-file", "labels.txt", "--detector", "tiny", "--every", "2",
         "--template", "a person {}", "--independent", "--no-overlay", "--out", "found"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "walk: 3 key frames, files in found/walk" in done.output
    assert re.search(r"0 +0\.0 - \d\.0 +\d +(walk|sit) \d\.\d\d, (walk|sit)", done.output)
    assert sorted(path.name for path in (tmp_path / "found" / "walk").iterdir()) == [
        "predictions.csv", "predictions.json", "sheet.png",
    ]  # fmt: skip
    for wrong in ([], ["--labels", "a", "--labels-file", "labels.txt"]):
        failed = CliRunner().invoke(app, ["predict", str(walk), *wrong])
        assert isinstance(failed.exception, ConfigError)


def test_importing_the_package_stays_light() -> None:
    code = (
        "import stclip, sys; assert {'predict', 'Predictor'} <= {*dir(stclip)}; "
        "assert not {'torch', 'av', 'pandas'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert stclip.predict is predictor.predict, "no room has its name"


def test_the_python_call_has_the_commands_defaults(world: World, walk: Path) -> None:
    found = stclip.predict(walk, LABELS, scale="small", config=world.config, device="cpu")
    assert found.method == "clip_frame_crop"
    table = found.table
    assert list(table)[:8] == ["video", "frame", "class", "score", "x1", "y1", "x2", "y2"]
    assert len(table) == 30
    assert table["score"].iloc[0] == pytest.approx(
        found.probabilities[0, 0] * found.boxes["detector_score"].iloc[0]
    )


class _Record:
    """Keeps what it is made of, by the names that the library's own class has."""

    names: tuple[str, ...] = ()

    def __init__(self, **given: Any) -> None:
        assert set(given) <= set(self.names), given
        self.__dict__.update(given)


def _library(name: str, **classes: tuple[str, ...]) -> SimpleNamespace:
    made = {c: type(c, (_Record,), {"names": fields}) for c, fields in classes.items()}
    return SimpleNamespace(__name__=name, **made)


def test_predictions_go_to_supervision(
    own: Predictor, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = own.predict(walk, LABELS)
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match="supervision is not installed; install it"):
        stclip.to_supervision(found)
    fields = ("xyxy", "mask", "confidence", "class_id", "tracker_id", "data", "metadata")
    monkeypatch.setitem(sys.modules, "supervision", _library("supervision", Detections=fields))
    frames = stclip.to_supervision(found)
    assert list(frames) == [0, 10, 20, 30, 40]
    first = frames[0]
    assert first.xyxy.shape == (2, 4)
    assert first.xyxy.dtype == np.float32
    assert first.tracker_id.tolist() == [0, 1]
    best = found.probabilities[:2].argmax(1)
    assert first.class_id.tolist() == best.tolist()
    assert first.data["class_name"].tolist() == [LABELS[k] for k in best]
    assert first.confidence == pytest.approx(
        found.probabilities[:2].max(1) * first.data["detector_score"]
    )


def test_predictions_go_to_fiftyone(
    own: Predictor, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = own.predict(walk, LABELS)
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(ConfigError, match="fiftyone is not installed"):
        stclip.to_fiftyone(found)
    library = _library(
        "fiftyone", Detection=("label", "bounding_box", "confidence", "index"),
        Detections=("detections",), Frame=("predictions",),
    )  # fmt: skip
    library.Sample = lambda filepath: SimpleNamespace(filepath=filepath, frames={})
    monkeypatch.setitem(sys.modules, "fiftyone", library)
    sample = stclip.to_fiftyone(found)
    assert sample.filepath == str(walk)
    assert list(sample.frames) == [1, 11, 21, 31, 41]
    walker, stander = sample.frames[1].predictions.detections
    assert walker.bounding_box == pytest.approx([8 / 160, 24 / 96, 19 / 160, 55 / 96], abs=0.02)
    assert (walker.index, stander.index) == (0, 1)
    assert walker.label == found.persons[0].best
