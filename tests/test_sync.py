"""`stclip sync` and `stclip dashboard`: against a stand-in, a server here, and no server at all."""

import json
import logging
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT
from tracked_runs import KEY, elsewhere, environment, go_online  # noqa: F401  a fixture
from wandb_server import Server, serve

from stclip.errors import TrackingError
from stclip.tracking import sync as sync_module
from stclip.tracking import wandb_runs as tracking
from stclip.tracking.sync import plan_sync, sync
from stclip.tracking.wandb_runs import tracked

pytestmark = pytest.mark.usefixtures("elsewhere")
HEAD = {
    "scale": "small", "dataset": "jhmdb", "family": "st-clip", "split": "1", "method": "m",
    "seed": 0,
}  # fmt: skip
LOG = [{"step": step, "loss": 1 / (step + 1)} for step in range(5)]


def log_run(name: str, log: Sequence[dict] = LOG) -> None:
    with tracked("train", HEAD, run=name) as tracker:
        tracker.rows([])
        tracker.rows(log)


def cut_off(name: str, log: Sequence[dict] = LOG) -> None:
    def work() -> None:
        with tracked("train", HEAD, run=name) as tracker:
            tracker.rows(log)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()


def stclip(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = ["stclip", *arguments]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True)


class StandIn:
    """Takes runs as `wandb sync` does: leaves its mark beside those that arrive."""

    def __init__(self, arrives: Callable[[Path], bool] = lambda path: True) -> None:
        self.asked: list[list[Path]] = []
        self.arrives = arrives

    def __call__(self, paths: Sequence[Path], entity: str | None) -> None:
        self.asked.append(list(paths))
        for path in filter(self.arrives, paths):
            path.with_suffix(".wandb.synced").touch()


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_module, "why_not_online", lambda: None)


def test_only_the_last_finished_run_of_an_id_is_uploaded_and_once(
    reachable: None, caplog: pytest.LogCaptureFixture
) -> None:
    cut_off("a", LOG[:2])  # killed
    log_run("a")  # resumed
    time.sleep(1)  # the names of folders tell seconds
    log_run("a")  # done again, with --forcerun for example
    cut_off("a", LOG[:2])  # and again, at work or killed
    log_run("b")
    plan = plan_sync(Path("wandb"))
    assert [len(kind) for kind in (plan.upload, plan.superseded, plan.unfinished)] == [2, 1, 2]
    assert plan.superseded[0].parent.name < plan.upload[0].parent.name
    stand_in = StandIn()
    with caplog.at_level(logging.INFO):
        sync(Path("wandb"), upload=stand_in)
        sync(Path("wandb"), upload=stand_in)
    assert stand_in.asked == [plan.upload]
    said = [r.getMessage() for r in caplog.records if r.name == "stclip.tracking.sync"]
    assert "2 runs to upload, 0 uploaded before, 1 superseded" in said[0]
    assert plan.unfinished[0].parent.name in said[0]
    assert "0 runs to upload, 2 uploaded before, 1 superseded" in said[-1]


def test_a_run_that_was_done_again_after_its_upload_is_uploaded_again(reachable: None) -> None:
    stand_in = StandIn()
    log_run("a")
    sync(Path("wandb"), upload=stand_in)
    time.sleep(1)
    log_run("a")
    sync(Path("wandb"), upload=stand_in)
    assert [len(paths) for paths in stand_in.asked] == [1, 1]
    assert stand_in.asked[0] != stand_in.asked[1]


def test_what_did_not_arrive_is_told_and_tried_again(reachable: None) -> None:
    for name in ("a", "b"):
        log_run(name)
    first, second = plan_sync(Path("wandb")).upload
    with pytest.raises(TrackingError, match=rf"1 of 2 runs did not arrive.*{second.parent.name}"):
        sync(Path("wandb"), upload=StandIn(lambda path: path == first))
    stand_in = StandIn()
    sync(Path("wandb"), upload=stand_in)
    assert stand_in.asked == [[second]]


def test_nothing_to_upload_needs_no_network() -> None:
    done = stclip("sync")
    assert done.returncode == 0
    assert "0 runs to upload" in done.stderr


@pytest.mark.parametrize(
    ("key", "listens", "reason"),
    [("", False, "no API key"), (KEY, False, "refused"), (KEY, True, "timed out")],
    ids=["no key", "no server", "silent server"],
)
def test_without_key_or_network_it_ends_soon_and_says_why(
    monkeypatch: pytest.MonkeyPatch, key: str, listens: bool, reason: str
) -> None:
    log_run("a")
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listens:
            listener.listen()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        done = stclip("sync")
        assert time.monotonic() - began < tracking.REACH_S + 15
    assert done.returncode == 1
    assert "nothing was uploaded" in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert len(plan_sync(Path("wandb")).upload) == 1


