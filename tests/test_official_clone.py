"""The benchmark against the official code: rounds, table, and what it says of other folders.

The official code is not here; a small clone with its names, made in the test, stands for it.
"""

import importlib
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from stclip.inputs.batch import PersonSample
from stclip.methods.st_clip.st_clip import STCLIP

ENCODER = """
import torch
from clip import clip
from PIL import Image
from STCLIP.modeling import registry

@registry.register("CLIPencoder")
class CLIPencoder(torch.nn.Module):
    def __init__(self, cfg, actionlist, actiondict, actiontoken, device):
        super().__init__()
        self.labels = actionlist
        loaded, _ = clip.load("ViT-B/16", device=device, jit=False)
        self.scale = torch.nn.Parameter(loaded["scale"])
        self.ln_person = torch.nn.LayerNorm(2)

    def forward(self, image_paths, proposals):
        rows = sum(len(p) for p in proposals)
        assert all(Image.open(path).size == (4, 3) for path in image_paths)
        axes = torch.eye(2).cuda()[[n % 2 for n in range(len(self.labels))]]
        return axes.expand(rows, -1, -1) * self.scale, torch.cat([p.bbox[:, :2] for p in proposals])
"""
FILES = {
    "STCLIP/modeling/roi_heads/action_head/text_feature_gen.py": ENCODER,
    "STCLIP/modeling/registry.py": "def register(name):\n    return lambda made: made\n",
    "clip/clip.py": """
import torch
def load(name, device, jit):
    return torch.load(name), None
""",
    "clip/model.py": "",
}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield importlib.import_module("official_clone")
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("STCLIP", "clip"):
            del sys.modules[name]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    for name, content in FILES.items():
        path = folder / "ZS_JHMDB/ST-CLIP" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    torch.save({"scale": torch.tensor([7.0])}, tmp_path / "clip.pt")
    return folder


def built(bench: ModuleType, clone: Path):  # type: ignore[no-untyped-def]
    device = torch.device("cpu")
    return bench.Official(clone, ("a", "b"), clone.parent / "clip.pt", device=device)


def test_a_clone_is_built_without_download_and_called_without_gpu(
    bench: ModuleType, clone: Path
) -> None:
    official = built(bench, clone)
    assert official.commit == "unknown"
    key = "roi_heads.action.text_feature_generator.scale"
    assert official.checkpoint()["model"][key].item() == 7
    boxes = [torch.tensor([[3.0, 4, 9, 9], [0, 2, 9, 9]]), torch.tensor([[5.0, 0, 9, 9]])]
    pictures = {f"/no/{n}.png": Image.new("RGB", (4, 3)) for n in (1, 2)}
    with official.decoded_beforehand(pictures):
        logits = official.logits([Path(path) for path in pictures], boxes)
    # Cosines of (3, 4), (0, 2), (5, 0) with both axes, over 0.07.
    expected = torch.tensor([[0.6, 0.8], [0, 1], [1, 0]]) / 0.07
    assert torch.allclose(logits, expected)
    assert torch.zeros(1).cuda.__name__ == "cuda"  # as it was


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("STCLIP/modeling/registry.py", None, None, r"registry\.py.* missing.*git clone"),
        ("clip/clip.py", "import torch", "import no_such_library", "no_such_library.*pip install"),
        ("STCLIP/modeling/roi_heads/action_head/text_feature_gen.py", "class CLIPencoder",
         "class Other", "no class CLIPencoder"),
        ("STCLIP/modeling/roi_heads/action_head/text_feature_gen.py", "image_paths, proposals):",
         "pictures, image_paths, proposals):", r"takes \['pictures'.*expected \['image_paths'"),
    ],
)  # fmt: skip
def test_what_is_no_such_clone_is_told(
    bench: ModuleType, clone: Path, file: str, old: str | None, new: str, message: str
) -> None:
    path = clone / "ZS_JHMDB/ST-CLIP" / file
    if old is None:
        path.unlink()
    else:
        path.write_text(path.read_text().replace(old, new))
    with pytest.raises(bench.CloneError, match=message):
        built(bench, clone)


def test_another_result_of_the_forward_is_told(bench: ModuleType, clone: Path) -> None:
    official = built(bench, clone)
    official.model.forward = lambda image_paths, proposals: torch.zeros(3)
    with pytest.raises(bench.CloneError, match=r"gives \[\(3,\)\]; expected"):
        official.logits([Path("1.png")], [torch.zeros(1, 4)])


