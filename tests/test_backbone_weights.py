"""Files of CLIP weights in the forms that people have: loaded, or named."""

import json
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_backbone_models import LABELS, random_backbone, same, write_config
from torch import Tensor, nn
from torchscript_archive import write_archive
from transformers import CLIPConfig, CLIPModel

from stclip.checkpoints.official import read_official
from stclip.config import BackboneConfig
from stclip.errors import ConfigError, DataError
from stclip.methods.build import build
from stclip.methods.clip.backbone import Backbone, load_backbone

State = dict[str, Tensor]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture
def state(config: Path) -> State:
    return {n: t.clone() for n, t in random_backbone(config).clip.state_dict().items()}


def load(config: Path, file: Path) -> Backbone:
    return load_backbone(BackboneConfig(model=str(config), weights=str(file)))


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def custom_text(state: State) -> State:
    """The names of open_clip's CustomTextCLIP."""
    own = ("visual.", "logit_scale")
    return {n if n.startswith(own) else f"text.{n}": t for n, t in state.items()}


FORMS: dict[str, Callable[[State], Any]] = {
    "model.pt": lambda s: s,
    "epoch_5.pt": lambda s: {
        "epoch": 5, "name": "run", "state_dict": prefixed(s, "module."),
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]}, "scaler": {"scale": 65536.0},
    },
    "open_clip_pytorch_model.bin": lambda s: OrderedDict(s),
    "last.ckpt": lambda s: {
        "pytorch-lightning_version": "2.5", "epoch": 3, "state_dict": prefixed(s, "model.clip."),
    },
    "mp_rank_00_model_states.pt": lambda s: {"module": s},
    "compiled.pt": lambda s: prefixed(s, "_orig_mod."),
    "half.pth": lambda s: {n: t.half().float().half() for n, t in s.items()},
    "scale_of_one.pt": lambda s: s | {"logit_scale": s["logit_scale"].reshape(1)},
    "custom.pt": custom_text,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_are_told_by_content(tmp_path: Path, config: Path, state: State, name: str) -> None:
    if name == "half.pth":
        state = {n: t.half().float() for n, t in state.items()}
    saved = tmp_path / name
    torch.save(FORMS[name](state), saved)
    anything = tmp_path / "weights.of_a_friend"
    anything.write_bytes(saved.read_bytes())
    for file in (saved, anything):
        found = load(config, file).clip.state_dict()
        assert all(torch.equal(found[n], t) for n, t in state.items())


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_safetensors_may_be_called_anything(
    tmp_path: Path, config: Path, state: State, name: str
) -> None:
    save_file(prefixed(state, "module."), tmp_path / name)
    found = load(config, tmp_path / name).clip.state_dict()
    assert all(torch.equal(found[n], t) for n, t in state.items())


def test_the_old_form_of_torch_save(tmp_path: Path, config: Path, state: State) -> None:
    file = tmp_path / "old.pt"
    torch.save(state, file, _use_new_zipfile_serialization=False)
    assert torch.equal(load(config, file).clip.visual.proj, state["visual.proj"])


# ---- OpenAI's archives and other activations


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_openais_weights_are_refused_for_a_model_with_gelu(tmp_path: Path, state: State) -> None:
    file = tmp_path / "ViT-B-16.pt"
    write_archive(state, file, input_resolution=12, context_length=12, vocab_size=12)
    quick = write_config(tmp_path, name="quick", quick_gelu=True)
    assert torch.equal(load(quick, file).clip.visual.proj, state["visual.proj"])
    plain = write_config(tmp_path, name="plain")
    with pytest.raises(
        ConfigError,
        match=r"plain\.json .*ViT-B-16\.pt: the model has GELU, .* need QuickGELU \(OpenAI's arch"
        r".*as ViT-B-16-quickgelu; in a model config it is quick_gelu: true",
    ):
        load(plain, file)
    with pytest.raises(ConfigError, match="need QuickGELU"):
        build("clip_frame", labels=LABELS, backbone=str(plain), pretrained=file)
    # told by the sizes, not by the form
    sizes = {"input_resolution": torch.tensor(12), "vocab_size": torch.tensor(7)}
    torch.save(state | sizes, file)
    with pytest.raises(ConfigError, match="need QuickGELU"):
        load(plain, file)