def test_the_server_gets_each_run_once_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off("a", LOG[:2])
    log_run("a")
    picture = Path("picture.png")
    cv2.imwrite(str(picture), np.zeros((8, 8, 3), np.uint8))
    with tracked("evaluate", HEAD, run="a") as tracker:
        tracker.results({"gt/mAP": 0.5}, lambda: media_of(picture))
    with serve() as server:
        go_online(monkeypatch, server.url)
        monkeypatch.setenv("WANDB_MODE", "offline")
        done = stclip("sync", "--entity", "team")
        assert done.returncode == 0, done.stderr
        assert "uploaded 2 runs" in done.stderr
        (trained,) = [run for run, lines in server.history.items() if len(lines) == len(LOG)]
        assert server.rows(trained) == LOG
        assert picture.read_bytes() in server.uploads.values()
        (evaluated,) = set(server.history) - {trained}
        assert summary_of(server, evaluated)["gt/mAP"] == 0.5
        buckets = [json.loads(body) for name, body in server.requests if name == "UpsertBucket"]
        assert {(b["project"], b["entity"]) for b in buckets} == {("stclip-small", "team")}
        assert {b["jobType"] for b in buckets} - {None} == {"train", "evaluate"}
        assert not any(socket.gethostname() in body for _, body in server.requests)
        asked = len(server.requests)
        assert stclip("sync").returncode == 0
        assert len(server.requests) == asked
        time.sleep(1)
        log_run("a", LOG[:4])  # done again, with fewer steps to tell them apart
        assert stclip("sync").returncode == 0
        assert server.rows(trained) == LOG[:4] + LOG[4:]  # written over, not appended
        assert len(server.history) == 2


@pytest.mark.parametrize("what", ["history", "files"])
def test_what_the_server_does_not_take_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """wandb itself marks such runs as uploaded."""
    log_run("a")
    for kind in ("STREAM", "TRANSFER"):
        monkeypatch.setitem(sync_module.BOUNDS, f"WANDB__FILE_{kind}_RETRY_MAX", "1")
    with serve() as server:
        go_online(monkeypatch, server.url)
        server.broken = {what}
        with pytest.raises(TrackingError, match="1 of 1 runs did not arrive"):
            sync(Path("wandb"))
        server.broken.clear()
        server.history.clear()
        server.uploads.clear()
        sync(Path("wandb"))
        (run,) = server.history
        assert server.rows(run) == LOG
        assert summary_of(server, run)["loss"] == LOG[-1]["loss"]


def media_of(picture: Path) -> dict:
    import wandb

    return {"errors": wandb.Image(str(picture))}


def summary_of(server: Server, run: str) -> dict:
    return json.loads(server.uploads[f"{run}/wandb-summary.json"])


def test_the_dashboard_is_a_file_offline(tmp_path: Path) -> None:
    done = dashboard()
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "results/mini/dashboard.json").read_text())
    assert found["project"] == "stclip-mini"
    assert found["displayName"] == "mini ZS-JHMDB (mini)"
    text = json.dumps(found)
    for split in "1234":
        assert f"independent/split {split}" in text
    assert "detected/unseen/voted/AP/brush_hair" in text


def test_the_dashboard_is_saved_online(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as server:
        go_online(monkeypatch, server.url)
        done = dashboard("--entity", "team")
        assert done.returncode == 0, done.stderr
        assert f"{server.url}/team/stclip-mini?nw=" in done.stdout
        (view,) = server.views
    assert (view["entityName"], view["projectName"]) == ("team", "stclip-mini")
    written = json.loads(Path("results/mini/dashboard.json").read_text())["spec"]
    saved = json.loads(view["spec"])
    titles = [p["config"].get("chartTitle") for s in sections(saved) for p in s["panels"]]
    assert titles == [p["config"].get("chartTitle") for s in sections(written) for p in s["panels"]]
    assert len(titles) > 15


def test_a_dashboard_that_cannot_be_saved_is_told() -> None:
    done = dashboard(WANDB_MODE="online")
    assert done.returncode == 1
    assert "the dashboard was not saved: there is no API key" in done.stderr
    assert "Traceback" not in done.stderr


def sections(spec: dict) -> list[dict]:
    return spec["section"]["panelBankConfig"]["sections"]


def dashboard(*more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    folders = ["--config", str(ROOT / "config"), "--splits", str(ROOT / "splits")]
    return stclip("dashboard", "--scale", "mini", *folders, *more, **environment)