def test_the_program_ends_with_the_reason(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    program = importlib.import_module("official_st_clip")
    backbone = "package:mini/tiny_clip/tiny-clip.json"
    monkeypatch.setattr(sys, "argv", ["official", str(tmp_path), "--backbone", backbone])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 2
    assert "no clone of ST-CLIP" in capsys.readouterr().err


def test_ways_take_turns_and_medians_count(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = importlib.import_module("timing")
    wall = iter([9, 9, 1, 10, 5, 30, 3, 20])  # the first round warms up
    calls: list[str] = []

    def fake(call):  # type: ignore[no-untyped-def]
        seconds = next(wall)
        return timing.Taken(float(seconds), 2.0 * seconds), call()

    monkeypatch.setattr(timing, "timed", fake)
    ways = {name: lambda name=name: calls.append(name) or name for name in "ab"}
    raced = timing.race(ways, rounds=3, warm_up=1)
    assert calls == list("abababab")
    assert raced["a"] == timing.Raced(timing.Taken(3, 6), "a")
    assert raced["b"] == timing.Raced(timing.Taken(20, 40), "b")


def test_the_table_compares_with_the_official_way(bench: ModuleType) -> None:
    program, timing = (importlib.import_module(n) for n in ("official_st_clip", "timing"))

    def taken(seconds: float, logit: float):  # type: ignore[no-untyped-def]
        return timing.Raced(timing.Taken(seconds, seconds / 2), torch.tensor([[logit]]))

    ways = {"official": taken(9, 1), "fp32": taken(6, 1.0001), "bf16": taken(3, 1.25)}
    _, full, half = program.as_rows(ways, frames=16, persons=3)
    assert (full["speed-up"], full["seconds"], full["cpu s"]) == ("1.50", "6", "3")
    assert (half["speed-up"], half["largest difference"]) == ("3.00", "2.5e-01")
    with pytest.raises(SystemExit, match="another model"):
        program.as_rows(ways | {"imitation": taken(9, 1.25)}, frames=16, persons=3)


def official_state_of(method: STCLIP) -> dict[str, torch.Tensor]:
    """A method's tensors under the names of its official checkpoints."""
    assert method.official is not None
    templates = {ours: theirs for theirs, ours in method.official.names.items()}
    found = {}
    for name, tensor in method.state_dict().items():
        template = name if name in templates else re.sub(r"\.\d+\.", ".#.", name, count=1)
        if template in templates:
            (number, *_) = [*re.findall(r"\.(\d+)\.", name), ""]
            found[method.official.prefix + templates[template].replace("#", number)] = tensor
    return found


def test_all_ways_run_on_the_same_weights(bench: ModuleType, tmp_path: Path) -> None:
    """The tiny CLIP; the plain structure stands for the official code."""
    program = importlib.import_module("official_st_clip")
    backbone = "package:mini/tiny_clip/tiny-clip.json"
    method = program.make_method(backbone).eval()
    clip = program.clip_tensors(method)
    assert clip["visual.transformer.resblocks.0.mlp.c_fc.weight"].ndim == 2
    assert not [name for name in clip if "lora" in name or "base_layer" in name]
    data = program.draw(tmp_path, 1)
    plain = program.Released(method, program.LABELS, data.pngs)

    def logits(paths: list[Path], boxes: list[torch.Tensor]) -> torch.Tensor:
        return plain([
            PersonSample(
                path.parent.name, program.CLIP_FRAMES, of_frame.numpy(), np.arange(len(of_frame)),
                key_frame=int(path.stem) - 1,
            )
            for path, of_frame in zip(paths, boxes, strict=True)
        ])  # fmt: skip

    official = SimpleNamespace(
        checkpoint=lambda: {"model": official_state_of(method)}, logits=logits,
        decoded_beforehand=lambda pictures: nullcontext(),
    )  # fmt: skip
    methods = program.with_official_weights(official, backbone, tmp_path)
    options = Namespace(frames=3, precision=["fp32"], rounds=1)
    rows = program.compare(official, methods, data, options, persons=2)
    assert [row["way"] for row in rows] == ["official", "imitation", "fp32"]
    assert all(float(row["largest difference"]) < 1e-4 for row in rows)
