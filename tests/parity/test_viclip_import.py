"""ViCLIP's published weights: names, shapes, as a backbone and as a run."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import World, write_small_clip
from safetensors.torch import save_file
from small_clip import gap, meta_backbone
from test_xclip_import import block_shapes
from torch import Tensor
from viclip_world import CONTEXT, LABELS, Videos, official_weights, small_method, squashed

from baselines.viclip import ViCLIP
from baselines.viclip_encoder import fit_rows
from stclip.checkpoints.official import CLIP_BLOCK, read_official
from stclip.config import BackboneConfig
from stclip.errors import ConfigError, DataError
from stclip.methods.build import build, import_state_dict
from stclip.methods.clip.backbone import Backbone, load_backbone
from stclip.score.score import read_weights
from stclip.train.import_run import import_run, import_weights
from stclip.train.run_folder import run_hash


def official_shapes(
    d: int, e: int, *, layers: int, patch: int, grid: int
) -> dict[str, tuple[int, ...]]:
    """The published tensors; the text tower is as wide as the joint embedding."""
    shapes: dict[str, tuple[int, ...]] = {
        "temp": (),
        "vision_encoder.class_embedding": (d,),
        "vision_encoder.positional_embedding": (1 + grid**2, d),
        "vision_encoder.temporal_positional_embedding": (1, 8, d),
        "vision_encoder.conv1.weight": (d, 3, 1, patch, patch),
        "vision_encoder.proj": (d, e),
        "text_encoder.token_embedding.weight": (49408, e),
        "text_encoder.positional_embedding": (32, e),
        "text_encoder.text_projection": (e, e),
    }
    norms = {"vision_encoder.ln_pre": d, "vision_encoder.ln_post": d, "text_encoder.ln_final": e}
    shapes |= {f"{n}.{kind}": (w,) for n, w in norms.items() for kind in ("weight", "bias")}
    for tower, number, width in (("vision", layers, d), ("text", 12, e)):
        for i in range(number):
            parts = zip(CLIP_BLOCK, block_shapes(width), strict=True)
            name = f"{tower}_encoder.transformer.resblocks.{i}"
            shapes |= {f"{name}.{part}": shape for part, shape in parts}
    return shapes


@pytest.mark.parametrize(
    ("name", "shapes", "tensors", "parameters"),
    [
        ("ViT-B-16", official_shapes(768, 512, layers=12, patch=16, grid=14), 303, 149_603_841),
        ("ViT-L-14", official_shapes(1024, 768, layers=24, patch=14, grid=16), 447, 427_590_145),
    ],
    ids=["ViT-B-16", "ViT-L-14"],
)
def test_weights_at_their_true_size_fit(
    name: str, shapes: dict[str, tuple[int, ...]], tensors: int, parameters: int
) -> None:
    weights = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    assert len(weights) == tensors
    assert sum(t.numel() for t in weights.values()) == parameters
    imported = import_state_dict("viclip", weights)
    with torch.device("meta"):
        mine = ViCLIP(meta_backbone(name), ViCLIP.Config()).state_dict()
    differ = {k for k in mine if k not in imported or imported[k].shape != mine[k].shape}
    text = "backbone.clip.positional_embedding"
    assert differ == {"backbone.clip.logit_scale", text}
    assert (len(imported[text]), len(mine[text])) == (32, 77)
    assert imported.keys() <= mine.keys()


def test_an_imported_model_computes_what_the_official_tensors_say(tmp_path: Path) -> None:
    videos, other = Videos(tmp_path), small_method(seed=1)
    weights = {n: t.detach() for n, t in official_weights(other).items()}
    method = small_method()
    found = import_state_dict("viclip", weights)
    loaded = method.load_state_dict({n: t.double() for n, t in found.items()}, strict=False)
    assert loaded == (["backbone.clip.logit_scale"], [])
    logits = method(videos.batch(method), method.encode_labels(LABELS))
    assert gap(logits, videos.reference(other, weights, squashed())) < 1e-5


def test_unknown_and_missing_names_are_named() -> None:
    weights = official_weights(small_method())
    last = "vision_encoder.transformer.resblocks.1.ln_2.bias"
    del weights[last]
    weights["text_encoder.logit_scale"] = torch.zeros(1)
    with pytest.raises(DataError) as error:
        import_state_dict("viclip", weights)
    assert "1 unknown names ['text_encoder.logit_scale']" in str(error.value)
    assert f"1 missing ['{last}']" in str(error.value)


# ---- as a run


def published(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The small CLIP of the tests over 8 frames, as a file on the hub; and its tensors."""
    torch.manual_seed(5)
    model = str(write_small_clip(folder))
    method = build("viclip", labels=["run"], backbone=model).method
    assert isinstance(method, ViCLIP)
    with torch.no_grad():
        method.encoder.temporal.normal_()
    weights = {n: t.detach() for n, t in official_weights(method).items()}
    rows = "text_encoder.positional_embedding"
    weights[rows] = weights[rows][:12]  # 4 fewer than the model has, as 32 of 77
    path = folder / "ViCLIP.safetensors"
    save_file({n: t.contiguous() for n, t in weights.items()}, path)
    return path, weights


