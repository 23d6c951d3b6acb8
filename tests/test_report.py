"""The page of results: what stands on it, that it is safe and always the same, and really shown."""

import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image
from test_pipeline import environment, planned

from stclip.config import Scale
from stclip.errors import DataError
from stclip.evaluate.errors import KINDS, MISSED
from stclip.report.page import build_page
from stclip.report.runs import by_dataset, read_run_folder
from stclip.report.tables import read_page_table
from stclip.tables import write_table

HOSTILE = '</title><script>alert(1)</script> & "b" $x$ \\frac'
TITLES = {"plain": "Plain", "st+rank 4": HOSTILE, "untrained": "Untrained"}
ASSUMED = {"plain": ["independent"], "st+rank 4": ["independent", "voted"], "untrained": ["voted"]}
LABELS = {"unseen": ["clap", "<b>sit</b>"], "base": ["run", "walk", "wave"]}
SPLITS = ["1", "2", "10"]
SCALE = Scale(title="mini <i>", published=False, backbones={})


def make_run(root: Path, method: str, split: str) -> Path:
    """A run's folder as train and evaluate leave it; mAP tells method and split."""
    folder = root / "runs" / "mini" / "jhmdb" / split / method / "0"
    folder.mkdir(parents=True)
    order = list(TITLES).index(method)
    cells, classes, errors = {}, [], []
    for boxes in ("detected", "gt"):
        for group, labels in LABELS.items():
            for assumption in ("independent", "voted"):
                value = 0.3 + 0.1 * order + 0.01 * int(split) + 0.2 * (group == "base")
                cells.setdefault(boxes, {}).setdefault(group, {})[assumption] = {
                    "mAP": value, "interval": [value - 0.05, value + 0.05],
                    "num_classes": len(labels),
                }  # fmt: skip
                cell = f"{boxes}/{group}/{assumption}"
                classes += [(cell, label, value + 0.1 * k, 9) for k, label in enumerate(labels)]
                for label in [*labels, ""]:
                    errors += [(cell, label, k, 5, 2, np.nan if not n else 0.05 / n)
                               for n, k in enumerate((*KINDS, MISSED))]  # fmt: skip
    about = {
        "method": method, "title": TITLES[method], "order": order, "assumptions": ASSUMED[method],
        "scale": "mini", "dataset": "jhmdb", "split": split, "split_sha256": f"{split:0>64}",
        "seed": 0, "config_hash": f"{order}<hash>", "git_commit": f"{order:040x}-dirty",
        "versions": {"python": "3.11"}, "metrics": cells,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(about), "utf-8")
    columns = ["cell", "label", "AP", "gt_boxes"]
    pd.DataFrame(classes, columns=columns).to_csv(folder / "classes.csv", index=False)
    columns = ["cell", "label", "kind", "rows", "top", "gain"]
    pd.DataFrame(errors, columns=columns).to_csv(folder / "errors.csv", index=False)
    steps = 0 if method == "untrained" else 40
    lines = [{"step": n, "loss": 4 / (n + 1), "lr": 1e-3, "seconds": 0.25} for n in range(steps)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    (folder / "config.yaml").write_text(f"name: {method}\ntitle: '{TITLES[method]}'\n", "utf-8")
    Image.new("RGB", (64, 48), (200, 40 * order, 40)).save(folder / "predictions.png")
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The runs of three methods on three splits, and a table of them."""
    for method in TITLES:
        for split in SPLITS:
            make_run(tmp_path, method, split)
    rows = [
        ("Plain", "independent", "31.00", "[26.00, 36.00]", "9.1"),
        (HOSTILE, "independent", "41.00", "[36.00, 46.00]", "8.2"),
        (HOSTILE, "voted", "42.00", "[37.00, 47.00]", "-"),
        ("Untrained", "voted", "-", "-", "7.3"),
    ]
    columns = ["method", "assumption", "split 1", "split 1 95% interval", "ms a step"]
    frame = pd.DataFrame(rows, columns=columns, dtype="str").assign(scale="mini")
    write_table(frame, tmp_path / "results" / "mini" / "table2.csv", caption="What <it> says.")
    return tmp_path


def folders(site: Path) -> list[Path]:
    return sorted(path.parent for path in site.glob("runs/**/metrics.json"))


def page_of(site: Path, *, scale: Scale = SCALE, backwards: bool = False) -> str:
    runs = [read_run_folder(folder) for folder in sorted(folders(site), reverse=backwards)]
    (data,) = by_dataset(runs, scale="mini")
    out = site / "results" / "mini" / "report.html"
    table = read_page_table(out.with_name("table2.csv"))
    content = build_page([("Mini <set>", data)], [table], scale=scale, out=out)
    out.write_text(content, "utf-8")
    return content


class Reader(HTMLParser):
    """Tags with their attributes, the text, and the cells of every table."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self.bold: list[str] = []
        self._open: list[str] = []
        self._table = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "table":
            self._table = dict(attrs).get("id") or "runs"
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:  # those that need no end
            pass

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self._open):
            self.tables[self._table][-1][-1] += data
            if "b" in self._open:
                self.bold.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


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
            shutil.rmtree(site / "runs" / "mini" / "jhmdb" / split / method)
    page = Reader(page_of(site))
    assert len(page.all("svg")) == 3
    assert "No method that is shown trains anything." in page.text


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("metrics.json", ""), ("log.jsonl", ""), ("config.yaml", "train"),
        ("predictions.png", "evaluate"), ("classes.csv", "evaluate"), ("errors.csv", "evaluate"),
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
    with pytest.raises(DataError, match=r"predictions\.png: not a picture.*run the evaluate stage"):
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
    command = ["snakemake", "-n", "results/mini/report.html", "--config", f"report={report}"]
    return subprocess.run(command, cwd=ROOT, env=environment(ROOT), capture_output=True, text=True)


