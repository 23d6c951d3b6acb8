"""The page of results in a browser: its tables are really shown, and it asks nobody."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from headless import POLICY, SIZE, browse, requests
from PIL import Image
from report_site import Reader, make_site, page_of

MEASURE = """<script>
const box = (e) => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; };
const seen = [...document.querySelectorAll("table")].map(
  (t) => [t.id || "runs", t.checkVisibility(), [...t.rows].map(box)]);
document.body.dataset.seen = JSON.stringify(seen);
</script></body>"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make_site(tmp_path)


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
