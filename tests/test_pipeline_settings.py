"""What the Snakefile makes of settings before any job: dry runs, nothing is computed."""

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT
from small_project import TABLE, copy_project, edit, make_project, planned, snakemake


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


def test_a_list_on_the_command_line_chooses_variants_and_seeds(project: Path) -> None:
    chosen = ["methods=[st_clip+rank_4]", "seeds=[0,1,2]"]
    assert planned(snakemake(project, "-n", TABLE, "--config", *chosen))["train"] == 3


def check_stopped(project: Path, message: str, *settings: str) -> None:
    """A dry run says what is wrong, and no job would begin."""
    options = ["--config", *settings] if settings else []
    done = snakemake(project, "-n", TABLE, *options)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def restored(path: Path) -> Iterator[Path]:
    """A file that is as before afterwards."""
    before = path.read_bytes()
    try:
        yield path
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("scale=huge", "unknown scale 'huge'"),
        ("methods=[st_clpi]", "unknown method 'st_clpi'"),
        ("methods=[st_clip+yolo]", "unknown variant of config/methods/st_clip.yaml 'yolo'; known"),
        (
            "methods=[st_clip,st_clip]",
            "methods of config.yaml or --config: ['st_clip'] are given twice",
        ),
        (
            "splits=1",
            "splits of config.yaml or --config is 1; needed is 'all' or a list: 'splits=[1]'",
        ),
        ("seeds=[one]", "'one' is not of type 'integer'"),
        ("seeds=4-0", "seeds '4-0': a range goes up"),
        ("splits=[7]", "unknown split of splits: '7'; known are ['1', "),
        ("datasets=[kth]", "unknown dataset 'kth'"),
        ("boxes=[guessed]", "unknown box source of jhmdb 'guessed'"),
        ("detectors=[yolo]", "unknown detector 'yolo'; known are ['tiny', 'tiny_films', "),
        ("report=[table99]", "unknown table of the report 'table99'"),
        ("sede=[1]", "unknown key of config.yaml or --config 'sede'; known are ['boxes', "),
        ("stage_version={trian: 5}", "unknown stage of stage_version: 'trian'; known are"),
    ],
)
def test_configuration_mistakes_stop_before_any_job(
    project: Path, setting: str, message: str
) -> None:
    check_stopped(project, message, setting)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "config/config.yaml", "scale: mini", "scale: mini\nscale: paper",
            "config/config.yaml: not valid YAML (key 'scale' is given here",
        ),
        (
            "config/datasets/jhmdb.yaml", "protocol: iclip", "protocol: iclp",
            "unknown protocol of frame_map 'iclp'; known are ['act', 'activitynet', 'hit', "
            "'iclip', 'tf']; the nearest is 'iclip'.",
        ),
        (
            "config/datasets/jhmdb.yaml", "family: st-clip", "family: st-clp",
            "unknown family of label splits of jhmdb 'st-clp'; known are ['st-clip']",
        ),
        (
            "config/scales/mini.yaml", "  train:\n    threads", "  trian:\n    threads",
            "unknown rule of config/scales/mini.yaml, resources: 'trian'; known are ['costs', ",
        ),
        (
            "config/scales/mini.yaml", "  train:\n    threads", "  train:\n    threds",
            "resources.train.threds: Extra inputs are not permitted; allowed keys: ['gpu', "
            "'mem_mb', 'runtime', 'threads']; the nearest is 'threads'.",
        ),
        (
            "splits/jhmdb/st-clip/1.json", '"name": "1"', '"name": "2"',
            "splits/jhmdb/st-clip/1.json: name is '2', its place says '1'",
        ),
        (
            "splits/jhmdb/st-clip/1.json", '"sit"', '" Clap "',
            "splits/jhmdb/st-clip/1.json: labels ['clap', ' Clap '] are the same to CLIP's",
        ),
        (
            "splits/jhmdb/st-clip/1.json", '"sit"', f'"{" ".join(["sit"] * 15)}"',
            "st-clip/1.json, backbone package:mini/tiny_clip/tiny-clip.json: label 'sit sit",
        ),
        (
            "splits/jhmdb/st-clip/1.json", '"name": "1"', '"name": "1",\n "name": "1"',
            "splits/jhmdb/st-clip/1.json: not valid JSON (keys ['name'] are given twice",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_files_stop_before_any_job(
    project: Path, file: str, old: str, new: str, message: str
) -> None:
    with restored(project / file) as path:
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new))
        check_stopped(project, message, "scale=mini")


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
    with restored(project / "config" / "scales" / "mini.yaml") as path:
        edit(path, lambda c: c["backbones"].update(tiny=entry))
        check_stopped(project, message)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("STCLIP_PRELOAD", "unknown environment variable 'STCLIP_PRELOAD'; known are ['STCLIP_PRE"),
        ("WANDB_MODE", "WANDB_MODE is 'x'; known are ['disabled', 'offline', 'online']"),
    ],
)
def test_misspelt_environment_variables_stop_before_any_job(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str, message: str
) -> None:
    monkeypatch.setenv(variable, "x")
    done = snakemake(project, "-n", TABLE)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


