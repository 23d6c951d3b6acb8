"""Fabricated runs for tests of the page, hostile names among them, and a reader of its HTML."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stclip.config import Scale
from stclip.evaluate.error_kinds import KINDS, MISSED
from stclip.report.page import build_page
from stclip.report.page_tables import read_page_table
from stclip.report.run_rows import by_dataset, read_run_folder
from stclip.tables.table_files import write_table

HOSTILE = '</title><script>alert(1)</script> & "b" $x$ \\frac'
TITLES = {"plain": "Plain", "st+rank 4": HOSTILE, "untrained": "Untrained"}
ASSUMED = {"plain": ["independent"], "st+rank 4": ["independent", "voted"], "untrained": ["voted"]}
LABELS = {"unseen": ["clap", "<b>sit</b>"], "base": ["run", "walk", "wave"]}
SPLITS = ["1", "2", "10"]
SCALE = Scale(title="mini <i>", published=False, backbones={})


def make_run(root: Path, method: str, split: str) -> Path:
    """A run's folder as train and evaluate leave it; mAP tells method and split."""
    folder = root / "runs" / "mini" / "jhmdb" / "st-clip" / split / method / "0"
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
        "scale": "mini", "dataset": "jhmdb", "family": "st-clip", "benchmark": "zs <b>@1",
        "split": split, "split_sha256": f"{split:0>64}",
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


def make_site(root: Path) -> Path:
    """The runs of three methods on three splits, and a table of them."""
    for method in TITLES:
        for split in SPLITS:
            make_run(root, method, split)
    rows = [
        ("Plain", "independent", "31.00", "[26.00, 36.00]", "9.1"),
        (HOSTILE, "independent", "41.00", "[36.00, 46.00]", "8.2"),
        (HOSTILE, "voted", "42.00", "[37.00, 47.00]", "-"),
        ("Untrained", "voted", "-", "-", "7.3"),
    ]
    columns = ["method", "assumption", "split 1", "split 1 95% interval", "ms a step"]
    frame = pd.DataFrame(rows, columns=columns, dtype="str").assign(scale="mini")
    write_table(frame, root / "results" / "mini" / "table2.csv", caption="What <it> says.")
    return root


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
