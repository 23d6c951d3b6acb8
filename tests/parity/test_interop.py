"""Official ST-CLIP checkpoints: names, counts, and that the imported model computes the same.

The names come from a table of their own (`test_st_clip.NAMES`), the values from the slow reference
that reads official names.
"""

from pathlib import Path

import pytest
import torch
from conftest import ROOT, World
from safetensors import safe_open
from st_clip_reference import MEAN, STD, Settings, encode_text, key_frame_logits
from test_cli import run as command
from test_st_clip import official_name
from torch import Tensor

from stclip.checkpoints.official import read_official
from stclip.errors import ConfigError, DataError
from stclip.methods.build import Built, build, import_state_dict
from stclip.score.score import read_weights
from stclip.train.import_run import import_run, import_weights
from stclip.train.run_folder import run_hash

TINY = "package:mini/tiny_clip/tiny-clip.json"
LABELS = ["brush_hair", "run", "shoot_ball"]
PREFIX = "roi_heads.action.text_feature_generator."
OUTSIDE = ("adapter", "ln_person")  # of the CLIP module
UNUSED = {
    "mlp.c_fc.weight": (4, 1), "mlp.c_fc.bias": (4,), "mlp.c_proj.weight": (1, 4),
    "mlp.c_proj.bias": (1,), "ln_2.weight": (1,), "ln_2.bias": (1,),
}  # fmt: skip


def made(backbone: str = TINY, *, seed: int = 0, **params: int) -> Built:
    torch.manual_seed(seed)
    model = build("st_clip", labels=LABELS, backbone=backbone, config=ROOT / "config", **params)
    with torch.no_grad():
        for p in model.parameters():  # LoRA's B, biases and rho too: none hides
            p += 0.05 * torch.randn_like(p)
    return model


def official(model: Built, *, parallel: bool = False) -> dict[str, Tensor]:
    """The model as the official training code saves it."""
    names = {}
    for name, tensor in model.state_dict().items():
        theirs = official_name(name)
        inside = "" if theirs.startswith(OUTSIDE) else "clipmodel."
        names[f"{PREFIX}{inside}{theirs}"] = tensor
    width = names[f"{PREFIX}clipmodel.visual.class_embedding"].shape[0]
    for part, shape in UNUSED.items():
        key = f"{PREFIX}clipmodel.visual.temporalModelling.resblocks.0.{part}"
        names[key] = torch.zeros(*(width * n for n in shape))
    return {f"module.{k}" if parallel else k: v for k, v in names.items()}


@pytest.mark.parametrize("parallel", [False, True])
def test_there_and_back(parallel: bool) -> None:
    model = made(prompt_head_width=32)
    imported = import_state_dict("st_clip", official(model, parallel=parallel))
    mine = model.state_dict()
    assert imported.keys() == mine.keys()
    assert all(torch.equal(imported[name], mine[name]) for name in mine)
    other = made(seed=1, prompt_head_width=32)
    other.load_state_dict(imported)  # strict: nothing missing, nothing over


def test_an_imported_model_computes_what_the_official_formulas_say() -> None:
    # the weights travel by official names; the reference knows no others
    weights = official(made(prompt_head_width=32))
    model = made(seed=1, prompt_head_width=32)
    model.load_state_dict(import_state_dict("st_clip", weights))
    backbone = model.method.backbone
    height, width = backbone.image_size
    torch.manual_seed(3)
    clip = torch.rand(12, 3, height, width) * 255
    crops = torch.rand(3, 3, height, width) * 255
    mean, std = (torch.tensor(v).view(3, 1, 1) * 255 for v in (MEAN, STD))
    with torch.inference_mode():
        # frame 6 of 12, counted from 1: its window is 2..10, the key frame stands in slot 4
        logits = model(
            ((clip[1:10] - mean) / std)[None],
            key=torch.tensor([4]),
            crops=(crops - mean) / std,
            box_sample=torch.zeros(3, dtype=torch.long),
        )
    bare = {k.removeprefix(PREFIX).removeprefix("clipmodel."): v for k, v in weights.items()}
    w = {name: tensor.double() for name, tensor in bare.items()}
    visual = backbone.clip.visual
    settings = Settings(
        patch=visual.conv1.kernel_size[0], layers=len(backbone.blocks), heads=backbone.heads,
        text_layers=len(backbone.clip.transformer.resblocks),
        text_heads=backbone.clip.transformer.resblocks[0].attn.num_heads,
        prompt_heads=backbone.embed_dim // 32, lora_scale=1 / 8,
    )  # fmt: skip
    text = torch.stack([encode_text(w, settings, ids) for ids in backbone.tokenize(LABELS)])
    expected = key_frame_logits(w, settings, list(clip.double()), 6, list(crops.double()), text)
    assert torch.allclose(logits.double(), expected, rtol=1e-4, atol=1e-4)


