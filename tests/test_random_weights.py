"""Random weights in the forms of published ones: the readers of the real files take them."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from stclip.checkpoints.state_files import read_tensors_of
from stclip.config.target import call_target
from stclip.methods.clip.weights import load_clip_weights, read_clip_weights
from stclip.mini import random_weights

MODEL = "ViT-S-32-alt"  # the smallest that open_clip knows
DETECTOR = "torchvision.models.detection:fasterrcnn_mobilenet_v3_large_320_fpn"
ARGUMENTS = {"weights": None, "weights_backbone": None}


@pytest.fixture(scope="module")
def clip() -> open_clip.CLIP:
    return open_clip.CLIP(**open_clip.get_model_config(MODEL))


def test_an_archive_as_openai_writes_it(tmp_path: Path, clip: open_clip.CLIP) -> None:
    path = tmp_path / "clip.pt"
    random_weights.openai_clip(path, model=MODEL, seed=3)
    found = read_clip_weights(path)
    assert (found.quick_gelu, found.says) == (True, "OpenAI's archive")
    names = {"vocabulary": 49408, "where": "here", "model": MODEL}
    assert load_clip_weights(clip, found, **names) is None
    drawn = random_weights._clip(MODEL, 3).state_dict()  # same seed, same numbers
    assert all(torch.equal(found.state[name], t.half().float()) for name, t in drawn.items())


def test_a_file_as_viclip_is_published(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    random_weights.viclip(path, model=MODEL, seed=3)
    found = read_clip_weights(path)
    assert found.context_length == 32
    assert found.extra["temporal_positional_embedding"].shape[:2] == (1, 8)
    assert float(found.extra["temp"]) == pytest.approx(0.01)


def test_a_random_detector_finds_persons_and_things(tmp_path: Path) -> None:
    path = tmp_path / "detector.pth"
    random_weights.torchvision_detector(path, builder=DETECTOR, arguments=ARGUMENTS, seed=0)
    model = call_target(DETECTOR, params=ARGUMENTS, where="here")
    model.load_state_dict(read_tensors_of(path))
    picture = np.random.default_rng(5).random((3, 120, 160), np.float32)
    with torch.inference_mode():
        (found,) = model.eval()([torch.from_numpy(picture)])
    persons = found["labels"] == random_weights.PERSON
    assert persons.any()
    assert not persons.all()
    assert (found["scores"][~persons] > 0.5).any()
    assert {*found["labels"].tolist()} <= {random_weights.PERSON, *random_weights.THINGS}