def hugging_face(folder: Path, act: str) -> tuple[CLIPModel, Path]:
    """A random CLIP of transformers with the sizes of `write_config`, saved as it saves."""
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 16}
    words = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(4)
    model = CLIPModel(
        CLIPConfig(
            vision_config={**sizes, "intermediate_size": 256, "image_size": 32, "hidden_act": act},
            text_config={
                **words, "intermediate_size": 128, "max_position_embeddings": 12,
                "vocab_size": 49408, "hidden_act": act, "eos_token_id": 49407,
            },
            projection_dim=32,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder / "hub")
    return model, folder / "hub" / "model.safetensors"


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_names_of_transformers_compute_what_it_computes(tmp_path: Path, act: str) -> None:
    theirs, file = hugging_face(tmp_path, act)
    own = {"vision__image_size": 32, "quick_gelu": act == "quick_gelu"}
    backbone = load(write_config(tmp_path, **own), file)
    pictures = backbone.normalise(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    outputs = theirs(
        input_ids=backbone.tokenize(LABELS), pixel_values=pictures, attention_mask=None
    )
    with torch.no_grad():
        for found, expected in (
            (backbone.encode_images(pictures), outputs.image_embeds),
            (backbone.encode_text(LABELS), outputs.text_embeds),
        ):
            same(found / found.norm(dim=-1, keepdim=True), expected.detach())
    assert float(backbone.logit_scale) == pytest.approx(theirs.logit_scale.exp().item())
    # what stands beside the file says which activation it needs
    other = write_config(tmp_path, **own | {"quick_gelu": act == "gelu"})
    with pytest.raises(ConfigError, match=rf"need {'Quick' * (act != 'gelu')}GELU \(config\.json"):
        load(other, file)
    # as .bin under DistributedDataParallel, with the positions of older files
    positions = {"text_model.embeddings.position_ids": torch.arange(12)[None]}
    alone = tmp_path / "pytorch_model.bin"
    torch.save(prefixed({**theirs.state_dict(), **positions}, "module."), alone)
    again = load(write_config(tmp_path, **own), alone)
    assert torch.equal(again.clip.visual.proj, backbone.clip.visual.proj)


def test_open_clips_config_beside_the_file_says_the_activation(
    tmp_path: Path, config: Path, state: State
) -> None:
    file = tmp_path / "open_clip_model.safetensors"
    save_file(state, file)
    content = json.loads(config.read_text())
    beside = tmp_path / "open_clip_config.json"
    beside.write_text(json.dumps({"model_cfg": content | {"quick_gelu": True}}))
    with pytest.raises(ConfigError, match=r"need QuickGELU \(open_clip_config\.json\)"):
        load(config, file)
    assert load(beside, file).quick_gelu


# ---- files that are no weights, or those of something else


def no_number(value: float) -> Callable[[State], State]:
    def change(state: State) -> State:
        state["visual.proj"][0, 0] = value
        return state

    return change


DAMAGE: dict[str, tuple[Callable[[State], Any], str]] = {
    "nan": (no_number(float("nan")), r"1 of \d+ tensors hold NaN: \['visual\.proj'\]"),
    "inf": (no_number(float("inf")), r"\['visual\.proj'\] hold infinite numbers"),
    "int8": (lambda s: s | {"visual.proj": s["visual.proj"].char()}, r"hold torch\.int8"),
    "missing": (
        lambda s: {n: t for n, t in s.items() if n != "ln_final.bias"},
        r"not the weights of .*own\.json: of \d+ tensors 1 missing \['ln_final\.bias'\]\.",
    ),
    "unknown": (lambda s: s | {"odd": torch.zeros(1)}, r"tensors 1 unknown \['odd'\]\."),
    "shape": (
        lambda s: s | {"visual.proj": torch.zeros(64, 16)},
        r"1 of another shape \['visual\.proj \(64, 16\), expected \(64, 32\)'\]\.",
    ),
    "siglip": (lambda s: s | {"logit_bias": torch.zeros(1)}, r"It has a logit bias \(SigLIP\)"),
    "timm": (lambda s: prefixed(s, "visual.trunk.") | {"a": torch.ones(1)}, "tower of timm's"),
    "resnet": (
        lambda s: s | {"visual.layer1.0.bn1.num_batches_tracked": torch.tensor(3)},
        "It has a ResNet",
    ),
    "coca": (lambda s: s | {"text_decoder.a": torch.ones(1)}, "captions"),
    "list": (lambda s: list(s.values()), "holds no state dict.*list"),
    "outside": (lambda s: {"optimizer": {"state": {}}, "epoch": 3}, r"it has \['epoch', 'optim"),
    "empty": (lambda s: {}, "missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_and_other_weights_are_named(
    tmp_path: Path, config: Path, state: State, case: str
) -> None:
    change, message = DAMAGE[case]
    file = tmp_path / "w.pt"
    torch.save(change(state), file)
    with pytest.raises(DataError, match=rf"w\.pt: .*{message}"):
        load(config, file)


def test_nan_is_refused_in_official_checkpoints_too(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save({"model": {"a": torch.tensor([0.0, float("nan")]), "b": torch.ones(1)}}, file)
    with pytest.raises(DataError, match=r"model\.pth: 1 of 2 tensors hold NaN: \['a'\]"):
        read_official(file)
    save_file({"a": torch.tensor([float("nan")], dtype=torch.bfloat16)}, tmp_path / "b.safetensors")
    with pytest.raises(DataError, match=r"b\.safetensors: 1 of 1 tensors hold NaN"):
        read_official(tmp_path / "b.safetensors")


def numpys(file: Path) -> None:
    np.savez(file.with_suffix(".npz"), a=np.zeros(3))
    file.with_suffix(".npz").rename(file)


def cut(file: Path) -> None:
    torch.save({"a": torch.zeros(100)}, file)
    file.write_bytes(file.read_bytes()[:300])


def index(file: Path) -> None:
    parts = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    file.write_text(json.dumps({"metadata": {}, "weight_map": parts}))


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "page": (lambda f: f.write_text("<!DOCTYPE html><html>Sign in"), "a web page"),
    "lfs": (lambda f: f.write_text("version https://git-lfs.github.com/spec/v1"), "Git LFS"),
    "nothing": (lambda f: f.touch(), "empty"),
    "folder": (lambda f: (f.mkdir(), (f / "a.bin").touch()), r"a folder; .*\['a\.bin'\]"),
    "config": (lambda f: f.write_text('{"model_type": "clip"}'), "JSON, perhaps the config"),
    "index": (index, "an index of weights in 2 parts"),
    "numpy": (numpys, "numpy"),
    "cut": (cut, "the download broke off"),
    "anything": (lambda f: f.write_bytes(b"RIFF1234WAVE"), "no weights that are known"),
    "module": (lambda f: torch.save(nn.Linear(2, 2), f), r"it has \[.*torch\.nn.*Linear"),
    "settings": (
        lambda f: torch.save({"state_dict": {}, "args": Namespace(lr=1)}, f),
        r"it has \['argparse\.Namespace'\].*torch\.save\(model\.state_dict",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_weights_are_named(tmp_path: Path, config: Path, case: str) -> None:
    make, message = FILES[case]
    file = tmp_path / "w.pt"
    make(file)
    with pytest.raises(DataError, match=rf"(?s)w\.pt: .*{message}"):
        load(config, file)
    with pytest.raises(DataError, match=rf"(?s)w\.pt: .*{message}"):
        read_official(file)


class Trap:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("trapped"),)


def test_nothing_is_unpickled_freely(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Trap()}, "trap.pt")
    with pytest.raises(DataError, match=r"trap\.pt: not a checkpoint of tensors and plain values"):
        load(config, Path("trap.pt"))
    assert not Path("trapped").exists()
    assert zipfile.is_zipfile("trap.pt")


# ---- tags


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        (
            "ViT-B-16", "laion2b_s34b_b88k",
            r"a tag of open_clip's for ViT-B-16, no file. .*laion/CLIP-ViT-B-16-laion2B-s34B-b88K"
            r".*get_pretrained_cfg\(\"ViT-B-16\", \"laion2b_s34b_b88k\"\)"
            r".*\{model: ViT-B-16, weights: PATH OF THE FILE, preprocessing: \{\}\}",
        ),
        ("ViT-L-14", "laion2b_s32b_b82k", r"preprocessing: \{statistics: inception\}\}"),
        ("ViT-B-16", "openai", r"\{model: ViT-B-16-quickgelu, weights"),
        ("ViT-B-16-quickgelu", "ViT-B-16-quickgelu:openai", "a tag of open_clip's for ViT-B-16-q"),
        ("ViT-B-16", "dfn2b_s39b", r"a tag of open_clip's for \['ViT-L-14'\]; model is 'ViT-B-16'"),
        ("ViT-B-16", "no_such_tag", "no such file, and no tag of open_clip's"),
        ("ViT-B-16", "https://example.org/a.pt", "is an address, a path is expected.*`models`"),
        ("ViT-B-16", "hf-hub:laion/some", "is an address"),
    ],
)  # fmt: skip
def test_tags_are_named_with_the_way_to_fetch_them(model: str, weights: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)backbone {model}: weights '{weights}'.*{message}"):
        load_backbone(BackboneConfig(model=model, weights=weights))
    with pytest.raises(ConfigError, match="(?s)" + message):
        build("clip_frame", labels=LABELS, backbone=model, pretrained=weights)