def test_counts_at_vit_b_16() -> None:
    """585 tensors; 55,109,376 parameters as the paper counts them, 50,385,408 that compute."""
    model = build("st_clip", labels=LABELS, config=ROOT / "config")
    weights = official(model)
    assert len(weights) == 585
    computing = sum(p.numel() for p in model.parameters() if p.requires_grad)
    idle = sum(t.numel() for name, t in weights.items() if _idle(name))
    assert (computing, computing + idle) == (50_385_408, 55_109_376)
    assert len(import_state_dict("st_clip", weights)) == 579


def _idle(name: str) -> bool:
    return any(name.endswith(f"temporalModelling.resblocks.0.{part}") for part in UNUSED)


def test_unknown_and_missing_names_are_named() -> None:
    weights = official(made(prompt_head_width=32))
    last = f"{PREFIX}clipmodel.visual.transformer.projector.3.bias"
    del weights[last]
    weights["backbone.fc.weight"] = torch.zeros(1)
    with pytest.raises(DataError) as error:
        import_state_dict("st_clip", weights)
    assert "1 unknown names ['backbone.fc.weight']" in str(error.value)
    assert f"1 missing ['{last}']" in str(error.value)
    with pytest.raises(DataError, match="not a checkpoint of st_clip"):
        import_state_dict("st_clip", {})
    with pytest.raises(ConfigError, match="'clip_frame' has no official checkpoints"):
        import_state_dict("clip_frame", {})


def checkpoint(folder: Path, weights: dict[str, Tensor]) -> Path:
    path = folder / "model_0003000.pth"
    torch.save({"model": weights, "optimizer": {"state": {}}, "iteration": 3000}, path)
    return path


def test_a_checkpoint_becomes_a_run_that_can_be_scored(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settings = world.method("st_clip", iterations=1)
    torch.manual_seed(5)
    params = {**settings.params}
    model = build(
        "st_clip", labels=LABELS, backbone=settings.backbone.model, config=ROOT / "config", **params
    )
    file = checkpoint(world.folder, official(model))
    import_run(file, settings, split=world.split, seed=2, out=world.folder / "run")
    key = run_hash(settings, world.split, 2)
    state = read_weights(world.folder / "run" / "weights.safetensors", run=key)
    assert state.keys() == model.method.trained_state().keys()
    assert all(torch.equal(state[n], t) for n, t in model.method.trained_state().items())
    assert (world.folder / "run" / "config.yaml").exists()
    # the random backbone here is another than the checkpoint's
    assert "frozen tensors differ" in caplog.text
    import_weights(file, settings, world.folder / "only.safetensors")
    with safe_open(world.folder / "only.safetensors", "pt") as saved:
        assert set(saved.keys()) == set(state)


def test_checkpoints_of_another_backbone_and_damaged_ones_are_named(world: World) -> None:
    settings = world.method("st_clip", iterations=1)
    file = checkpoint(world.folder, official(made(prompt_head_width=32)))
    with pytest.raises(DataError, match=r"model_0003000\.pth: does not fit st_clip on .*shape"):
        import_weights(file, settings, world.folder / "out.safetensors")
    file.write_bytes(b"cut")
    with pytest.raises(DataError, match=r"model_0003000\.pth: no weights that are known"):
        read_official(file)
    torch.save({"iteration": 1}, file)
    with pytest.raises(DataError, match="holds no state dict"):
        read_official(file)
    with pytest.raises(DataError, match=r"gone\.pth: no such file"):
        read_official(world.folder / "gone.pth")


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('ran')",)

    torch.save({"model": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(DataError, match="not a checkpoint of tensors and plain values"):
        read_official(tmp_path / "trap.pth")


def test_import_on_the_command_line(tmp_path: Path) -> None:
    file = checkpoint(tmp_path, official(made(prompt_head_width=32)))
    out = tmp_path / "st_clip.safetensors"
    done = command(
        "import-checkpoint", str(file), "--method", "st_clip", "--scale", "mini", "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    assert "6 dropped that compute nothing" in done.stderr
    with safe_open(out, "pt") as saved:
        assert "prompting.0.rho" in saved.keys()  # noqa: SIM118


def test_another_backbone_is_one_of_the_scale_and_makes_no_run(tmp_path: Path) -> None:
    file = checkpoint(tmp_path, official(made(prompt_head_width=32)))
    options = ["import-checkpoint", str(file), "--method", "st_clip", "--scale", "mini"]
    options += ["--out", str(tmp_path / "out.safetensors")]
    done = command(*options, "--backbone", "huge")
    assert done.returncode != 0
    assert "unknown backbone 'huge'; known are ['tiny', 'tiny_32', 'tiny_ava']" in done.stderr
    split = str(ROOT / "splits" / "jhmdb" / "1.json")
    done = command(*options, "--backbone", "tiny", "--split", split)
    assert "set `backbone` of the method in config/scales/mini.yaml" in done.stderr
    assert command(*options, "--backbone", "tiny").returncode == 0