def test_only_the_chosen_splits_of_data_sets_and_tables_are_made(project: Path) -> None:
    whole = ["datasets=[jhmdb]", "scale=paper", "methods=[st_clip]", "seeds=0-2"]
    assert planned(snakemake(project, "-n", TABLE, "--config", *whole))["train"] == 12
    assert planned(snakemake(project, "-n", TABLE, "--config", *whole, "splits=[2]"))["train"] == 3
    command = snakemake(
        project, "-n", "-p", "--workflow-profile", "none", TABLE, "--config", *whole, "splits=[2]"
    )
    assert "--table table2 --only-split 2 --scale paper" in command.stdout
    # A table, and ablations, of which none is left
    for target, message in {
        "results/table11.csv": "table table11 is of data set jhmdb, splits ['1']; chosen are",
        "ablations": "no ablation is of the chosen data sets ['jhmdb'] and splits ['2']",
    }.items():
        done = snakemake(project, "-n", target, "--config", *whole, "splits=[2]")
        assert done.returncode != 0
        assert message in done.stdout + done.stderr


def test_names_with_spaces_and_quotes_are_quoted_in_every_command(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    config, splits = project / "config", project / "splits" / "jhmdb"
    scale = (config / "scales" / "mini.yaml").read_text().replace("data/mini/s", "data/a b/s")
    (config / "scales" / "a b.yaml").write_text(scale)
    shutil.copy(config / "methods" / "clip_crop.yaml", config / "methods" / "my 'own' way.yaml")
    (splits / "the family").mkdir()
    split = json.loads((splits / "st-clip" / "1.json").read_text())
    split |= {"family": "the family", "name": "it's"}
    (splits / "the family" / "it's.json").write_text(json.dumps(split))
    edit(
        config / "datasets" / "jhmdb.yaml",
        lambda d: d.update(family="the family", splits=["it's"], detector="tiny_finetuned"),
    )
    for path in (config / "tables").glob("*.yaml"):
        if path.stem not in ("table2", "detectors"):
            path.unlink()
    edit(config / "tables" / "table2.yaml", lambda t: t.pop("published"))
    (config / "tables" / "table2.yaml").rename(config / "tables" / "my table.yaml")
    edit(config / "tables" / "detectors.yaml", lambda t: t.pop("share"))
    done = snakemake(
        project, "-n", "-p", "--workflow-profile", "none", "all", "results/detectors.csv",
        "--config", "scale=a b", "methods=[\"my 'own' way\"]", "datasets=[jhmdb,ucf101_24]",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    commands = [
        shlex.split(line.partition("Shell command: ")[2])
        for line in done.stdout.splitlines()
        if "Shell command: " in line
    ]
    words = {word for command in commands for word in command}
    assert len(commands) > 15
    known = {"a b", "my 'own' way", "results/a b/my table.csv"}
    assert known <= words
    # A name in pieces would stand among the words: `b`, `way`, `its`, `family/...`
    parts = [word for word in words if word.startswith(("b", "way", "'own'", "family", "table"))]
    assert [word for word in parts if word != "tables"] == []


# What is no name: numbers, and the launcher, a piece of command.
PLAIN = {"threads", "params.threads", "params.workers", "params.launcher"}


@pytest.mark.parametrize("path", sorted((ROOT / "workflow" / "rules").glob("*.smk")), ids=str)
def test_every_name_in_a_shell_command_is_quoted(path: Path) -> None:
    commands = re.findall(r"(?m)^( +)shell:\n((?:\1 +.*\n)+)", path.read_text())
    bare = [
        name
        for _, command in commands
        for name in re.findall(r"\{([^}]*)\}", command)
        if not name.endswith(":q") and name not in PLAIN
    ]
    assert bare == []
    assert path.read_text().count("shell:") == len(commands)


def test_an_unknown_split_names_the_committed_ones(project: Path) -> None:
    with restored(project / "config" / "scales" / "mini.yaml") as path:
        edit(path, lambda c: c["datasets"]["jhmdb"].update(splits=["9"]))
        check_stopped(
            project, "unknown split in splits/jhmdb/st-clip '9'; known are ['1', '2', '3', '4']"
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
        ("methods/dummy.yaml", misspell, "['num_frame'] for ClipMean; it takes ['num_frames']"),
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
    with restored(project / "config" / file) as path:
        edit(path, change)
        check_stopped(project, message)
