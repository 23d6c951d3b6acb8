"""Official Vita-CLIP checkpoints: names, counts, and that the imported model computes the same.

The names come from a table of their own (`vitaclip_scene.NAMES`), the values from the slow
reference that reads official names.
"""

from pathlib import Path

import open_clip
import pytest
import torch
from conftest import ROOT, World
from torch import Tensor
from vitaclip_reference import encode_class, encode_video, logits
from vitaclip_scene import official_tensors, placeholder_ids, settings_of

from baselines.vitaclip import VitaCLIP
from stclip.config import MethodConfig
from stclip.errors import DataError
from stclip.methods.build import Built, build, import_state_dict
from stclip.methods.clip.backbone import Backbone
from stclip.score.score import read_weights
from stclip.train.import_run import import_run, import_weights
from stclip.train.run_folder import run_hash

LABELS = ["brush_hair", "run", "shoot_ball"]


def official(
    method: VitaCLIP, *, num_classes: int = 15, parallel: bool = False
) -> dict[str, Tensor]:
    """The method as the official training code saves it, with the buffers of its classes."""
    names = {
        name: part
        for ours, tensor in method.state_dict().items()
        for name, part in official_tensors(ours, tensor).items()
    }
    length, width = names["textual.positional_embedding"].shape
    names |= {
        "visual.patch_embed.proj.bias": torch.zeros(len(names["visual.cls_token"])),
        "prompt_learner.token_prefix": torch.zeros(num_classes, 1, width),
        "prompt_learner.token_suffix": torch.zeros(
            num_classes, length - 1 - len(names["prompt_learner.ctx"]), width
        ),
    }
    return {f"module.{k}" if parallel else k: v for k, v in names.items()}


def made(settings: MethodConfig, *, seed: int) -> Built:
    torch.manual_seed(seed)
    model = build(
        "vitaclip", labels=LABELS, backbone=settings.backbone.model, config=ROOT / "config",
        **settings.params,
    )  # fmt: skip
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn_like(p)
    return model


@pytest.fixture
def settings(world: World) -> MethodConfig:
    return world.method("vitaclip", iterations=1)


@pytest.mark.parametrize("parallel", [False, True])
def test_there_and_back(settings: MethodConfig, parallel: bool) -> None:
    model = made(settings, seed=0)
    imported = import_state_dict("vitaclip", official(model.method, parallel=parallel))
    mine = model.state_dict()
    assert imported.keys() == mine.keys()
    assert all(torch.equal(imported[name], mine[name]) for name in mine)
    made(settings, seed=1).load_state_dict(imported)  # strict: nothing missing, nothing over


def test_an_imported_model_computes_what_the_official_formulas_say(settings: MethodConfig) -> None:
    # the weights travel by official names; the reference knows no others
    weights = official(made(settings, seed=0).method)
    model = made(settings, seed=1)
    model.load_state_dict(import_state_dict("vitaclip", weights))
    method = model.method
    torch.manual_seed(3)
    videos = torch.rand(2, 8, 3, *method.backbone.image_size) * 255
    frames = (videos - method.backbone.mean) / method.backbone.std
    with torch.inference_mode():
        found = model(frames, key=torch.zeros(2, dtype=torch.long))
    w, s = {name: tensor.double() for name, tensor in weights.items()}, settings_of(method)
    texts = [encode_class(w, s, row) for row in placeholder_ids(method, LABELS)]
    expected = [logits(w, encode_video(w, s, list(video.double())), texts) for video in videos]
    assert torch.allclose(found.double(), torch.stack(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "entries", "parameters"),
    [("ViT-B-16", 512, 185_233_153), ("ViT-L-14", 860, 554_026_241)],
)
def test_counts_of_official_checkpoints(backbone: str, entries: int, parameters: int) -> None:
    with torch.device("meta"):  # shapes alone, no memory
        clip = open_clip.CLIP(**open_clip.get_model_config(backbone))
        method = VitaCLIP(Backbone(clip, None), VitaCLIP.Config())
    weights = official(method)
    assert len(weights) == entries
    # of its tensors all but the buffers are parameters there, the bias that CLIP lacks too
    assert (
        sum(t.numel() for n, t in weights.items() if "prompt_learner.token" not in n) == parameters
    )
    imported = import_state_dict("vitaclip", weights)
    ours = method.state_dict()
    assert {n: t.shape for n, t in imported.items()} == {n: t.shape for n, t in ours.items()}


def test_unknown_and_missing_names_are_named(settings: MethodConfig) -> None:
    weights = official(made(settings, seed=0).method)
    del weights["visual.blocks.1.summary_ln.bias"]
    weights["visual.strange"] = torch.zeros(1)
    with pytest.raises(DataError) as error:
        import_state_dict("vitaclip", weights)
    assert "1 unknown names ['visual.strange']" in str(error.value)
    assert "1 missing ['visual.blocks.1.summary_ln.bias']" in str(error.value)
    # one of three that are one of ours
    weights = official(made(settings, seed=0).method)
    del weights["visual.blocks.0.attn.k_proj.bias"]
    with pytest.raises(DataError, match=r"missing \['visual\.blocks\.0\.attn\.in_proj_bias'\]"):
        import_state_dict("vitaclip", weights)


def test_a_bias_of_patches_is_refused(settings: MethodConfig) -> None:
    weights = official(made(settings, seed=0).method)
    weights["visual.patch_embed.proj.bias"] += 0.1
    with pytest.raises(DataError, match=r"patch_embed\.proj\.bias'\] must be 0"):
        import_state_dict("vitaclip", weights)


def checkpoint(folder: Path, weights: dict[str, Tensor]) -> Path:
    path = folder / "checkpoint-1000.pth"
    content = {"model": weights, "optimizer": {"state": {}}, "lr_sched": {}, "next_step": 1000}
    torch.save(content, path)
    return path


@pytest.mark.parametrize("parallel", [False, True])
def test_a_context_for_each_class_is_refused(
    world: World, settings: MethodConfig, parallel: bool
) -> None:
    weights = official(made(settings, seed=0).method, parallel=parallel)
    name = "module.prompt_learner.ctx" if parallel else "prompt_learner.ctx"
    weights[name] = weights[name].expand(15, -1, -1)
    message = r"checkpoint-1000\.pth: .*ctx has shape \(15, 3, 32\).*cannot be scored on unseen"
    with pytest.raises(DataError, match=message):
        import_weights(checkpoint(world.folder, weights), settings, world.folder / "out")


@pytest.mark.parametrize("variant", ["vitaclip", "vitaclip+frozen_projection"])
def test_a_checkpoint_becomes_a_run_that_can_be_scored(world: World, variant: str) -> None:
    settings = world.method(variant, iterations=1)
    model = made(settings, seed=5)
    file = checkpoint(world.folder, official(model.method, parallel=True))
    import_run(file, settings, split=world.split, seed=2, out=world.folder / "run")
    key = run_hash(settings, world.split, 2)
    state = read_weights(world.folder / "run" / "weights.safetensors", run=key)
    expected = model.method.trained_state()
    assert state.keys() == expected.keys()
    assert any("class_projection" in name for name in state)  # random where frozen, so it travels
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_checkpoint_of_another_length_is_refused(world: World, settings: MethodConfig) -> None:
    file = checkpoint(world.folder, official(made(settings, seed=0).method))
    other = settings.model_copy(update={"params": {**settings.params, "num_frames": 4}})
    with pytest.raises(DataError, match=r"another shape: .*encoder\.layers\.0\.local_prompts"):
        import_weights(file, other, world.folder / "out.safetensors")