def test_tables_of_the_page_are_chosen_and_made_for_it() -> None:
    jobs = planned(plan("[detectors,table8]"))
    assert jobs["report"] == jobs["detectors"] == jobs["ablation"] == 1
    assert "table2" not in jobs


def test_an_unknown_table_stops_before_any_job() -> None:
    done = plan("[table3]")
    assert done.returncode != 0
    assert "unknown table of the report 'table3'; known are ['detectors', " in done.stdout
    assert "Traceback" not in done.stderr


# In a browser.

SIZE = (1280, 6000)
MEASURE = """<script>
const box = (e) => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; };
const seen = [...document.querySelectorAll("table")].map(
  (t) => [t.id || "runs", t.checkVisibility(), [...t.rows].map(box)]);
document.body.dataset.seen = JSON.stringify(seen);
</script></body>"""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def browse(page: Path, scratch: Path, *options: str) -> str:
    """Open a page in a browser that can reach this machine alone; its standard output."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("chromium opens the page in this test; `make debian` installs it.")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--hide-scrollbars",
        f"--user-data-dir={scratch / 'profile'}", f"--window-size={SIZE[0]},{SIZE[1]}",
    ]  # fmt: skip
    done = subprocess.run(
        [*command, *options, page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tables_are_really_shown(site: Path, tmp_path: Path) -> None:
    """Where the browser lays out the rows, its picture has text on paper."""
    content = page_of(site)
    measured = tmp_path / "measured.html"
    measured.write_text(POLICY.sub("", content).replace("</body>", MEASURE), "utf-8")
    body = next(a for a in Reader(browse(measured, tmp_path, "--dump-dom")).all("body"))
    seen = json.loads(body["data-seen"] or "")
    assert [name for name, *_ in seen] == ["table2", "unseen-1", "base-1", "costs-1", "runs"]
    assert all(visible for _, visible, _ in seen)
    shot = tmp_path / "shot.png"
    browse(site / "results" / "mini" / "report.html", tmp_path, f"--screenshot={shot}")
    picture = np.asarray(Image.open(io.BytesIO(shot.read_bytes())).convert("L"), float)
    assert picture.shape == SIZE[::-1]
    for name, _, rows in seen:
        for x, y, width, height in rows:
            assert width > 200, name
            assert height > 15, name
            part = picture[int(y) : int(y + height), int(x) : int(min(SIZE[0], x + width))]
            assert (part < 120).sum() > 20, f"nothing is seen of a row of {name}"
            assert (part > 125).mean() > 0.5, f"a row of {name} is no text on paper"


def requests(page: Path, scratch: Path) -> list[str]:
    """What a page asks for; the browser's own requests are of no origin."""
    scratch.mkdir()
    log = scratch / "net.json"
    browse(page, scratch, f"--log-net-log={log}", f"--screenshot={scratch / 'shot.png'}")
    events = [event.get("params", {}) for event in json.loads(log.read_text("utf-8"))["events"]]
    return [e["url"] for e in events if e.get("initiator", "not an origin") != "not an origin"]


def test_the_page_asks_nobody_for_anything(site: Path, tmp_path: Path) -> None:
    content = page_of(site)
    without = site / "without_policy.html"  # what the page itself asks for, if it were allowed to
    without.write_text(POLICY.sub("", content), "utf-8")
    assert without.read_text("utf-8") != content
    assert requests(without, tmp_path / "1") == []
    # The same look at a page that does ask.
    asking = site / "asking.html"
    asking.write_text('<!DOCTYPE html><img src="http://127.0.0.1:9/x.png">', "utf-8")
    assert requests(asking, tmp_path / "2") == ["http://127.0.0.1:9/x.png"]
    # And the policy stops what would ask.
    forbidden = content.replace("</h1>", '</h1><img src="http://127.0.0.1:9/x.png">')
    asking.write_text(forbidden, "utf-8")
    assert requests(asking, tmp_path / "3") == []
