"""What `precision: auto` becomes on a device, how it is measured, and where it is recorded."""

import json
import logging
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from conftest import ROOT, World

from stclip.config import BoxSource, load_detector, load_method, load_scale
from stclip.config.hashes import training_settings
from stclip.detect.backends.half import set_precision
from stclip.records import Scores
from stclip.runtime import precision, speed_trial
from stclip.runtime.precision import planned_precision, scoring_precision, training_precision
from stclip.runtime.provenance import computed_of
from stclip.score.score import score
from stclip.train.train import train

CPU, GPU = torch.device("cpu"), torch.device("cuda")
GROUND_TRUTH = {"gt": BoxSource(source="ground_truth")}


@pytest.fixture
def gain(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a trial says; empty: there must be none."""
    said: list[float] = []
    monkeypatch.setattr(precision, "bf16_gain", lambda work, threads: said[0])
    return said


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and nothing measured in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    speed_trial.bf16_gain.cache_clear()
    return tmp_path / "stclip"


def test_a_cpu_trains_in_fp32_and_scores_in_bf16_where_it_pays(gain: list[float]) -> None:
    assert training_precision("auto", CPU) == "fp32"  # nothing is measured for it
    for measured, expected in ((0.1, "fp32"), (1.29, "fp32"), (1.3, "bf16"), (3.0, "bf16")):
        gain[:] = [measured]
        assert scoring_precision("auto", device=CPU) == expected
    gain.clear()
    assert [scoring_precision(asked, device=CPU) for asked in ("fp32", "bf16")] == ["fp32", "bf16"]


@pytest.mark.parametrize("supported", [True, False])
def test_a_gpu_computes_in_bf16_where_its_hardware_has_it(
    gain: list[float], monkeypatch: pytest.MonkeyPatch, *, supported: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported",
        lambda *, including_emulation: supported or including_emulation,
    )  # fmt: skip
    expected = "bf16" if supported else "fp32"
    assert training_precision("auto", GPU) == scoring_precision("auto", device=GPU) == expected
    assert training_precision("bf16", GPU) == "bf16"
    assert planned_precision("auto") == "bf16"


def test_bf16_on_a_cpu_is_warned_of_in_training_and_obeyed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert training_precision("bf16", CPU) == "bf16"
    assert "slower" in caplog.text
    caplog.clear()
    assert training_precision("fp32", CPU) == "fp32"
    assert not caplog.text


def test_a_machine_is_measured_once_and_anew_if_the_file_is_damaged(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    results = iter([1.4, 1.2, 0.5, 0.6])
    monkeypatch.setattr(speed_trial, "measure_gain", lambda work: next(results))

    def asked(work: str = "transformer", threads: int = 1) -> float:
        speed_trial.bf16_gain.cache_clear()  # as another process
        return speed_trial.bf16_gain(work, threads)

    assert [asked(), asked(), asked("convolution"), asked()] == [1.4, 1.4, 1.2, 1.4]
    assert asked(threads=2) == 0.5  # is another machine
    (path,) = (p for p in cache.iterdir() if json.loads(p.read_text())["machine"]["threads"] == 1)
    path.write_bytes(path.read_bytes().replace(b"1.4", b"9.4"))
    assert [asked(), asked()] == [0.6, 0.6]
    assert "damaged" in caplog.text


def test_processes_that_measure_at_once_answer_alike(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = iter([1.29, 1.31])

    def slow(work: str) -> float:
        time.sleep(0.05)
        return next(results)

    monkeypatch.setattr(speed_trial, "measure_gain", slow)
    uncached, found = speed_trial.bf16_gain.__wrapped__, []
    both = [threading.Thread(target=lambda: found.append(uncached("transformer", 1))) for _ in "ab"]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert found == [1.29, 1.29]


def test_without_a_place_to_write_it_is_measured_all_the_same(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file where the folder should be")
    monkeypatch.setattr(speed_trial, "measure_gain", lambda work: 1.7)
    assert speed_trial.bf16_gain("transformer", 1) == 1.7


@pytest.mark.parametrize("work", ["transformer", "convolution"])
def test_the_trial_is_short_and_leaves_random_numbers_alone(work: speed_trial.Work) -> None:
    before, began = torch.get_rng_state(), time.process_time()
    assert speed_trial.measure_gain(work) >= 0
    assert torch.equal(torch.get_rng_state(), before)
    assert time.process_time() - began < 4


def test_what_is_used_stands_in_weights_scores_and_metrics(
    world: World, gain: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    config = world.method("st_clip", iterations=1, batch_frames=2, precision="auto")
    assert training_settings(config)["train"]["precision"] == "auto"
    run = world.folder / "run"
    with caplog.at_level(logging.INFO):
        train(config, world.data, split=world.split, seed=0, out=run)
    assert "cpu in fp32" in caplog.text
    settings = config.score.model_copy(update={"precision": "auto"})
    config = config.model_copy(update={"score": settings})
    gain[:] = [2.0]
    score(
        config, world.with_key_frames(every=9), weights=run / "weights.safetensors",
        split=world.split, seed=0, sources=GROUND_TRUTH, out=run,
    )  # fmt: skip
    expected = {
        "train": {"precision": "fp32", "device": "cpu"},
        "score": {"precision": "bf16", "device": "cpu"},
    }
    assert computed_of([run / "scores_gt_unseen.parquet"]) == {"computed": expected}
    old = run / "old.parquet"
    Scores.read(run / "scores_gt_unseen.parquet").write(old)
    assert computed_of([old]) == {}


def test_a_detector_without_the_heavy_parts_computes_in_fp32(gain: list[float]) -> None:
    gain[:] = [2.0]
    settings = load_detector(ROOT / "config", "fasterrcnn_v2", scale="paper")
    assert set_precision(torch.nn.Linear(2, 2), settings, CPU)["precision"] == "fp32"


def test_scale_paper_leaves_it_to_the_device_and_mini_does_not() -> None:
    for scale, expected in (("paper", "auto"), ("mini", "fp32")):
        config = load_method(ROOT / "config", "st_clip", dataset="jhmdb", scale=scale)
        assert {config.train.precision, config.score.precision} == {expected}
        models = [
            d for d in load_scale(ROOT / "config", scale).detectors.values()
            if not d.target.endswith(":FileDetector")
        ]  # fmt: skip
        assert {detector.precision for detector in models} == {expected}
