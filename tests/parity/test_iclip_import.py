"""Official iCLIP checkpoints: names, shapes, and that the imported model computes the same.

The names come from a table of their own (`iclip_world.NAMES`), the values from the slow reference
that reads official names.
"""

import logging
from pathlib import Path

import pytest
import torch
from conftest import World
from iclip_world import PREFIX, Frames, official_weights, small_method
from small_clip import LABELS, gap, meta_backbone
from torch import Tensor

from baselines.iclip import ICLIP
from stclip.checkpoints.official import CLIP_BLOCK, OfficialNames
from stclip.errors import DataError
from stclip.methods.build import build, import_state_dict
from stclip.score.score import read_weights
from stclip.train.import_run import import_run, import_weights
from stclip.train.run_folder import run_hash

BUILT_FOR_NOTHING = [  # some of the many; SlowFast has no prefix
    "backbone.slow.conv1.weight",
    f"{PREFIX}mit.resblocks.0.ln_1.weight",
    f"{PREFIX}feature_extractor.pose_transformer.layers.0.weight",
    f"{PREFIX}feature_extractor.clip.visual.proj",
    f"{PREFIX}text_feature_generator.embedding.weight",
    f"{PREFIX}text_feature_generator.prompts_visual_proj",
    f"{PREFIX}text_feature_generator.prompts_visual_ln.bias",
]


def whole(weights: dict[str, Tensor], *, parallel: bool = False) -> dict[str, Tensor]:
    """A state dict as it is saved."""
    found = {f"{PREFIX}{name}": tensor.detach() for name, tensor in weights.items()}
    found |= {name: torch.zeros(2, 3) for name in BUILT_FOR_NOTHING}
    return {f"module.{k}" if parallel else k: t for k, t in found.items()}


def clip_shapes(d: int, e: int, w: int, *, layers: int, patch: int, tokens: int) -> dict:
    shapes: dict[str, tuple[int, ...]] = {
        "visual.conv1.weight": (d, 3, patch, patch), "visual.class_embedding": (d,),
        "visual.positional_embedding": (tokens, d), "visual.proj": (d, e),
        "token_embedding.weight": (49408, w), "positional_embedding": (77, w),
        "text_projection": (w, e), "logit_scale": (),
    }  # fmt: skip
    norms = {"visual.ln_pre": d, "visual.ln_post": d, "ln_final": w}
    shapes |= {f"{name}.{kind}": (n,) for name, n in norms.items() for kind in ("weight", "bias")}
    for tower, number, n in (("visual.transformer", layers, d), ("transformer", 12, w)):
        parts = [(n,)] * 4 + [(3 * n, n), (3 * n,), (n, n), (n,)]
        parts += [(4 * n, n), (4 * n,), (n, 4 * n), (n,)]
        for i in range(number):
            pairs = zip(CLIP_BLOCK, parts, strict=True)
            shapes |= {f"{tower}.resblocks.{i}.{part}": shape for part, shape in pairs}
    return shapes


