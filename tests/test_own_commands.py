"""data init, import and verify in a project's folder, and what the road makes of it."""

import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from drawn_videos import FRAMES, write_video
from own_annotations import HEADER, LABELLED, line, write_videos
from PIL import Image
from typer.testing import CliRunner

from stclip.cli import app
from stclip.config import load_dataset
from stclip.config.target import call_target
from stclip.errors import ConfigError, DataError
from stclip.prepare.import_record import ImportRecord
from stclip.records import BOX_COLUMNS, Boxes, Clips, LabelSplit
from stclip.storage.frame_store import read_pixels, stored_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("mine"))


@pytest.fixture
def project(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with settings, in which commands are run."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copytree(folder / "videos", tmp_path / "videos")
    shutil.copy(folder / "labels.txt", tmp_path)
    (tmp_path / "a.csv").write_text(HEADER + LABELLED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stclip(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["data", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


INIT = ("init", "mine", "--videos", "videos", "--labels", "labels.txt", "--scale", "mini")
IMPORT = ("import", "mine", "--annotations", "a.csv", "--scale", "mini")


def test_init_import_prepare_verify(project: Path) -> None:
    status, printed = stclip(*INIT)
    assert status == 0, printed
    assert "mine: 6 videos, 3 labels; written are\n  config/datasets/mine.yaml" in printed
    with pytest.raises(ConfigError, match=r"splits/mine/own/1\.json: there already"):
        stclip(*INIT)
    settings = load_dataset(Path("config"), "mine", scale="mini")
    raw = Path(settings.extracted or "")
    reports = raw.parent
    where = {"params": settings.params, "where": "", "frame_store": "jpeg"}
    with pytest.raises(DataError, match="import the annotations first: `stclip data import"):
        call_target(settings.target, raw, project / "out", **where)
    status, printed = stclip(*IMPORT)
    assert status == 0, printed
    assert "kept         12 boxes in 12 of 72 frames" in printed
    assert (reports / "import.txt").read_text() in printed
    assert ImportRecord.read(reports).boxes == 12
    assert Image.open(reports / "import.png").size[0] > 1000

    where["params"] = settings.params | {"short_side": 24}
    call_target(settings.target, raw, project / "out", **where)
    clips = Clips.read(project / "out" / "clips.parquet").table.set_index("clip")
    boxes = Boxes.read(project / "out" / "boxes.parquet").table
    assert clips.loc[["a", "b", "d"], ["height", "width"]].to_numpy().tolist() == [
        [24, 40], [40, 24], [24, 40],
    ]  # fmt: skip
    assert boxes.query("clip == 'a'")[BOX_COLUMNS].to_numpy()[0].tolist() == [5, 2.5, 15, 20]
    assert boxes.query("clip == 'd'")[BOX_COLUMNS].to_numpy()[0].tolist() == [2.5, 1.25, 7.5, 10]
    assert len(stored_clip(project / "out" / "frames", "c").numbers) == FRAMES
    assert read_pixels(project / "out" / "frames", "b", 3).shape == (40, 24, 3)

    assert stclip("verify", "mine", "--scale", "mini")[0] == 0
    (project / "a.csv").write_text(HEADER + LABELLED + line("a", 9, "run"))
    before = (raw / "boxes.parquet").read_bytes()
    status, printed = stclip("verify", "mine", "--scale", "mini")
    assert (status, before) == (1, (raw / "boxes.parquet").read_bytes())
    assert "boxes.parquet in data/own/mine/tables would be others now" in printed
    write_video(project / "videos" / "a.mp4", frames=FRAMES + 1)
    with pytest.raises(DataError, match=r"a\.mp4: has 13 frames, it had 12 when its annotations"):
        call_target(settings.target, raw, project / "again", **where)


def test_several_actions_and_splits_of_ones_own(project: Path) -> None:
    status, printed = stclip(*INIT, "--several-actions", "--boxes", "gt", "--num-splits", "2")
    assert status == 0, printed
    settings = load_dataset(Path("config"), "mine", scale="mini")
    assert (settings.exclusive_labels, settings.scored_labels, settings.voting) == (
        [], "together", False,
    )  # fmt: skip
    assert settings.frame_map.protocol == "tf"
    table = yaml.safe_load((project / "config/tables/mine.yaml").read_text())
    assert (table["boxes"], table["starred"], table["assumptions"]) == ("gt", None, ["independent"])
    seeds = [LabelSplit.read(project / f"splits/mine/own/{n}.json").seed for n in (1, 2)]
    assert seeds == [0, 1]
    make = [
        "splits",
        "make",
        "--dataset",
        "mine",
        "--name",
        "3",
        "--num-unseen",
        "1",
        "--seed",
        "7",
    ]
    made = CliRunner().invoke(app, [*make, "--labels", "labels.txt", "--out", "3.json"])
    assert made.exit_code == 0, made.output
    split = LabelSplit.read(Path("3.json"))
    assert sorted((*split.base, *split.unseen)) == ["run", "sit", "wave"]
    with pytest.raises(ConfigError, match="give either --clips or --labels"):
        raise CliRunner().invoke(app, [*make, "--out", "4.json"]).exception or AssertionError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*INIT[:1], "a/b", *INIT[2:]), r"data set 'a/b': a name stands in paths"),
        ((*INIT, "--detector", "tinny"), r"unknown detector of scale mini: 'tinny'.*'tiny'"),
        ((*INIT, "--boxes", "found"), r"unknown boxes of --boxes: 'found'"),
        ((*INIT, "--num-unseen", "3"), r"num_unseen is 3, allowed are 1 to 2"),
        ((*IMPORT, "--unit", "pixel"), r"unknown --unit: 'pixel'.*'pixels'"),
        ((*IMPORT, "--test-share", "1"), r"--test-share is 1\.0; a number between 0 and 1"),
        (("import", "jhmdb", *IMPORT[2:]), r"its target is stclip\.prepare\.jhmdb:prepare, not"),
    ],
)
def test_wrong_arguments(project: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stclip(*arguments)
    assert not (project / "config" / "datasets" / "mine.yaml").exists()
