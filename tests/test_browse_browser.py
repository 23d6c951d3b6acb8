"""The page of predictions in a browser: it filters, sorts and counts, fast, and asks nobody."""

import base64
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsed_site import HOSTILE, made_up, make_browsed
from headless import POLICY, browse, requests
from PIL import Image
from report_site import Reader

from stclip.report.browse_page import SIZES, build_browse_page, render_browse_page
from stclip.report.browsed_run import Choice, read_browsed

# Sets fields, lets the page react, and notes what is shown then.
DRIVER = """<script>
const form = document.getElementById("filters");
const text = (id) => document.getElementById(id).textContent;
function set(changes) {
  form.reset();
  for (const [name, value] of Object.entries(changes)) {
    if (name === "without") {
      form.elements.kind.forEach((tick, kind) => { tick.checked = !value.includes(kind); });
    } else if (typeof value === "boolean") form.elements[name].checked = value;
    else form.elements[name].value = value;
  }
  const began = performance.now();
  form.dispatchEvent(new Event("input", { bubbles: true }));
  document.getElementById("cards").getBoundingClientRect();  // laid out too
  return performance.now() - began;
}
const result = (() => { RESULT })();
document.body.dataset.result = JSON.stringify(result);
parent.postMessage(document.body.dataset.result, "*");
</script></body>"""
NO_SCORE = "\u2013"
SHOWN = """{ count: text("count"), place: text("place"),
  kinds: [...document.querySelectorAll("#kinds small")].map((e) => e.textContent),
  cards: [...document.querySelectorAll("#cards .says > span:first-child")].map(
    (e) => [...e.querySelectorAll("b")].map((b) => b.textContent)) }"""


def driven(page: str, code: str, scratch: Path) -> Any:
    """What code in the page gives back."""
    path = scratch / "driven.html"
    path.write_text(
        POLICY.sub("", page).replace("</body>", DRIVER.replace("RESULT", code)), "utf-8"
    )
    return result_of(browse(path, scratch, "--dump-dom"))


def result_of(dump: str) -> Any:
    """What was left at the body of a page; a parser would read all pictures first."""
    (found,) = re.findall(r'<body data-result="([^"]*)"', dump)
    return json.loads(html.unescape(found))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    world, folders = make_browsed(tmp_path_factory.mktemp("site"))
    options: Any = {"data": world.folder / "data", "config": world.config, "choice": Choice()}
    return build_browse_page([read_browsed(folder, **options) for folder in folders])


def rows_of(page: str) -> pd.DataFrame:
    """The page's predictions as a table: run, label, score, kind, frame, people, height, best."""
    (found,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page)
    content = json.loads(found)
    table = pd.DataFrame(content["rows"]).astype({"score": float})
    persons, boxes = content["persons"], content["boxes"]
    of_box = table["box"] >= 0

    def either(column: str) -> list[Any]:
        return [
            boxes[column][box] if box >= 0 else persons[column][person]
            for box, person in zip(table["box"], table["person"], strict=True)
        ]

    table["frame"] = either("frame")
    people = np.bincount(persons["frame"], minlength=len(content["frames"]["frame"]))
    corners = np.array(either("corners"))
    frame_height = np.array(content["frames"]["height"])[table["frame"]]
    sides = corners[:, 2:] - corners[:, :2]
    return table.assign(
        people=people[table["frame"]],
        height=100 * sides[:, 1] / frame_height,
        size=np.searchsorted([least for _, least in SIZES], sides.prod(1), side="right") - 1,
        name=np.array(content["names"])[table["label"]],
        clip=np.array(content["frames"]["clip"])[table["frame"]],
        best=[boxes["best"][box][0][0] if box >= 0 else -1 for box in table["box"]],
        of_box=of_box,
    )


def test_it_filters_sorts_and_counts(page: str, tmp_path: Path) -> None:
    rows = rows_of(page)
    asked: list[tuple[dict[str, Any], pd.Series]] = [
        ({}, rows["kind"] >= 0),
        ({"label": "1"}, rows["label"] == 1),
        ({"run": "1", "from": "0.4"}, (rows["run"] == 1) & (rows["score"] >= 0.4)),
        ({"without": [0, 5]}, ~rows["kind"].isin([0, 5])),
        ({"size": "0"}, rows["size"] == 0),
        ({"low": "60", "people": "1"}, (rows["height"] >= 60) & (rows["people"] == 1)),
        ({"best": True}, ~rows["of_box"] | (rows["best"] == rows["label"])),
        ({"clip": "CLIP_9", "to": "0.3"}, (rows["clip"] == "clip_9") & ~(rows["score"] > 0.3)),
    ]
    shown = driven(
        page,
        f"return {json.dumps([changes for changes, _ in asked])}.map((changes) => "
        f"{{ set(changes); return {SHOWN}; }});",
        tmp_path,
    )
    for (changes, mask), seen in zip(asked, shown, strict=True):
        chosen = rows[mask]
        assert 0 < len(chosen) <= len(rows)
        assert seen["count"] == f"{len(chosen)} of {len(rows)} predictions", changes
        assert len(seen["cards"]) == min(60, len(chosen))
        scores = [float(score) for _, score in seen["cards"] if score != NO_SCORE]
        best = sorted(chosen["score"].dropna(), reverse=True)[: len(scores)]
        assert scores == pytest.approx(best, abs=0.0051), changes
        assert {name for name, _ in seen["cards"]} <= set(chosen["name"])
    # kinds are counted as if all were wanted
    assert shown[3]["kinds"] == shown[0]["kinds"]
    counts = np.bincount(rows["kind"], minlength=7)
    assert shown[0]["kinds"] == [str(number) for number in counts]


