"""The benchmarks still fit the package: they import, and say what they take."""

import importlib
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT

PROGRAMS = [
    path
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if 'if __name__ == "__main__"' in path.read_text()
]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_benchmark_can_be_started(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_what_a_benchmark_needs_beside_the_project_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ROOT / "benchmarks" / "bytetrack.py"
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.setattr(sys, "argv", [str(path), "--boxes", "a", "--detections", "b"])
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(SystemExit):
        runpy.run_path(str(path), run_name="__main__")
    assert "pip install trackers" in capsys.readouterr().err


def test_a_run_s_metrics_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its data are drawn, so that it can run here, small."""
    path = ROOT / "benchmarks" / "evaluate_run.py"
    monkeypatch.syspath_prepend(str(path.parent))
    options = ["--clips", "4", "--frames", "20", "--boxes", "2", "--labels", "2"]
    monkeypatch.setattr(sys, "argv", [str(path), *options])
    runpy.run_path(str(path), run_name="__main__")
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["labels"] == 2
    assert run["mAP"] > 0
    assert set(run["video_mAP"]) == {"0.2", "0.5", "0.75", "0.5:0.95"}


def test_the_loader_is_measured_on_samples_that_share_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    loader = importlib.import_module("loader")
    monkeypatch.setattr(loader, "METHODS", {"ST-CLIP": loader.METHODS["ST-CLIP"]})
    clips = [loader.drawn(12)]
    names = loader.store_clips(tmp_path, clips, "jpeg")
    samples = loader.draw_samples(names, 8, 12)
    batch = loader.read_batch(tmp_path, *loader.METHODS["ST-CLIP"], samples)
    assert batch.pictures.images.shape == (72, 3, 224, 224)  # 8 windows of 9 frames
    assert batch.crops.images.shape == (16, 3, 224, 224)  # two persons each
    (row,) = loader.measure("jpeg", clips, batches=1, rounds=1)
    assert (row["frames"], row["crops"]) == (9, 2)
    # as few processes as read 200 key frames a second, up to the rounding of the table
    assert row["processes"] * row["per_core_second"] > 199
    assert (row["processes"] - 1) * row["per_core_second"] < 201


def test_interest_tokens_agree_with_their_plain_structure_and_windows_share_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The AVA case of `st_clip.py`, on the tiny CLIP: each frame is embedded once a batch."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench, released = (
        importlib.import_module("st_clip"),
        importlib.import_module("released_st_clip"),
    )
    monkeypatch.setattr(bench, "CLIP_FRAMES", 16)
    data, labels = bench.draw(tmp_path, 1), bench.numbered(9)
    samples = data.samples(12, persons=3, scattered=False)
    method = bench.make_method("package:mini/tiny_clip/tiny-clip.json", interest_tokens=20).eval()
    plain = released.Released(method, labels, data.pngs)
    ours = bench.Batched(method, data, precision="fp32", workers=0)
    embedded = []
    patches = method.backbone.patches
    monkeypatch.setattr(
        method.backbone, "patches", lambda some: embedded.append(len(some)) or patches(some)
    )
    with torch.inference_mode():
        text = method.encode_labels(labels)
        logits = torch.cat(ours(samples, text, size=6))
        assert embedded == [10, 18, 14, 18]  # frames 0-9 and 2-15, and their persons
        embedded.clear()
        assert torch.allclose(torch.cat(ours(samples, text, size=12)), logits, atol=1e-4)
        assert embedded == [16, 36]  # what two batches share is embedded in both
        embedded.clear()
        assert torch.allclose(plain(samples), logits, atol=1e-4)
        assert embedded == [9, 3, 3] * 12  # window, persons, and the whole frame for each of them
        method.config = method.config.model_copy(update={"interest_tokens": 0})
        # on random weights the choice of tokens moves little, but more than what agrees may
        assert not torch.allclose(torch.cat(ours(samples, text, size=12)), logits, atol=1e-4)


def test_what_a_step_keeps_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    kept = importlib.import_module("training_memory").kept
    layer = torch.nn.Linear(4, 3)
    _, saved = kept(lambda: layer(torch.zeros(5, 4)).relu(), layer)
    assert saved == 5 * 4 * 2 + 5 * 3 * 2  # in bf16: what comes in, and the ReLU's result
    pictures = torch.zeros(5, 4, dtype=torch.bfloat16)
    _, twice = kept(lambda: layer(pictures) + layer(pictures), layer)
    assert twice == 5 * 4 * 2  # its storage; sums keep nothing
