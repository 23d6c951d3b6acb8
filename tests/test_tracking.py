"""What W&B gets offline is what the files say, named by convention, and shown by the dashboard."""

import socket
from typing import Any

import pandas as pd
import pytest
from conftest import UNSEEN, World
from tracked_runs import (  # noqa: F401  a fixture among them
    SHORT,
    elsewhere,
    head_of,
    only_run,
    run_evaluation,
    run_predictions,
    run_training,
)
from wandb_offline import read_runs

import stclip.methods.contract
import stclip.train.train
from stclip.costs.measured import Cost
from stclip.storage.files import read_json
from stclip.tables.cost_table import numbers_of_cost
from stclip.tracking.dashboard import build_dashboard, specification
from stclip.tracking.wandb_runs import numbers_of, tracked

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_a_training_s_history_is_its_log(world: World) -> None:
    log = run_training(world)
    run = only_run(world)
    assert run.history == log
    assert run.steps == [line["step"] for line in log] == list(range(6))
    assert run.summary == log[-1]
    assert all(line["samples_per_s"] > 0 for line in log)
    assert run.finished
    assert run.exit_code == 0


def test_runs_are_named_and_grouped_by_convention(world: World) -> None:
    run_training(world)
    run, head = only_run(world), head_of(world, world.method("st_clip", **SHORT))
    assert (run.about["project"], run.about["group"], run.about["job"]) == (
        "stclip-small", "st_clip", "train",
    )  # fmt: skip
    assert run.about["name"] == "st_clip jhmdb st-clip/1 seed 0"
    tags = ["small", "jhmdb", "st-clip", "split 1", "st_clip", "seed 0"]
    assert sorted(run.about["tags"]) == sorted(tags)
    assert {k: v for k, v in run.config.items() if k != "_wandb"} == head
    assert len(run.config["split_sha256"]) == 64
    assert socket.gethostname() not in run.about["host"]


def test_an_interrupted_training_goes_on_in_the_same_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_loss, calls = stclip.methods.contract.classification_loss, 0

    def killed(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:  # three steps done, a checkpoint stands at step 2
            raise KeyboardInterrupt
        return true_loss(*args, **kwargs)

    monkeypatch.setattr(stclip.methods.contract, "classification_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run_training(world)
    log = run_training(world)
    first, second = read_runs(world.folder / "wandb")
    assert first.about["id"] == second.about["id"]
    assert not first.finished
    assert first.steps == [0, 1, 2]
    assert second.finished
    assert second.history == log  # whole, the steps before the checkpoint too
    assert first.history[:2] == log[:2]


def test_other_settings_or_work_are_another_run(world: World) -> None:
    run_training(world)
    run_training(world, lr=0.5)
    run_evaluation(world)
    assert len({run.about["id"] for run in read_runs(world.folder / "wandb")}) == 3


def test_an_evaluation_s_summary_is_its_metrics(world: World) -> None:
    content = run_evaluation(world)
    run = only_run(world)
    assert run.about["job"] == "evaluate"
    cell = content["metrics"]["gt"]["base"]["voted"]
    assert run.summary["gt/base/voted/mAP"] == cell["mAP"]
    low, high = (run.summary[f"gt/base/voted/interval/{end}"] for end in ("low", "high"))
    assert [low, high] == cell["interval"]
    numbers = numbers_of(content["metrics"])
    assert len(numbers) > 80
    assert {k: run.summary[k] for k in numbers} == numbers
    unseen = content["metrics"]["detected"]["unseen"]
    for assumption in ("independent", "voted"):  # st_clip stands in both parts of Table 2
        assert run.summary[f"{assumption}/split 1"] == unseen[assumption]["mAP"]
    del content["metrics"]
    assert {k: v for k, v in run.config.items() if k != "_wandb"} == content


def test_an_evaluation_has_a_table_of_classes_and_its_picture(world: World) -> None:
    run_evaluation(world)
    run = only_run(world)
    table = read_json(run.path / "files" / run.summary["classes.path"])
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    written = pd.read_csv(world.folder / "run" / "classes.csv")
    assert len(rows) == len(written)
    assert [row["AP"] for row in rows] == written["AP"].tolist()
    assert {(row["method"], row["split"], row["seed"]) for row in rows} == {("st_clip", "1", "0")}
    assert {row["assumption"] for row in rows} == {"independent", "voted"}
    logged = run.path / "files" / run.summary["errors.path"]
    assert logged.read_bytes() == (world.folder / "run" / "errors.png").read_bytes()


def test_predictions_are_a_picture_of_a_run_of_their_own(world: World) -> None:
    picture = run_predictions(world)
    run = only_run(world)
    assert (run.about["job"], run.about["group"]) == ("predictions", "st_clip")
    logged = run.path / "files" / run.summary["predictions.path"]
    assert logged.read_bytes() == picture.read_bytes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb-workspaces
def test_the_dashboard_s_panels_show_what_runs_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stclip.train.train, "peak_memory", lambda: {"peak_memory_gib": 1.5})
    run_training(world)
    content = run_evaluation(world)
    run_predictions(world)
    cost = Cost(
        method="st_clip", title="ST-CLIP", order=1, video_macs=10, text_macs=5, trained=3,
        iterations=6, step_s=0.1, score_s=0.2, frames_per_s=30.0,
    )  # fmt: skip
    with tracked("costs", head_of(world, world.method("st_clip", **SHORT)), run="x") as tracker:
        numbers = numbers_of_cost(cost, [content], boxes="detected", splits=["1"])
        tracker.results(numbers_of({"costs": numbers}))
    runs = read_runs(world.folder / "wandb")
    logged = {key for run in runs for key in run.summary}
    logged |= {key.removesuffix(".path") for key in logged}
    found = specification(
        build_dashboard(
            "team",
            scale="small",
            dataset="jhmdb",
            title="small",
            splits=["1"],
            unseen=UNSEEN,
        )
    )
    assert found["project"] == runs[0].about["project"]
    section = found["spec"]["section"]
    shown = {
        part["name"]: {key for panel in part["panels"] for key in keys_of(panel)}
        for part in section["panelBankConfig"]["sections"]
    }
    assert list(shown) == [
        "Methods against splits", "Unseen against base", "AP by class", "Training", "Costs",
        "Pictures",
    ]  # fmt: skip
    assert all(shown.values())
    for keys in shown.values():
        assert keys <= logged
    assert {"loss", "lr", "samples_per_s", "peak_memory_gib"} <= shown["Training"]
    assert {"detected/unseen/voted/AP/jump", "classes"} <= shown["AP by class"]
    (runset,) = section["runSets"]
    assert [part["name"] for part in runset["grouping"]] == ["group"]
    assert "jhmdb" in str(runset["filters"])
    columns = {name.removeprefix("summary:") for name in runset["runFeed"]["columnPinned"]}
    assert columns - {"run:displayName"} <= logged


def keys_of(panel: dict[str, Any]) -> set[str]:
    """What a panel shows of runs."""
    config = panel["config"]
    keys = set(config.get("metrics", [])) | set(config.get("mediaKeys", []))
    keys |= {config[axis].removeprefix("summary:") for axis in ("xAxis", "yAxis") if axis in config}
    if "panel2Config" in config:  # of a joined table: runs.summary[name]
        pick = config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"]
        keys.add(pick)
    return keys - {"_step"}
