"""The page of results: what stands on it, that it is safe, and that it is always the same."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from conftest import ROOT
from report_site import HOSTILE, SCALE, SPLITS, Reader, folders, make_site, page_of
from small_project import planned, run_in

from stclip.errors import DataError
from stclip.report.page import build_page
from stclip.report.run_rows import by_dataset, read_run_folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make_site(tmp_path)


def test_tables_figures_pictures_and_runs_are_there(site: Path) -> None:
    page = Reader(page_of(site))
    assert page.tables["table2"] == [
        ["method", "split 1", "split 1 95% interval", "ms a step"],
        ["Every box on its own"],
        ["Plain", "31.00", "[26.00, 36.00]", "9.1"],
        [HOSTILE, "41.00", "[36.00, 46.00]", "8.2"],
        ["Single-action assumption: soft voting over a clip"],
        [HOSTILE, "42.00", "[37.00, 47.00]", "-"],
        ["Untrained", "-", "-", "7.3"],
    ]
    # The best under each assumption; of costs none is.
    assert page.bold == ["41.00", "42.00"]
    assert "What <it> says." in page.text
    assert len(page.all("svg")) == 4
    assert len(page.all("img")) == len(folders(site)) == 9
    assert len(page.tables["runs"]) == 1 + 9
    # mAP 0.3 + 0.1 x order + 0.01 x split: of the hostile one 0.41, 0.42 and 0.5, the mean 44.33.
    assert "44.33" in page.text
    assert "Scale mini <i> is not the paper's." in page.text


def test_classes_stand_by_how_well_they_are_known(site: Path) -> None:
    """Of the plain method clap has AP 0.31, 0.32 and 0.4, sit 0.1 more."""
    table = Reader(page_of(site)).tables["unseen-1"]
    assert table[0] == ["", "independent", "voted"]
    assert table[1] == ["class", "Plain", HOSTILE, HOSTILE, "Untrained"]
    assert [row[:2] for row in table[2:]] == [["<b>sit</b>", "44.3"], ["clap", "34.3"]]


def test_the_split_after_9_is_10(site: Path) -> None:
    text = Reader(page_of(site)).text
    assert "label splits 1, 2, 10" in text


def test_what_files_say_is_escaped(site: Path) -> None:
    page = Reader(page_of(site))
    assert HOSTILE in page.text
    tags = {name for name, _ in page.tags}
    assert not tags & {"script", "set", "hash", "it"}  # what titles and captions are called here
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]


def test_ids_are_unique_and_links_lead_somewhere(site: Path) -> None:
    page = Reader(page_of(site))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] or "" for a in page.all("a")]
    inner = [link[1:] for link in links if link.startswith("#")]
    outer = [link for link in links if not link.startswith("#")]
    assert set(inner) <= set(ids)
    assert len(outer) == 9 * (3 + 1)  # metrics, log, config and picture of every run
    for link in outer:
        assert (site / "results" / "mini" / unquote(link)).resolve().is_file(), link
    for attributes in page.all("svg"):
        assert attributes["aria-labelledby"] in ids


def test_pages_of_predictions_are_linked_where_there_are_some(site: Path) -> None:
    there = (
        site / "results" / "mini" / "browse" / "jhmdb" / "st-clip" / "2" / "st+rank 4" / "0.html"
    )
    there.parent.mkdir(parents=True)
    there.write_text("a page", "utf-8")
    links = [unquote(a["href"] or "") for a in Reader(page_of(site)).all("a")]
    assert [link for link in links if link.startswith("browse/")] == [
        "browse/jhmdb/st-clip/2/st+rank 4/0.html"
    ]


def test_two_data_sets_share_a_page(site: Path) -> None:
    (data,) = by_dataset([read_run_folder(folder) for folder in folders(site)], scale="mini")
    page = Reader(build_page([("One", data), ("Two", data)], [], scale=SCALE, out=site / "r.html"))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {"unseen-1", "unseen-2"} <= set(page.tables)
    assert "on One, Two" in page.text


def test_everybody_can_read_it(site: Path) -> None:
    page = Reader(page_of(site))
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("scope") for a in page.all("th"))
    assert page.all("nav")
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("figcaption")) >= len(page.all("svg"))


def test_the_page_names_no_other_address(site: Path) -> None:
    content = page_of(site)
    page = Reader(content)
    for name, attributes in page.tags:
        for key in ("src", "srcset", "data", "poster", "action", "xlink:href", "href"):
            value = attributes.get(key) or ""
            fetched = name not in ("a", "link") and key != "xlink:href"
            assert re.match("data:|#|$" if fetched else r"data:|#|\.\./|$", value), (name, value)
    assert not re.search(r"url\((?!#)|@import", content)
    assert "http" not in re.sub(r'http-equiv|xmlns(:xlink)?="[^"]*"', "", content)


def test_same_runs_same_bytes(site: Path) -> None:
    assert page_of(site) == page_of(site, backwards=True)


def test_at_a_published_scale_no_notice_stands(site: Path) -> None:
    text = Reader(page_of(site, scale=SCALE.model_copy(update={"published": True}))).text
    assert "is not the paper's" not in text


def test_methods_that_train_nothing_have_no_curves(site: Path) -> None:
    for method in ("plain", "st+rank 4"):
        for split in SPLITS:
            shutil.rmtree(site / "runs" / "mini" / "jhmdb" / "st-clip" / split / method)
    page = Reader(page_of(site))
    assert len(page.all("svg")) == 3
    assert "No method that is shown trains anything." in page.text


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("metrics.json", ""), ("log.jsonl", ""), ("config.yaml", "train"),
        ("predictions.png", "predictions"), ("classes.csv", "evaluate"), ("errors.csv", "evaluate"),
    ],
)  # fmt: skip
def test_a_missing_file_is_named(site: Path, name: str, stage: str) -> None:
    folder = folders(site)[0]
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{re.escape(name)}: no such file.*{stage}"):
        read_run_folder(folder)


def test_foreign_and_damaged_files_are_named(site: Path) -> None:
    first, second, *_ = folders(site)
    runs = [read_run_folder(first), read_run_folder(second)]
    with pytest.raises(DataError, match="of scale mini, the page is of scale paper"):
        by_dataset(runs, scale="paper")
    with pytest.raises(DataError, match="given twice"):
        by_dataset([*runs, runs[0]], scale="mini")
    with pytest.raises(DataError, match="no runs to report"):
        by_dataset([], scale="mini")
    del runs[1].about["metrics"]["gt"]
    with pytest.raises(DataError, match=r"scored on \['detected'\] boxes, the runs before it"):
        by_dataset(runs, scale="mini")
    (first / "classes.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(DataError, match=r"classes\.csv: columns \['a', 'b'\], not"):
        read_run_folder(first)
    (second / "predictions.png").write_bytes(b"no picture")
    (data,) = by_dataset([read_run_folder(second)], scale="mini")
    with pytest.raises(DataError, match=r"predictions\.png: not a picture.*run the predictions"):
        build_page([("", data)], [], scale=SCALE, out=site / "report.html")


def test_the_command_writes_the_page_without_torch(site: Path) -> None:
    out = site / "results" / "mini" / "report.html"
    arguments = ["stclip", "report", *(str(f / "metrics.json") for f in folders(site))]
    arguments += ["--table", str(out.with_name("table2.csv")), "--scale", "mini"]
    arguments += ["--out", str(out)]
    code = (
        "import sys; from stclip.cli import app\n"
        "try: app()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *arguments[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "on mini ZS-JHMDB" in Reader(out.read_text("utf-8")).text


def plan(report: str) -> subprocess.CompletedProcess[str]:
    command = ["snakemake", "-n", "results/mini/report.html", "--quiet", "host"]
    command += ["--config", f"report={report}"]
    return run_in(ROOT, *command)


def test_tables_of_the_page_are_chosen_and_made_for_it() -> None:
    done = plan("[detectors,table8]")
    jobs = planned(done)
    assert jobs["report"] == 1
    assert jobs["table"] == 2
    for name, wanted in {"detectors": True, "table8": True, "table2": False}.items():
        assert (f"results/mini/{name}.csv" in done.stdout) is wanted


def test_an_unknown_table_stops_before_any_job() -> None:
    done = plan("[table99]")
    assert done.returncode != 0
    assert "unknown table of the report 'table99'; known are ['detectors', " in done.stdout
    assert "Traceback" not in done.stderr
