"""The page of predictions: that it holds what was evaluated, all of it, and refuses what is not."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browsed_site import HOSTILE, made_up, make_browsed
from conftest import World
from report_site import Reader
from test_cli import run as command

from stclip.errors import ConfigError, DataError
from stclip.records import LabelSplit, Scores
from stclip.report.browse_page import build_browse_page, render_browse_page
from stclip.report.browsed_rows import ALL_KINDS, browsed_rows
from stclip.report.browsed_run import BrowsedRun, Choice, read_browsed
from stclip.report.thumbnails import StoredFrame, thumbnails
from stclip.storage.files import read_json, write_json

Site = tuple[World, list[Path]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_browsed(tmp_path_factory.mktemp("site"))


@pytest.fixture
def copied(site: Site, tmp_path: Path) -> Site:
    """The same, to be damaged."""
    world, folders = site
    folder = tmp_path / "copy"
    shutil.copytree(world.folder, folder, symlinks=True)
    inside = [folder / path.relative_to(world.folder) for path in folders]
    return World(folder, *(getattr(world, k) for k in _PARTS)), inside


_PARTS = ("clips", "boxes", "detections", "objects", "split")


def read(site: Site, number: int = 0, **choice: Any) -> BrowsedRun:
    world, folders = site
    return read_browsed(
        folders[number], data=world.folder / "data", config=world.config, choice=Choice(**choice)
    )


def content_of(page: str, name: str = "content") -> Any:
    (found,) = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page)
    return json.loads(found)


@pytest.mark.parametrize("choice", [{}, {"assumption": "voted"}, {"labels": "base"}])
def test_kinds_are_counted_as_the_evaluation_counts_them(site: Site, choice: Any) -> None:
    run = read(site, **choice)
    rows = browsed_rows([run], most=100_000)
    counted = Counter(ALL_KINDS[kind] for kind in rows.columns["rows"]["kind"])
    errors = pd.read_csv(run.folder / "errors.csv", keep_default_na=False)
    cell = f"{run.boxes}/{run.labels}/{run.assumption}"
    total = errors[(errors["cell"] == cell) & (errors["label"] == "")]
    wanted = total.set_index("kind")["rows"].astype(int)
    assert {kind: counted[kind] for kind in wanted.index} == wanted.to_dict()
    assert rows.available == sum(counted.values())
    assert counted["correct"] > 5


def test_rows_name_their_box_person_and_frame(site: Site) -> None:
    run = read(site)
    page = browsed_rows([run], most=100_000)
    rows, boxes = page.columns["rows"], page.columns["boxes"]
    persons, frames, names = page.columns["persons"], page.columns["frames"], list(page.names)
    record = run.judged.found.record
    first = record.table.iloc[0]  # of clip_8, frame 0: the box (11, 6) to (31, 41), detected by 0.9
    assert [first["clip"], first["frame"]] == ["clip_8", 0]
    at = {
        names[rows["label"][i]]: i
        for i, box in enumerate(rows["box"])
        if box >= 0
        and boxes["corners"][box] == [11, 6, 31, 41]
        and frames["clip"][boxes["frame"][box]] == "clip_8"
        and frames["frame"][boxes["frame"][box]] == 0
    }
    assert sorted(at) == ["clap", "jump"]
    for label, row in at.items():
        probability = record.probabilities[0, record.labels.index(label)]
        assert rows["score"][row] == pytest.approx(0.9 * probability, abs=1e-4)
        person = rows["person"][row]
        assert [names[n] for n in persons["names"][person]] == ["clap"]
        assert persons["corners"][person] == [10, 5, 30, 40]
        # overlap of 19 x 34 pixels of two boxes of 20 x 35
        assert boxes["overlap"][rows["box"][row]] == pytest.approx(646 / (1400 - 646), abs=1e-3)
        best = boxes["best"][rows["box"][row]]
        assert [score for _, score in best] == sorted((s for _, s in best), reverse=True)
    assert ALL_KINDS[rows["kind"][at["jump"]]] == "wrong class"
    # scores fall with the rank, from 1
    of_clap = [(rows["rank"][i], rows["score"][i]) for i, n in enumerate(rows["label"]) if n == 0]
    ranked = [pair for pair in of_clap if pair[0] is not None]
    assert [rank for rank, _ in ranked] == list(range(1, len(ranked) + 1))
    assert [score for _, score in ranked] == sorted((s for _, s in ranked), reverse=True)


def test_who_is_missed_is_a_row_without_box(site: Site) -> None:
    page = browsed_rows([read(site)], most=100_000)
    rows, frames = page.columns["rows"], page.columns["frames"]
    missed = [i for i, kind in enumerate(rows["kind"]) if ALL_KINDS[kind] == "missed"]
    persons = [page.columns["persons"]["frame"][rows["person"][i]] for i in missed]
    where = [(frames["clip"][frame], frames["frame"][frame]) for frame in persons]
    assert ("clip_9", 10) in where
    assert all(rows["box"][i] == -1 and rows["score"][i] is None for i in missed)


def test_of_many_every_class_keeps_its_best_ranked_ones(site: Site) -> None:
    runs = [read(site, 0), read(site, 1)]
    rows = browsed_rows(runs, most=24).columns["rows"]
    counted = Counter((run, label) for run, label in zip(rows["run"], rows["label"], strict=True))
    assert len(rows["kind"]) <= 24
    assert set(counted) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    ranks = [rank for rank in rows["rank"] if rank is not None]
    assert max(ranks) <= 6
    page = build_browse_page(runs, most=24)
    text = Reader(page).text
    assert f"predictions the page has {len(rows['kind'])}" in " ".join(text.split())
    assert len(content_of(page, "pictures")) == len(content_of(page)["frames"]["clip"])


def test_fewer_predictions_than_classes_are_refused(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"--most 1: too few .* give at least [23]\."):
        browsed_rows([read(site)], most=1)


def test_same_runs_same_bytes_and_two_runs_share_frames(site: Site) -> None:
    page = build_browse_page([read(site), read(site, 1)])
    assert build_browse_page([read(site), read(site, 1)]) == page
    frames = content_of(page)["frames"]
    pairs = list(zip(frames["clip"], frames["frame"], strict=True))
    assert len(pairs) == len(set(pairs))
    assert content_of(page)["runs"] == ["CLIP (baseline), split 1, seed 0", "A5, split 1, seed 1"]
    assert "Scale small is not the paper's." in Reader(page).text


def test_without_frames_it_says_so_and_shows_no_pictures(copied: Site) -> None:
    world, _ = copied
    shutil.rmtree(world.folder / "data" / "small" / "jhmdb" / "frames")
    page = build_browse_page([read(copied)])
    assert "No pictures:" in Reader(page).text
    assert "jhmdb/frames" in Reader(page).text
    assert content_of(page, "pictures") == []
    assert len(content_of(page)["rows"]["kind"]) > 20


def test_no_text_ends_the_json() -> None:
    content, pictures = made_up(40, "AAAA")
    options = {"runs": [HOSTILE], "scales": [HOSTILE], "available": 40, "absent": [HOSTILE]}
    page = render_browse_page(content, pictures, **options)  # type: ignore[arg-type]
    assert content_of(page)["names"][0] == HOSTILE
    reader = Reader(page)
    assert len(reader.all("script")) == 3
    assert 'document.title = "broken"</script>' not in page
    assert HOSTILE in reader.text


def test_pictures_shrink_until_they_fit(site: Site) -> None:
    world, _ = site
    folder = world.folder / "data" / "small" / "jhmdb" / "frames"
    frames = [StoredFrame(folder, "clip_8", frame) for frame in range(5)]
    whole, width = thumbnails(frames)
    assert (len(whole), width) == (5, 64)  # as wide as the frames are
    with pytest.raises(ConfigError, match=r"--most: pictures of 5 frames .* fewer predictions"):
        thumbnails(frames, budget=1000)


def test_the_command_writes_the_page(site: Site, tmp_path: Path) -> None:
    world, folders = site
    out = tmp_path / "page.html"
    options = ("--data", str(world.folder / "data"), "--config", str(world.config))
    done = command("browse", *map(str, folders), "--out", str(out), *options)
    assert done.returncode == 0, done.stderr
    assert "MB; open it in a browser" in done.stdout
    assert out.read_text("utf-8") == build_browse_page([read(site), read(site, 1)])
    done = command("browse", str(tmp_path / "none"), "--out", str(tmp_path / "no.html"), *options)
    assert done.returncode == 1
    assert "none: no such folder; give that of a run" in done.stderr
    assert not (tmp_path / "no.html").exists()


def test_what_is_no_run_or_not_scored_is_refused(copied: Site) -> None:
    world, (folder, _) = copied
    options: Any = {"data": world.folder / "data", "config": world.config, "choice": Choice()}
    (world.folder / "other" / "A").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no run: it has no metrics\.json, but \['A'"):
        read_browsed(world.folder / "other", **options)
    (folder / "metrics.json").rename(folder / "gone.json")
    (folder / "config.yaml").write_text("")
    with pytest.raises(DataError, match=r"not scored and evaluated yet.*snakemake"):
        read_browsed(folder, **options)
    (folder / "gone.json").rename(folder / "metrics.json")
    for path in folder.glob("scores_*.parquet"):
        path.unlink()
    with pytest.raises(DataError, match=r"scores_detected_unseen\.parquet: no such file"):
        read_browsed(folder, **options)


def test_scores_of_another_version_are_refused(copied: Site) -> None:
    _, (folder, _) = copied
    path = folder / "scores_detected_unseen.parquet"
    scores = Scores.read(path)
    Scores.from_parts(scores.table, scores.probabilities[::-1], scores.labels).write(path)
    with pytest.raises(DataError, match=r"AP of '(clap|jump)' .* changed since. Run the evaluate"):
        read(copied)
    scores.write(path)
    about = read_json(folder / "metrics.json")
    write_json(folder / "metrics.json", about | {"benchmark": "zs-jhmdb/st-clip@0"})
    with pytest.raises(DataError, match=r"of benchmark zs-jhmdb/st-clip@0, the settings of jhmdb"):
        read(copied)
    write_json(folder / "metrics.json", {k: about[k] for k in about if k != "split"})
    with pytest.raises(DataError, match=r"lacks \['split'\]; run the evaluate stage again"):
        read(copied)


def test_data_of_another_version_are_refused(copied: Site) -> None:
    world, _ = copied
    prepared = world.folder / "data" / "small" / "jhmdb"
    path = prepared / "splits" / "st-clip" / "1.json"
    split = read_json(path)
    LabelSplit(**{**split, "unseen_clips": ["clip_8"]}).write(path)
    with pytest.raises(DataError, match=r"other labels or clips than those that .* evaluated on"):
        read(copied)
    prepared.rename(prepared.with_name("elsewhere"))
    with pytest.raises(DataError, match=r"small/jhmdb: no such folder; .* say with --data"):
        read(copied)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"boxes": "detcted"}, "unknown box source .* nearest is 'detected'"),
        ({"labels": "all"}, r"unknown label group .* known are \['base', 'unseen'\]"),
        ({"assumption": "vote"}, "unknown assumption .* nearest is 'voted'"),
    ],
)
def test_an_unknown_choice_is_refused(site: Site, choice: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(site, **choice)
