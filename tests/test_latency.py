"""Table 13: a drawn film on one device and on several, cells."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from test_cli import run as command

from stclip.config import load_method
from stclip.config.drawn_tables import LatencyTable
from stclip.config.table import load_table
from stclip.costs import latency
from stclip.costs.latency import Film, draw, measure_latency, score_film
from stclip.costs.measured import Latency, write_costs
from stclip.errors import DataError
from stclip.storage.frame_store import read_clip
from stclip.tables.kinds import make_table
from stclip.tables.latency_table import build_latency
from stclip.tables.table_files import read_table

CONFIG = ROOT / "config"
FOUND = Latency(title="M", devices=1, key_frames=886, persons=3, seconds=10.0)


def latency_table(**changes: Any) -> LatencyTable:
    content = {"kind": "latency", "title": "t", "note": "n", "dataset": "ava", "persons": 3}
    content |= {"labels": 80, "key_frames": 886, "rows": ["st_clip"]}
    return LatencyTable.model_validate(content | changes)


def test_the_film_is_the_paper_s() -> None:
    table = load_table(CONFIG, "table13", scale="paper")
    assert isinstance(table, LatencyTable)
    assert (table.dataset, table.key_frames, table.persons) == ("ava", 886, 3)


def test_a_film_on_the_cpu_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key frame, with all of its persons; the first batch beforehand, to warm up."""
    scored = []

    def score(method: Any, table: Any, *arguments: Any, **keywords: Any) -> None:
        scored.append((table["frame"].nunique(), len(table), keywords["num_labels"]))
        reader = keywords["reader"]
        assert reader.picture("video", 39).shape == (3, *method.backbone.image_size)

    monkeypatch.setattr(latency, "score_boxes", score)
    config = load_method(CONFIG, "st_clip", dataset="ava", scale="mini")
    (found,) = measure_latency(config, key_frames=40, persons=3, labels=5, store="decoded", gpus=[])
    assert scored == [(32, 96, 5), (40, 120, 5)]
    assert (found.devices, found.key_frames, found.persons) == (1, 40, 3)
    assert 0 < found.seconds < 60


@pytest.mark.parametrize(("gpus", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6])])
def test_as_many_devices_as_there_are(
    monkeypatch: pytest.MonkeyPatch, gpus: int, counts: list[int]
) -> None:
    def score(config: Any, film: Film, *, gpus: list[str], workers: int) -> float:
        assert workers == 7 // len(gpus)
        return 8.0 / len(gpus)

    monkeypatch.setattr(latency, "score_film", score)
    config = load_method(CONFIG, "st_clip", dataset="ava", scale="mini")
    names = [str(number) for number in range(gpus)]
    found = measure_latency(
        config, key_frames=4, persons=1, labels=2, store="decoded", gpus=names, workers=7
    )
    assert [one.devices for one in found] == counts
    assert [one.seconds for one in found] == [8.0 / count for count in counts]


def test_two_devices_share_a_film(tmp_path: Path) -> None:
    """Where there is no GPU of these names, both of their processes run on the CPU."""
    film = Film(frames=tmp_path, key_frames=9, persons=1, labels=2)
    draw(film, "decoded")
    pictures = read_clip(tmp_path, "video")
    assert len(pictures) == 9
    assert np.array_equal(pictures[0], pictures[8])
    assert not np.array_equal(pictures[0], pictures[1])
    config = load_method(CONFIG, "st_clip", dataset="ava", scale="mini")
    random = config.backbone.model_copy(update={"weights": None})
    config = config.model_copy(update={"backbone": random})
    assert 0 < score_film(config, film, gpus=["-1", "-1"], workers=0) < 60


def test_cells_are_what_was_measured() -> None:
    two = replace(FOUND, devices=2, seconds=4.0)
    frame = build_latency([FOUND, two], config=latency_table(), scale="mini", where="here")
    first, second = frame.to_dict("records")
    assert (first["devices"], first["s a film"], first["frames/s"]) == ("1", "10.00", "88.6")
    assert (second["frames/s"], second["speed-up"]) == ("221.5", "2.50")
    assert (first["key frames"], first["persons"]) == ("886", "3")
    assert (first["scale"], first["on"]) == ("mini", "here")


def test_another_film_than_the_table_s_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    write_costs(path, [replace(FOUND, key_frames=10)], where="here")
    with pytest.raises(DataError, match=r"\[\(10, 3\)\], the table has \(886, 3\)"):
        make_table("table13", [path], tmp_path / "t.csv", config=CONFIG, scale="mini")
    with pytest.raises(DataError, match="measure again"):
        build_latency([], config=latency_table(), scale="mini", where="here")
    write_costs(path, [FOUND], where="here")
    make_table("table13", [path], tmp_path / "t.csv", config=CONFIG, scale="paper")
    assert read_table(tmp_path / "t.csv")["devices"].tolist() == ["1"]
    done = command(
        "latency", "--table", "table12", "--scale", "mini", "--out", str(tmp_path / "u.json")
    )
    assert "'table12' is of kind parts; this command makes another" in done.stderr
