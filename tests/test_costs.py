"""Table 10: counts by hand, times of what really ran, cells from runs."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import METHODS, ROOT, World

from stclip.config.table import CostsTable, load_table
from stclip.costs.measure import Cost, count, measure
from stclip.errors import DataError
from stclip.methods.build import load_method
from stclip.tables.cost_table import build_costs

COST = Cost(
    method="b", title="B", order=20, video_macs=2_431_510_000_000, text_macs=17_880_000_000,
    trained=55_109_376, iterations=3000, step_s=0.2, score_s=0.5, frames_per_s=80.0,
)  # fmt: skip
FREE = replace(COST, method="a", title="A", order=10, trained=0, iterations=0, step_s=None)


def run(method: str, split: str, seed: int, maps: tuple[float, float]) -> dict[str, object]:
    cells = {"independent": {"mAP": maps[0]}, "voted": {"mAP": maps[1]}}
    metrics = {"detected": {"unseen": cells}}
    about = {"scale": "mini", "benchmark": "drawn/own@1"}
    return about | {"method": method, "split": split, "seed": seed, "metrics": metrics}


def costs_table(**changes: Any) -> CostsTable:
    settings = {"kind": "costs", "title": "t", "note": "n", "dataset": "toy", "rows": "all"}
    return CostsTable.model_validate(settings | {"splits": ["1", "2"]} | changes)


def test_cells_are_what_was_measured_and_what_runs_reached() -> None:
    runs = [
        run("b", "1", 0, (0.5, 0.6)),
        run("b", "1", 1, (0.7, 0.8)),
        run("b", "2", 0, (0.2, 0.3)),
    ]
    paper = {"b": {"multiply_adds_g": 2431.51, "training_s": 807}}
    table = costs_table(published=paper)
    frame = build_costs([COST, FREE], runs, config=table, where="here", published=True)
    assert frame["method"].tolist() == ["A", "B"]  # by order
    free, cost = frame.to_dict("records")
    assert cost["trained M"] == "55.11"
    assert cost["G multiply-adds"] == "2431.51"
    assert cost["G of texts"] == "17.88"
    assert cost["training s"] == "600"  # 3000 steps of 0.2 s
    assert (cost["ms a step"], cost["s a video"], cost["frames/s"]) == ("200", "0.500", "80")
    assert cost["mAP independent"] == "40.00"  # split 1: mean of 0.5 and 0.7; split 2: 0.2
    assert cost["mAP voted"] == "50.00"
    assert cost["published G multiply-adds"] == "2431.51"
    assert (cost["published training s"], cost["published trained M"]) == ("807", "-")
    assert (free["training s"], free["mAP voted"]) == ("-", "-")  # no run of it
    assert (cost["scale"], cost["benchmark"], cost["on"]) == ("mini", "drawn/own@1", "here")
    ours = build_costs([COST], runs, config=table, where="here", published=False)
    assert not any("published" in column for column in ours)


def test_costs_without_a_run_are_refused() -> None:
    with pytest.raises(DataError, match="no runs for the table"):
        build_costs([COST], [], config=costs_table(), where="here", published=False)


def test_published_file_is_understood() -> None:
    table = load_table(ROOT / "config", "table10", scale="paper")
    assert isinstance(table, CostsTable)
    build_costs([], [], config=table, where="here", published=True)


def test_multiply_adds_are_those_of_every_frame_and_text(world: World) -> None:
    """The small CLIP: 4 patches of 16 x 16 x 3, width 64, two blocks; text width 32, 16 tokens."""
    torch.manual_seed(0)
    config = world.method("clip_frame", iterations=0)
    method = load_method(config).eval()
    video, text = count(method, ["run", "walk"], config)
    width, tokens = 64, 5
    block = tokens * 12 * width**2 + 2 * tokens**2 * width
    # Last block: keys and values of all tokens, everything else of the class token alone.
    last = tokens * 2 * width**2 + 10 * width**2 + 2 * tokens * width
    frame = 4 * (16 * 16 * 3) * width + block + last + width * 64
    assert video == 40 * frame + 40 * 2 * 64  # and each frame's similarity to two texts
    text_block = 16 * 12 * 32**2 + 2 * 16**2 * 32
    assert text == 2 * (text_block + 32 * 64)


@pytest.mark.parametrize("name", [name for name in METHODS if "+" not in name])
def test_every_method_can_be_counted(world: World, name: str) -> None:
    config = world.method(name, iterations=0)
    method = load_method(config).eval().requires_grad_(False)
    video, text = count(method, ["run", "walk"], config)
    assert video > text > 0 or name == "actionclip"  # whose many templates outweigh a small CLIP


def test_every_part_is_measured_on_real_clips(world: World) -> None:
    config = world.method("st_clip", iterations=100, batch_frames=2)
    cost = measure(config, world.data, split=world.split, steps=3, videos=2)
    trained = load_method(config).trained_state()
    assert cost.trained == sum(t.numel() for t in trained.values())
    assert cost.iterations == 100
    assert cost.step_s is not None
    assert cost.step_s > 0
    # Two videos of 11 to 13 frames.
    assert 22 <= cost.frames_per_s * cost.score_s * 2 <= 26
    assert cost.video_macs > 10 * cost.text_macs > 0
    config = world.method("clip_frame", iterations=0)
    untrained = measure(config, world.data, split=world.split, steps=3, videos=1)
    assert (untrained.step_s, untrained.trained) == (None, 0)
