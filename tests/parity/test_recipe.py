"""The code blocks of docs/parity.md run as printed, and give the models that were saved."""

import logging
import re
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from conftest import ROOT
from official_files import FILES, LABELS, name_small_clip, official, source, write
from small_clip import gap
from torch import Tensor
from torchscript_archive import write_archive

from stclip.methods.build import OPENAI, Built

TEXT = (ROOT / "docs" / "parity.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
RECIPES = {
    method: block
    for block in BLOCKS
    for method, file in FILES.items()
    if re.search(rf'load_official\(\s*"{method}", "{re.escape(file)}"', block)
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with its config, and the default backbone a small CLIP."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)
    name_small_clip(monkeypatch)
    return tmp_path


def test_every_block_is_run() -> None:
    assert RECIPES.keys() == FILES.keys()
    assert len(BLOCKS) == len(FILES) + 1


@pytest.mark.parametrize("method", FILES)
def test_a_recipe_runs_as_printed(
    project: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    saved = source(method)
    write(method, saved, project)
    calls: list[tuple[Any, Any]] = []
    forward = Built.forward

    def recorded(self: Built, *args: Any, **kwargs: Any) -> Tensor:
        calls.append((args, kwargs))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(Built, "forward", recorded)
    names: dict[str, Any] = {}
    exec(compile(RECIPES[method], f"docs/parity.md, {method}", "exec"), names)
    [(args, kwargs)] = calls
    assert not names["model"].training
    assert names["model"].labels == LABELS
    with torch.inference_mode():
        assert gap(names["logits"], forward(saved, *args, **kwargs)) < 1e-5
    told = {name: tuple(map(int, shape.split(","))) for name, shape in shapes(RECIPES[method])}
    assert "logits" in told
    assert {name: tuple(names[name].shape) for name in told} == told


def shapes(block: str) -> list[tuple[str, str]]:
    """Names and shapes that comments tell, as `logits = ...  # (2, 3): clips, labels`."""
    found, name = [], ""
    for line in block.splitlines():
        assigned = re.match(r"\s*(\w+) = ", line)
        name = assigned[1] if assigned else name
        shape = re.search(r"# \((\d[\d, ]*)\): ", line)
        if shape:
            found.append((name, shape[1]))
    return found


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_parts_without_clip_run_as_printed(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clip = open_clip.create_model(OPENAI)
    (project / "data/paper/models").mkdir(parents=True)
    write_archive(clip.state_dict(), project / "data/paper/models/ViT-B-16.pt")
    heads = {"iclip": "iclip_head.pth", "actionclip": "fusion_head.pt"}
    saved = {method: source(method) for method in heads}
    for method, file in heads.items():
        weights = official(saved[method])
        head = {n: t for n, t in weights.items() if n.startswith(("module.", "roi_heads"))}
        head = {n: t for n, t in head.items() if "clipmodel" not in n}
        torch.save(head, project / file)
    [block] = [block for block in BLOCKS if block not in RECIPES.values()]
    names: dict[str, Any] = {}
    exec(compile(block, "docs/parity.md, parts", "exec"), names)
    for method, model in (("iclip", names["iclip"]), ("actionclip", names["head"])):
        state, theirs = model.state_dict(), saved[method].state_dict()
        for name, tensor in state.items():
            ours = name.removeprefix("backbone.clip.")
            assert torch.equal(tensor, theirs[name] if ours == name else clip.state_dict()[ours])
        assert f"{heads[method]}: holds no CLIP; the" in caplog.text
    assert "stay those of ViT-B-16-quickgelu (data/paper/models/ViT-B-16.pt)" in caplog.text