def test_published_weights_become_a_run_that_can_be_scored(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file, weights = published(world.folder)
    settings = world.method("viclip", iterations=1)
    import_run(file, settings, split=world.split, seed=2, out=world.folder / "run")
    run = run_hash(settings, world.split, 2)
    state = read_weights(world.folder / "run" / "weights.safetensors", run=run)
    assert all(n.startswith(("backbone.clip.visual.", "encoder.temporal")) for n in state)
    temporal = weights["vision_encoder.temporal_positional_embedding"][0]
    assert torch.equal(state["encoder.temporal"], temporal)
    assert "ImageNet's mean" in caplog.text
    assert "frozen tensors differ" in caplog.text  # the text tower here is another
    # as .pth, and for fewer frames
    torch.save({"model": weights}, world.folder / "ViCLIP.pth")
    few = settings.model_copy(update={"params": {"num_frames": 3}})
    import_weights(world.folder / "ViCLIP.pth", few, world.folder / "few.safetensors")
    assert torch.equal(read_official(world.folder / "few.safetensors")["encoder.temporal"],
                       temporal[:3])  # fmt: skip
    more = settings.model_copy(update={"params": {"num_frames": 9}})
    with pytest.raises(DataError, match=r"ViCLIP\.safetensors: does not fit viclip on"):
        import_weights(file, more, world.folder / "out")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match=r"ViCLIP\.safetensors: damaged, or no safetensors"):
        import_weights(file, settings, world.folder / "out")


# ---- as a backbone


def loaded(folder: Path, file: Path) -> Backbone:
    return load_backbone(BackboneConfig(model=str(folder / "small-clip.json"), weights=str(file)))


@pytest.mark.parametrize("form", ["plain", "wrapped", "pth"])
def test_published_weights_are_a_backbone(tmp_path: Path, form: str) -> None:
    file, weights = published(tmp_path)
    if form == "wrapped":
        save_file({f"model.{n}": t.contiguous() for n, t in weights.items()}, file)
    elif form == "pth":
        file = file.with_suffix(".pth")
        torch.save({"model": weights}, file)
    backbone = loaded(tmp_path, file)
    state = backbone.clip.state_dict()
    for name, tensor in weights.items():
        ours = name.replace("vision_encoder.", "visual.").replace("text_encoder.", "")
        if ours in state:
            shape = state[ours].shape
            assert torch.equal(state[ours], tensor.reshape(shape)), name
    assert float(backbone.logit_scale) == pytest.approx(100, rel=1e-5)
    method = ViCLIP(backbone, ViCLIP.Config(learn_temperature=True, temperature=0.5))
    temporal = weights["vision_encoder.temporal_positional_embedding"][0]
    assert torch.equal(method.encoder.temporal, temporal)
    assert method.temperature == weights["temp"]
    assert ViCLIP(backbone, ViCLIP.Config(temperature=0.5)).temperature == 0.5


def test_the_text_tower_takes_as_many_tokens_as_the_file_has_positions(tmp_path: Path) -> None:
    file, weights = published(tmp_path)
    short = loaded(tmp_path, file)
    whole = load_backbone(BackboneConfig(model=str(tmp_path / "small-clip.json"), weights=None))
    state = short.clip.state_dict()
    state["positional_embedding"] = torch.cat([state["positional_embedding"], torch.ones(4, 32)])
    whole.clip.load_state_dict(state)
    labels = ["run", "brush hair with a very long comb"]
    assert gap(short.encode_text(labels), whole.encode_text(labels)) < 1e-5
    assert weights["text_encoder.positional_embedding"].shape == (12, 32)
    with pytest.raises(ConfigError, match=r"has 11 tokens; the text tower takes 10\."):
        short.encode_text(["run " * 11])
    assert whole.encode_text([("run " * 11).strip()]).shape == (1, 64)


Change = Callable[[dict[str, Tensor]], object]
TEMPORAL = "vision_encoder.temporal_positional_embedding"
DAMAGE: list[tuple[Change, str]] = [
    (lambda w: w.pop("temp"), r"\['temp'\] are missing"),
    (lambda w: w.pop(TEMPORAL), rf"\['{TEMPORAL}'\] are missing"),
    (lambda w: w.pop("vision_encoder.ln_pre.bias"), r"1 missing \['visual\.ln_pre\.bias'\]"),
    (lambda w: w.update(odd=torch.zeros(1)), r"1 unknown \['odd'\]"),
    (lambda w: w.update({TEMPORAL: torch.zeros(8, 64)}), r"\(8, 64\); it must be \(1, frames, 64"),
    (lambda w: w.update(temp=torch.tensor(0.0)), r"temp is 0\.0; it must be above 0"),
    (
        lambda w: w.update({"vision_encoder.conv1.weight": torch.zeros(64, 3, 2, 16, 16)}),
        r"1 of another shape \['visual\.conv1\.weight \(64, 3, 2",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), DAMAGE)
def test_damaged_weights_are_told(tmp_path: Path, change: Change, message: str) -> None:
    file, weights = published(tmp_path)
    change(weights)
    save_file({n: t.contiguous() for n, t in weights.items()}, file)
    with pytest.raises(DataError, match=rf"(?s)ViCLIP\.safetensors: .*{message}"):
        loaded(tmp_path, file)


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    file, _ = published(tmp_path)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"ViCLIP\.safetensors: damaged, or no safetensors"):
        loaded(tmp_path, file)


def test_positions_in_time_are_cut_for_fewer_frames_and_interpolated_for_more() -> None:
    table = torch.tensor([[0.0, 8.0], [1.0, 4.0], [2.0, 0.0]])
    assert torch.equal(fit_rows(table, 2), table[:2])
    assert torch.equal(fit_rows(table, 3), table)
    # Six rows: middles of halves of the three, at -1/4, 1/4, 3/4, ... and no further than the ends.
    places = torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.0])
    assert gap(fit_rows(table, 6), torch.stack([places, 8 - 4 * places], 1)) < 1e-6
    assert CONTEXT < 77  # the small towers here are shorter than CLIP's
