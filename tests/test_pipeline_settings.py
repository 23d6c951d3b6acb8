"""What the Snakefile makes of settings before any job: dry runs, nothing is computed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_project import TABLE, edit, make_project, planned, snakemake


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


def test_a_list_on_the_command_line_chooses_variants_and_seeds(project: Path) -> None:
    chosen = ["methods=[st_clip+rank_4]", "seeds=[0,1,2]"]
    assert planned(snakemake(project, "-n", TABLE, "--config", *chosen))["train"] == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("scale=huge", "unknown scale 'huge'"),
        ("methods=[yolo]", "unknown method 'yolo'"),
        ("methods=[st_clip+yolo]", "unknown variant of config/methods/st_clip.yaml 'yolo'; known"),
        ("seeds=[one]", "'one' does not match"),
        ("datasets=[kth]", "unknown dataset 'kth'"),
        ("boxes=[guessed]", "unknown box source 'guessed'"),
        ("detectors=[yolo]", "unknown detector 'yolo'; known are ['tiny', 'tiny_finetuned']"),
        ("colour=red", "Additional properties are not allowed ('colour' was unexpected)"),
    ],
)
def test_configuration_mistakes_stop_before_any_job(
    project: Path, setting: str, message: str
) -> None:
    done = snakemake(project, "-n", TABLE, "--config", setting)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_split_names_the_committed_ones(project: Path) -> None:
    path = project / "config" / "scales" / "mini.yaml"
    before = path.read_text()
    edit(path, lambda c: c["datasets"]["jhmdb"].update(splits=["9"]))
    done = snakemake(project, "-n", TABLE)
    path.write_text(before)
    assert done.returncode != 0
    assert (
        "unknown split in splits/jhmdb/st-clip '9'; known are ['1', '2', '3', '4']"
        in done.stdout + done.stderr
    )


def misspell(content: dict) -> None:  # type: ignore[type-arg]
    content["params"] = {"num_frame": 8}


def of_text(content: dict) -> None:  # type: ignore[type-arg]
    content["params"] = {"num_frames": "many"}


def draw_nothing(content: dict) -> None:  # type: ignore[type-arg]
    content["miniature"]["render"]["jhmdb"]["params"]["test_videos"] = 0


def choose_split(content: dict) -> None:  # type: ignore[type-arg]
    content["forms"]["official"]["params"] = {"official_split": 7}


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("methods/st_clip.yaml", misspell, "unknown params ['num_frame'] for STCLIP; it takes"),
        # its Config stands in the class
        ("methods/dummy.yaml", misspell, "['num_frame'] for ClipMean (did you mean 'num_frames'?)"),
        ("methods/dummy.yaml", of_text, "params of ClipMean: num_frames: Input should be a valid"),
        ("scales/mini.yaml", draw_nothing, "miniature.render.jhmdb.params: params of"),
        ("datasets/jhmdb.yaml", choose_split, "official_split: Input should be less than or equal"),
    ],
)
def test_a_value_without_meaning_stops_before_any_job(
    project: Path,
    file: str,
    change: Callable[[dict], None],
    message: str,  # type: ignore[type-arg]
) -> None:
    path = project / "config" / file
    before = path.read_text()
    edit(path, change)
    done = snakemake(project, "-n", TABLE)
    path.write_text(before)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
