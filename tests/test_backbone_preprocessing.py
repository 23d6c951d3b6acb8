"""Pictures are made as those that a CLIP was trained on, but for what a method says."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import yaml
from conftest import World
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from test_backbone_models import write_config

from stclip.config import BackboneConfig, MethodConfig, Preprocessing, Statistics, load_method
from stclip.config.clip_tags import check_training_is_said, trainings
from stclip.config.hashes import crops_key, frames_key
from stclip.errors import ConfigError
from stclip.inputs.preprocess import crop_box, to_model
from stclip.methods.build import load_method as build_method
from stclip.methods.clip.backbone import load_backbone

INCEPTION = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
OWN = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}


def hub_config(folder: Path, **preprocess: Any) -> Path:
    """The hub's form of a config: a model, and the preprocessing beside it."""
    path = write_config(folder, name="open_clip_config", quick_gelu=True, vision__image_size=32)
    content = {"model_cfg": json.loads(path.read_text()), "preprocess_cfg": preprocess}
    path.write_text(json.dumps(content))
    return path


def edit(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def resolved(world: World, backbone: Mapping[str, Any], method: str = "clip_frame") -> MethodConfig:
    edit(world.config / "scales" / "small.yaml", backbones={"small": dict(backbone)})
    return load_method(world.config, method, dataset="jhmdb", scale="small")


def own(path: Path, **more: Any) -> dict[str, Any]:
    return {"model": str(path), "weights": None, **more}


def test_statistics_resize_and_interpolation_are_the_model_configs(world: World) -> None:
    path = hub_config(world.folder, resize_mode="squash", interpolation="bilinear", **INCEPTION)
    found = resolved(world, own(path)).preprocessing
    assert found == Preprocessing(
        frame_mode="squash", crop_mode="squash", interpolation="bilinear", statistics="inception"
    )
    # the method's YAML says otherwise
    viclip = resolved(world, own(path), "viclip").preprocessing
    assert (viclip.statistics, viclip.interpolation) == ("imagenet", "bilinear")
    assert resolved(world, own(path), "actionclip").preprocessing.frame_mode == "cover"
    # as does the backbone's entry, key by key
    said = own(path, preprocessing={"statistics": "clip"})
    found = resolved(world, said).preprocessing
    assert (found.statistics, found.frame_mode) == ("clip", "squash")


def test_a_config_without_preprocessing_is_clips(world: World) -> None:
    small = own(world.folder / "small-clip.json")
    assert resolved(world, small).preprocessing == Preprocessing()
    assert "preprocessing" not in resolved(world, small).backbone.model_dump()


@pytest.mark.parametrize("said", [INCEPTION, OWN, {}], ids=["inception", "own", "clip"])
def test_pictures_are_made_as_open_clip_makes_them(world: World, said: dict[str, Any]) -> None:
    """Statistics in both; PIL's resize in ours as in theirs."""
    for mode, way in (("shortest", "bicubic"), ("squash", "bilinear")):
        path = hub_config(world.folder, resize_mode=mode, interpolation=way, **said)
        config = resolved(world, own(path))
        method = build_method(config)
        transform = image_transform_v2(
            PreprocessCfg(size=32, resize_mode=mode, interpolation=way, **said), is_train=False
        )
        rng = np.random.default_rng(0)
        image = Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8))
        ours = torch.from_numpy(to_model(image, (32, 32), config.preprocessing))[None]
        expected = transform(image)[None]
        torch.testing.assert_close(method.backbone.normalise(ours), expected, rtol=0, atol=1e-5)
        box = np.array([10, 5, 50, 41], np.float32)
        crop = crop_box(image, box, (32, 32), config.preprocessing)
        crop = torch.from_numpy(crop)[None]
        expected = transform(image.crop((10, 5, 50, 41)))[None]
        torch.testing.assert_close(method.backbone.normalise(crop), expected, rtol=0, atol=1e-5)


def test_a_backbone_alone_has_its_models_statistics(tmp_path: Path) -> None:
    def mean(**backbone: Any) -> list[float]:
        found = load_backbone(BackboneConfig(weights=None, **backbone)).mean / 255
        return [round(x, 5) for x in found.flatten().tolist()]

    path = str(hub_config(tmp_path, **OWN))
    assert mean(model=path) == OWN["mean"]
    assert mean(model=path, preprocessing={"statistics": "inception"}) == INCEPTION["mean"]
    clip = [round(x, 5) for x in open_clip.OPENAI_DATASET_MEAN]
    assert mean(model=str(hub_config(tmp_path))) == clip


