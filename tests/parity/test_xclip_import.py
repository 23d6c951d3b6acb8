"""Official X-CLIP checkpoints: names, shapes, and that the imported model computes the same."""

import logging
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import World
from small_clip import gap
from test_xclip import on_meta
from torch import Tensor
from xclip_world import LABELS, Videos, official_weights, small_method

from stclip.checkpoints.official import CLIP_BLOCK
from stclip.errors import DataError
from stclip.methods.build import build, import_state_dict
from stclip.score.score import read_weights
from stclip.train.import_run import import_run, import_weights
from stclip.train.run_folder import run_hash


def block_shapes(d: int) -> list[tuple[int, ...]]:
    """Shapes of the tensors of a CLIP block, in the order of `CLIP_BLOCK`."""
    attention = [(3 * d, d), (3 * d,), (d, d), (d,)]
    return [(d,), (d,), (d,), (d,), *attention, (4 * d, d), (4 * d,), (d, 4 * d), (d,)]


def official_shapes(
    d: int, e: int, w: int, *, layers: int, patch: int, tokens: int
) -> dict[str, tuple[int, ...]]:
    """A checkpoint with 8 frames and two prompting layers; w: width of the text tower."""
    both = ("weight", "bias")
    shapes: dict[str, tuple[int, ...]] = {
        "visual.conv1.weight": (d, 3, patch, patch), "visual.class_embedding": (d,),
        "visual.positional_embedding": (tokens, d), "visual.proj": (d, e),
        "token_embedding.weight": (49408, w), "positional_embedding": (77, w),
        "text_projection": (w, e), "logit_scale": (), "mit.positional_embedding": (1, 8, e),
        "prompts_generator.alpha": (e,), "prompts_visual_proj": (d, e),
    }  # fmt: skip
    norms = {"visual.ln_pre": d, "visual.ln_post": d, "ln_final": w, "prompts_visual_ln": d,
             "prompts_generator.norm": e}  # fmt: skip
    shapes |= {f"{name}.{kind}": (width,) for name, width in norms.items() for kind in both}
    stacks = {"visual.transformer": (layers, d), "transformer": (12, w), "mit": (1, e)}
    for tower, (number, width) in stacks.items():
        for i in range(number):
            parts = zip(CLIP_BLOCK, block_shapes(width), strict=True)
            shapes |= {f"{tower}.resblocks.{i}.{part}": shape for part, shape in parts}
    for i in range(layers):
        name = f"visual.transformer.resblocks.{i}.message"
        shapes |= {
            f"{name}_fc.weight": (d, d), f"{name}_fc.bias": (d,), f"{name}_ln.weight": (d,),
            f"{name}_ln.bias": (d,), f"{name}_attn.in_proj_weight": (3 * d, d),
            f"{name}_attn.in_proj_bias": (3 * d,), f"{name}_attn.out_proj.weight": (d, d),
            f"{name}_attn.out_proj.bias": (d,),
        }  # fmt: skip
    for j in range(2):
        name = f"prompts_generator.decoder.{j}"
        shapes |= {
            f"{name}.cross_attn.{part}.weight": (e, e)
            for part in ("q_proj", "k_proj", "v_proj", "proj")
        }
        shapes |= {
            f"{name}.cross_attn.proj.bias": (e,), f"{name}.norm1.weight": (e,),
            f"{name}.norm1.bias": (e,), f"{name}.norm3.weight": (e,), f"{name}.norm3.bias": (e,),
            f"{name}.mlp.0.weight": (4 * e, e), f"{name}.mlp.0.bias": (4 * e,),
            f"{name}.mlp.3.weight": (e, 4 * e), f"{name}.mlp.3.bias": (e,),
        }  # fmt: skip
    return shapes


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("ViT-B-16", official_shapes(768, 512, 512, layers=12, patch=16, tokens=197)),
        ("ViT-L-14", official_shapes(1024, 768, 768, layers=24, patch=14, tokens=257)),
    ],
    ids=["ViT-B-16", "ViT-L-14"],
)
def test_checkpoints_at_their_true_size_fit(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    weights = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    imported = import_state_dict("xclip", weights)
    mine = on_meta(name, prompt_layers=2).state_dict()
    assert {k: t.shape for k, t in imported.items()} == {k: t.shape for k, t in mine.items()}


@pytest.mark.parametrize("parallel", [False, True])
def test_an_imported_model_computes_what_the_official_tensors_say(
    tmp_path: Path, parallel: bool
) -> None:
    videos, other = Videos(tmp_path), small_method(seed=1, prompt_layers=2)
    weights = {n: t.detach() for n, t in official_weights(other).items()}
    named = {f"module.{n}" if parallel else n: t for n, t in weights.items()}
    method = small_method(prompt_layers=2)
    found = import_state_dict("xclip", named)  # as float32
    method.load_state_dict({name: tensor.double() for name, tensor in found.items()})  # strict
    logits = method(videos.batch(method), method.encode_labels(LABELS))
    assert gap(logits, videos.reference(other, weights)) < 1e-5


def test_unknown_and_missing_names_are_named() -> None:
    weights = official_weights(small_method())
    last = "visual.transformer.resblocks.2.message_fc.bias"
    del weights[last]
    # message modules in the text tower, as a reading of the paper's parameter count has them
    odd = "transformer.resblocks.0.message_fc.bias"
    weights[odd] = torch.zeros(1)
    with pytest.raises(DataError) as error:
        import_state_dict("xclip", weights)
    assert f"1 unknown names ['{odd}']" in str(error.value)
    assert f"1 missing ['{last}']" in str(error.value)


def small_checkpoint(world: World, variant: str) -> tuple[Path, dict[str, Tensor]]:
    """A file as the training code writes it, with its settings; and what we should train of it."""
    settings = world.method(variant, iterations=1)
    torch.manual_seed(5)
    method = build(
        "xclip", labels=["run"], backbone=settings.backbone.model, **settings.params
    ).method
    path = world.folder / "ckpt_epoch_29.pth"
    yacs, module = ModuleType("yacs"), ModuleType("yacs.config")
    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module.CfgNode = node  # type: ignore[attr-defined]
    config = node({"MODEL": node({"ARCH": "ViT-B/16"})})
    config.__dict__["__immutable__"] = True
    sys.modules |= {"yacs": yacs, "yacs.config": module}
    try:
        content = {"model": official_weights(method), "optimizer": {"state": {}}, "epoch": 29}  # type: ignore[arg-type]
        torch.save({**content, "lr_scheduler": {}, "max_accuracy": 90.0, "config": config}, path)
    finally:
        del sys.modules["yacs"], sys.modules["yacs.config"]
    return path, method.trained_state()


def test_a_checkpoint_becomes_a_run_that_can_be_scored(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file, trained = small_checkpoint(world, "xclip+official")
    settings = world.method("xclip+official", iterations=1)
    import_run(file, settings, split=world.split, seed=2, out=world.folder / "run")
    run = run_hash(settings, world.split, 2)
    state = read_weights(world.folder / "run" / "weights.safetensors", run=run)
    assert state.keys() == trained.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in trained.items())
    # the random backbone here is another than the checkpoint's, as after training on Kinetics
    assert "frozen tensors differ" in caplog.text
    assert "ImageNet's mean and standard deviation" in caplog.text
    with pytest.raises(DataError, match=r"ckpt_epoch_29\.pth: does not fit xclip on .*params\?"):
        import_weights(file, world.method("xclip", iterations=1), world.folder / "out")