def test_sorting_paging_and_details(page: str, tmp_path: Path) -> None:
    seen = driven(
        page,
        """
        set({ sort: "score, weakest first", without: [6] });
        const weakest = SHOWN;
        document.getElementById("after").click();
        const second = SHOWN;
        set({ sort: "score, best first" });
        const cards = document.querySelectorAll("#cards button");
        cards[0].click();
        const dialog = document.getElementById("detail");
        const first = [dialog.open, text("detail-title"), text("detail-facts")];
        dialog.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
        const next = text("detail-facts");
        document.getElementById("close").click();
        const fields = [...form.querySelectorAll("input, select")];
        const unlabelled = fields.filter((field) => !field.labels.length).length;
        const pictures = document.querySelectorAll("#cards img").length;
        set({ label: "1", from: "0.2", without: [0], sort: "size, largest first" });
        return { weakest, second, first, next, open: dialog.open, unlabelled, pictures,
          address: decodeURIComponent(location.hash) };
        """.replace("SHOWN", SHOWN),
        tmp_path,
    )
    rows = rows_of(page)
    rising = sorted(rows["score"].dropna())
    scores = [float(s) for part in ("weakest", "second") for _, s in seen[part]["cards"]]
    assert scores == pytest.approx(rising[: len(scores)], abs=0.0051)
    assert seen["second"]["place"].startswith("page 2 of")
    best = rows.sort_values("score", ascending=False).iloc[0]
    assert seen["first"][0] is True
    assert seen["first"][1].startswith(f"{best['name']}: ")
    assert f"{best['score']:.4f}, place 1 of its class" in seen["first"][2]
    assert seen["next"] != seen["first"][2]
    assert (seen["open"], seen["unlabelled"], seen["pictures"]) == (False, 0, 60)
    wanted = "#label=jump&from=0.2&sort=size,+largest+first&without=correct"
    assert seen["address"] == wanted


def test_a_view_has_an_address_and_the_policy_lets_the_page_work(page: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page, "utf-8")
    address = f"{path.as_uri()}#label=jump&without=correct&best=1"
    dump = browse(address, tmp_path, "--dump-dom")
    rows = rows_of(page)
    wanted = (rows["name"] == "jump") & (rows["kind"] != 0)
    wanted &= ~rows["of_box"] | (rows["best"] == rows["label"])
    assert f"{wanted.sum()} of {len(rows)} predictions" in Reader(dump).text
    assert dump.count("<li><button") == min(60, wanted.sum())
    assert requests(path, tmp_path / "net") == []


def test_ten_thousand_predictions_are_filtered_in_time(tmp_path: Path) -> None:
    picture = io.BytesIO()
    coarse = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
    Image.fromarray(coarse).resize((160, 90)).save(picture, "webp", quality=60)
    content, pictures = made_up(10_000, base64.b64encode(picture.getvalue()).decode())
    page = render_browse_page(
        content, pictures, runs=[HOSTILE], scales=[], available=10_000, absent=[]
    )
    assert len(page) < 20e6
    asked = [
        {"label": "3"}, {"from": "0.5"}, {"without": [1]}, {"clip": "clip 7", "best": True},
        {"sort": "size, largest first"}, {"sort": "video and frame"}, {"people": "1"}, {},
    ]  # fmt: skip
    title = "return [document.title, SHOWN, "
    seen = driven(
        page,
        (title + f"{json.dumps(asked)}.map((c) => [set(c), set(c), set(c)]), "
        "(set({ label: '0' }), SHOWN)];").replace("SHOWN", SHOWN),
        tmp_path,
    )  # fmt: skip
    assert seen[0] == f"Predictions of {HOSTILE}"
    assert seen[1]["count"] == "10,000 of 10,000 predictions"
    assert seen[3]["count"] == "500 of 10,000 predictions"
    assert {name for name, _ in seen[3]["cards"]} == {HOSTILE}
    best = [min(times) for times in seen[2]]  # of three: other work of the machine does not count
    assert max(best) < 200, best


def test_it_fits_a_phone(page: str, tmp_path: Path) -> None:
    """In a frame 360 pixels wide nothing is wider than it, and cards stand side by side."""
    inner = tmp_path / "inner.html"
    code = (
        "const left = [...document.querySelectorAll('#cards li')].map((e) => e.offsetLeft);"
        "return [innerWidth, document.documentElement.scrollWidth, new Set(left).size];"
    )
    inner.write_text(
        POLICY.sub("", page).replace("</body>", DRIVER.replace("RESULT", code)), "utf-8"
    )
    outer = tmp_path / "outer.html"
    outer.write_text(
        "<!DOCTYPE html><body><script>addEventListener('message', (e) => "
        "{ document.body.dataset.result = e.data; });</script>"
        '<iframe src="inner.html" width="360" height="700" style="border:0"></iframe></body>',
        "utf-8",
    )
    dump = browse(outer, tmp_path, "--dump-dom", "--virtual-time-budget=5000")
    width, needed, columns = result_of(dump)
    assert (width, columns) == (360, 2)
    assert needed <= 360