def test_features_of_other_statistics_have_another_key(world: World) -> None:
    found = [
        resolved(world, own(hub_config(world.folder, **said)), "clip_frame_crop")
        for said in (INCEPTION, OWN, {"interpolation": "bilinear"}, {})
    ]
    assert len({frames_key(c) for c in found}) == len({crops_key(c) for c in found}) == 4


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"resize_mode": "longest"}, r"resize_mode 'longest' .*\['shortest', 'squash'\]"),
        ({"interpolation": "random"}, r"interpolation 'random'; .*\['bicubic', 'bilinear'\]"),
        ({"mean": [0.5]}, "three numbers each"),
        ({"std": [0.5, 0.5, 0]}, "above 0"),
        ({"mean": None}, "three numbers each"),
        ({"means": [0.5, 0.5, 0.5]}, "its keys are"),
    ],
)
def test_a_preprocessing_that_nothing_does_is_told_early(
    world: World, said: dict[str, Any], message: str
) -> None:
    path = hub_config(world.folder, **said)
    with pytest.raises(ConfigError, match=rf"open_clip_config\.json: preprocess_cfg .*{message}"):
        resolved(world, own(path))


def test_wrong_entries_of_a_backbone_are_told(world: World) -> None:
    small = world.folder / "small-clip.json"
    for said, message in (
        ({"statistics": "openai"}, r"backbones\.small\.preprocessing\.statistics"),
        ({"frame_mode": "longest"}, r"preprocessing\.frame_mode"),
        ({"resize": "squash"}, r"preprocessing\.resize: Extra inputs"),
        ({"statistics": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, "above 0 are expected"),
    ):
        with pytest.raises(ConfigError, match=rf"small\.yaml: .*{message}"):
            resolved(world, own(small, preprocessing=said))
    numbers = {"mean": [0, 0, 0], "std": [1, 1, 1]}
    found = resolved(world, own(small, preprocessing={"statistics": numbers}))
    assert found.preprocessing.statistics == Statistics(mean=(0, 0, 0), std=(1, 1, 1))


def test_tags_are_told_where_settings_are_read(world: World) -> None:
    with pytest.raises(
        ConfigError,
        match=r"(?s)small\.yaml: backbones\.small: weights 'laion2b_s34b_b88k': a tag of open_clip"
        r".*weights: PATH OF THE FILE",
    ):
        resolved(world, {"model": "ViT-B-16", "weights": "laion2b_s34b_b88k"})
    later = {"model": "ViT-B-16", "weights": "data/paper/models/later.pt"}
    assert resolved(world, later).backbone.weights == later["weights"]


# ---- where trainings differ


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "ViT-L-14",
            r"laion2b_s32b_b82k: .*: inception.*dfn2b_s39b: .*preprocessing: {}",
        ),
        ("ViT-H-14-worldwide-378", r"metaclip2_worldwide: .*frame_mode: squash"),
        ("ViT-L-14-336", r"of the other activation.*openai: {model: ViT-L-14-336-quickgelu, "),
        ("ViT-H-14-378-quickgelu", r"dfn5b: {model: ViT-H-14-378-quickgelu, .*frame_mode: squash"),
    ],
)
def test_where_trainings_differ_one_must_be_said(model: str, message: str) -> None:
    asked = BackboneConfig(model=model, weights="w.pt")
    with pytest.raises(ConfigError, match=rf"(?s)here: .*{message}"):
        check_training_is_said(asked, where="here")
    said = asked.model_copy(update={"preprocessing": trainings(model)[0].preprocessing})
    check_training_is_said(said, where="here")
    check_training_is_said(asked.model_copy(update={"weights": None}), where="here")


@pytest.mark.parametrize(
    "model", ["ViT-B-16", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu", "ViT-B-32", "ViT-H-14"]
)
def test_where_all_are_as_clips_nothing_must_be_said(model: str) -> None:
    assert trainings(model)
    check_training_is_said(BackboneConfig(model=model, weights="w.pt"), where="here")


def test_a_method_asks_for_the_training(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small model under the name of one whose trainings differ."""
    content = json.loads((world.folder / "small-clip.json").read_text())
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-L-14", content)
    file = world.folder / "w.pt"
    backbone = load_backbone(BackboneConfig(model="ViT-L-14", weights=None))
    torch.save(backbone.clip.state_dict(), file)
    entry: dict[str, Any] = {"model": "ViT-L-14", "weights": str(file)}
    with pytest.raises(ConfigError, match=r"method clip_frame: the trainings of ViT-L-14"):
        build_method(resolved(world, entry))
    method = build_method(resolved(world, entry | {"preprocessing": {"statistics": "inception"}}))
    assert (method.backbone.mean == 127.5).all()


def test_settings_are_resolved_without_torch(world: World) -> None:
    resolved(world, own(hub_config(world.folder, **INCEPTION)))
    code = (
        "import sys; from pathlib import Path; from stclip.config import load_method; "
        f"c = load_method(Path({str(world.config)!r}), 'clip_frame', dataset='jhmdb', "
        "scale='small'); assert c.preprocessing.statistics == 'inception'; "
        "assert not {'torch', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
