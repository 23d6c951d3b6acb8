"""What the Snakefile makes of settings before any job: dry runs, nothing is computed."""

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


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"model": "ViT-B-16", "weights": "laion2b_s34b_b88k"},
            "backbones.tiny: weights 'laion2b_s34b_b88k': a tag of open_clip's for ViT-B-16",
        ),
        ({"model": "own.json", "weights": None}, "own.json: no such model config"),
    ],
)
def test_a_backbone_that_is_no_file_stops_before_any_job(
    project: Path, entry: dict[str, str | None], message: str
) -> None:
    path = project / "config" / "scales" / "mini.yaml"
    before = path.read_text()
    edit(path, lambda c: c["backbones"].update(tiny=entry))
    done = snakemake(project, "-n", TABLE)
    path.write_text(before)
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
