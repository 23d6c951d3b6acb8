"""Official ActionCLIP checkpoints: names, tables, what an imported head computes."""

from pathlib import Path

import pytest
import torch
from actionclip_reference import similarity, video_feature
from conftest import ROOT, World
from small_clip import meta_backbone, shaken
from test_actionclip import official_name
from torch import Tensor

from baselines.actionclip import ActionCLIP
from stclip.checkpoints.official import read_official
from stclip.config import MethodConfig
from stclip.errors import DataError
from stclip.methods.build import build, import_state_dict, load_method
from stclip.train.import_run import import_weights


def checkpoint(folder: Path, weights: dict[str, Tensor], *, rows: int = 77) -> Path:
    """As the official code saves it: two state dicts, 77 positions, most of CLIP in fp16."""
    table = "module.frame_position_embeddings.weight"
    width = weights[table].shape[1]
    longer = torch.cat([weights[table], torch.randn(rows - len(weights[table]), width)])
    weights = {**weights, table: longer}
    content = {
        "epoch": 49,
        "model_state_dict": {
            k: v.half() if ".attn." in k else v
            for k, v in weights.items()
            if not k.startswith("module.")
        },
        "fusion_model_state_dict": {k: v for k, v in weights.items() if k.startswith("module.")},
        "optimizer_state_dict": {"state": {}},
    }
    path = folder / "model_best.pt"
    torch.save(content, path)
    return path


def random_official(settings: MethodConfig) -> dict[str, Tensor]:
    torch.manual_seed(5)
    own = load_method(settings)
    shaken(own)
    return {official_name(name): t.detach().clone() for name, t in own.state_dict().items()}


def test_a_checkpoint_computes_what_its_formulas_say(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settings = world.method("actionclip", iterations=1)
    weights = random_official(settings)
    file = checkpoint(world.folder, weights)
    import_weights(file, settings, world.folder / "out.safetensors")
    assert "frozen tensors differ" in caplog.text  # its CLIP is fine-tuned; ours stays

    state = import_state_dict(
        "actionclip", read_official(file, ("model_state_dict", "fusion_model_state_dict"))
    )
    state["temporal.positions"] = state["temporal.positions"][:8]
    model = build("actionclip", labels=["run", "walk"], backbone=settings.backbone.model,
                  config=ROOT / "config", **settings.params)  # fmt: skip
    model.load_state_dict(state)
    frames = torch.randn(2, 8, 3, 32, 32)
    with torch.inference_mode():
        found = model(frames, key=torch.zeros(2, dtype=torch.long))
        features = model.method.backbone.encode_images(frames.flatten(0, 1)).unflatten(0, (2, 8))
        text = model.method.encode_labels(["run", "walk"]).double()
    w = {name: t.double() for name, t in weights.items()}
    for row, of_clip in zip(found, features.double(), strict=True):
        video = video_feature(w, of_clip, heads=1)
        for i, of_template in enumerate(text):
            for j, of_label in enumerate(of_template):
                expected = similarity(w, video, of_label)
                assert row[i, j].item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(("rows", "variant"), [(8, "actionclip"), (77, "actionclip+long_table")])
def test_tables_of_other_lengths_are_taken(world: World, rows: int, variant: str) -> None:
    weights = random_official(world.method("actionclip", iterations=1))
    file = checkpoint(world.folder, weights, rows=rows)
    out = world.folder / "out.safetensors"
    import_weights(file, world.method(variant, iterations=1), out)
    with pytest.raises(DataError, match=r"of another shape: \['temporal.positions'\]"):
        import_weights(
            checkpoint(world.folder, weights, rows=8),
            world.method("actionclip+long_table", iterations=1), out,
        )  # fmt: skip


@pytest.mark.parametrize("backbone", ["ViT-B-16", "ViT-L-14"])
def test_the_names_are_those_of_the_official_sizes(backbone: str) -> None:
    with torch.device("meta"):
        method = ActionCLIP(meta_backbone(backbone), ActionCLIP.Config(positions=77))
    ours = {n: t for n, t in method.state_dict().items()}
    weights = {official_name(name): tensor for name, tensor in ours.items()}
    if backbone == "ViT-B-16":
        assert len(weights) == 302 + 1 + 6 * 12
        assert weights["module.transformer.resblocks.5.attn.in_proj_weight"].shape == (1536, 512)
        assert weights["module.frame_position_embeddings.weight"].shape == (77, 512)
    found = import_state_dict("actionclip", weights)
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in ours.items()}

    del weights["module.transformer.resblocks.5.ln_2.bias"]
    weights["visual.time_embedding"] = torch.zeros(1)  # of the variant "joint"
    with pytest.raises(DataError) as error:
        import_state_dict("actionclip", weights)
    assert "1 unknown names ['visual.time_embedding']" in str(error.value)
    assert "1 missing ['module.transformer.resblocks.5.ln_2.bias']" in str(error.value)
