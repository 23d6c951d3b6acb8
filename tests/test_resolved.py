"""A job computes with the settings that its rule resolved, or stops."""

from pathlib import Path

import pytest
import yaml
from conftest import ROOT, World
from small_project import make_project, snakemake

from stclip.config import load_dataset, load_detector, load_method, load_scale, load_version
from stclip.config.resolved import RESOLVED, announcement, as_resolved
from stclip.config.strict import Strict
from stclip.errors import ConfigError

EDIT = """

onstart:
    path = Path("config/datasets/toy.yaml")
    path.write_text(path.read_text().replace("seconds: 8", "seconds: 7"))
"""


CONFIG = ROOT / "config"


class Setting(Strict):
    value: int


def test_an_edit_between_parsing_and_job_stops_the_job(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    snakefile = project / "Snakefile"
    snakefile.write_text(snakefile.read_text() + EDIT)
    clips = "data/mini/toy/clips.parquet"
    done = snakemake(project, clips, "--config", "datasets=[toy]")
    assert done.returncode != 0
    log = (project / "logs/prepare/mini/toy.log").read_text()
    assert "error: data set toy at scale mini: its settings, or code of your own" in log
    assert "changed since the workflow was parsed. Nothing was computed; run again." in log
    assert not (project / clips).exists()
    done = snakemake(project, clips, "--config", "datasets=[toy]")  # the edit changes nothing more
    assert done.returncode == 0, done.stderr


def test_only_the_record_that_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    records = {"a": Setting(value=1), "b": Setting(value=1)}
    monkeypatch.setenv(RESOLVED, announcement(records, versions={}))
    for name in ("a", "b", "not announced"):
        assert as_resolved(name, Setting(value=1)) == Setting(value=1)
    with pytest.raises(ConfigError, match=r"a: its settings.*changed since.*run again"):
        as_resolved("a", Setting(value=2))
    monkeypatch.delenv(RESOLVED)  # by hand
    assert as_resolved("a", Setting(value=2)) == Setting(value=2)


def test_edited_code_counts_as_an_edited_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    method = load_method(CONFIG, "iclip", dataset="jhmdb", scale="mini")
    monkeypatch.setenv(RESOLVED, announcement({"iclip": method}, versions={}))
    assert as_resolved("iclip", method) == method
    edited = method.model_copy()
    edited.__dict__["sources"] = method.sources | {"baselines.iclip": "edited"}
    with pytest.raises(ConfigError, match="code of your own"):
        as_resolved("iclip", edited)


def test_a_method_does_not_mind_an_edit_of_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> object:
        return load_method(world.config, name, dataset="jhmdb", scale="small")

    names = {f"method {name} of jhmdb at scale small": load(name) for name in ("iclip", "a5")}
    data = load_dataset(world.config, "jhmdb", scale="small")
    names["data set jhmdb at scale small"] = data
    monkeypatch.setenv(RESOLVED, announcement(names, versions={}))  # type: ignore[arg-type]
    path = world.config / "methods" / "iclip.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | {"title": "edited"}))
    assert load("a5") == names["method a5 of jhmdb at scale small"]
    with pytest.raises(ConfigError, match="method iclip of jhmdb at scale small: its settings"):
        load("iclip")
    path = world.config / "datasets" / "jhmdb.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | {"test_split": "val"}))
    assert load("a5") == names["method a5 of jhmdb at scale small"]
    with pytest.raises(ConfigError, match="data set jhmdb at scale small: its settings"):
        load_dataset(world.config, "jhmdb", scale="small")


def test_a_detector_is_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = load_scale(CONFIG, "mini").detectors["tiny"]
    other = tiny.model_copy(update={"score_threshold": 0.5})
    records = {"detector tiny at scale mini": other}
    monkeypatch.setenv(RESOLVED, announcement(records, versions={}))
    with pytest.raises(ConfigError, match="detector tiny at scale mini: its settings"):
        load_detector(CONFIG, "tiny", scale="mini")


def test_the_version_of_a_stage_is_the_workflow_s_or_that_of_config_yaml(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((CONFIG / "config.yaml").read_text())
    assert load_version(CONFIG, "train") == config["stage_version"]["train"]
    assert load_version(world.config, "train") == 0  # no config.yaml there
    monkeypatch.setenv(RESOLVED, announcement({}, versions={"train": 99}))
    assert load_version(CONFIG, "train") == 99