def official_shapes(e: int, clip: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    shapes = {f"text_feature_generator.clipmodel.{name}": shape for name, shape in clip.items()}
    for letter in "POHM":
        for number in (1, 2):
            name = f"feature_extractor.iCLIP_structure.{letter}_block_{number}"
            for layer in ("query", "key", "value", "out"):
                shapes[f"{name}.{layer}.weight"] = (e, e, 1, 1, 1)
                shapes[f"{name}.{layer}.bias"] = (e,)
            if letter == "M":
                shapes[f"{name}.temporal_position_k"] = (60, 1, e, 1, 1, 1)
                shapes[f"{name}.temporal_position_v"] = (60, 1, e, 1, 1, 1)
    shapes |= {f"prompts_generator.{name}": (e,) for name in ("alpha", "norm.weight", "norm.bias")}
    for i in (0, 1):
        name = f"prompts_generator.decoder.{i}"
        layers = ("q_proj", "k_proj", "v_proj", "proj")
        shapes |= {f"{name}.cross_attn.{layer}.weight": (e, e) for layer in layers}
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
        ("ViT-B-16", official_shapes(512, clip_shapes(768, 512, 512, layers=12, patch=16,
                                                      tokens=197))),
        ("ViT-L-14", official_shapes(768, clip_shapes(1024, 768, 768, layers=24, patch=14,
                                                      tokens=257))),
    ],
    ids=["ViT-B-16", "ViT-L-14"],
)  # fmt: skip
def test_checkpoints_at_their_true_size_fit(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    weights = {k: torch.empty(shape, device="meta") for k, shape in shapes.items()}
    imported = import_state_dict("iclip", whole(weights))
    with torch.device("meta"):
        mine = ICLIP(meta_backbone(name), ICLIP.Config()).state_dict()
    assert {k: t.shape for k, t in imported.items()} == {k: t.shape for k, t in mine.items()}


@pytest.mark.parametrize("parallel", [False, True])
def test_an_imported_model_computes_what_the_official_tensors_say(
    tmp_path: Path, parallel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    frames, other, method = Frames(tmp_path), small_method(seed=1), small_method()
    weights = official_weights(other)
    found = import_state_dict("iclip", whole(weights, parallel=parallel))  # as float32
    method.load_state_dict({name: tensor.double() for name, tensor in found.items()})  # strict
    samples = frames.samples[:3]
    logits = method(frames.batch(method, samples), method.encode_labels(LABELS))
    assert gap(logits, frames.reference(other, weights, samples)) < 1e-5
    assert f"{len(BUILT_FOR_NOTHING)} dropped that compute nothing" in caplog.text


def test_unknown_and_missing_names_are_named() -> None:
    weights = whole(official_weights(small_method()))
    lost = f"{PREFIX}feature_extractor.iCLIP_structure.H_block_2.out.bias"
    odd = f"{PREFIX}feature_extractor.iCLIP_structure.H_block_3.out.bias"
    weights[odd] = weights.pop(lost)
    with pytest.raises(DataError) as error:
        import_state_dict("iclip", weights)
    assert f"1 unknown names ['{odd}']" in str(error.value)
    assert f"1 missing ['{lost}']" in str(error.value)


def test_beginnings_are_ignored_and_axes_of_one_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = OfficialNames(
        prefix="head.", names={"a": "x", "b": "y"}, ignored=("old.",), squeezed={"a": (1, 3)}
    )
    monkeypatch.setattr(ICLIP, "official", keys)
    given = {
        "head.a": torch.ones(4, 1, 3, 1), "head.b": torch.ones(1, 2),
        "head.old.c": torch.ones(1), "old.d": torch.ones(1),
    }  # fmt: skip
    found = import_state_dict("iclip", given)
    assert {name: tuple(t.shape) for name, t in found.items()} == {"x": (4, 3), "y": (1, 2)}
    with pytest.raises(DataError, match=r"1 unknown names \['head\.gold\.c'\]"):
        import_state_dict("iclip", given | {"head.gold.c": torch.ones(1)})


def test_a_checkpoint_becomes_a_run_that_can_be_scored(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = world.method("iclip+official", iterations=1)
    torch.manual_seed(5)
    method = build(
        "iclip", labels=["run"], backbone=settings.backbone.model, **settings.params
    ).method
    assert isinstance(method, ICLIP)
    file = world.folder / "model_final.pth"
    content = {"model": whole(official_weights(method)), "optimizer": {"state": {}}}
    torch.save({**content, "person_pool": {"video,1": torch.ones(1)}, "iteration": 7000}, file)
    import_run(file, settings, split=world.split, seed=2, out=world.folder / "run")
    run = run_hash(settings, world.split, 2)
    state = read_weights(world.folder / "run" / "weights.safetensors", run=run)
    trained = method.trained_state()
    assert state.keys() == trained.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in trained.items())
    assert "frozen tensors differ" in caplog.text  # the random backbone here is another one
    assert "the variant `official` has both" in caplog.text
    other = world.method("iclip+one_prompt_layer", iterations=1)
    with pytest.raises(DataError, match=r"model_final\.pth: does not fit iclip\+one_prompt_layer"):
        import_weights(file, other, world.folder / "out")
