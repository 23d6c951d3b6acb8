"""The miniature of AVA v2.2: annotations and films in the official layout."""

import csv
import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import ROOT

from stclip.config import load_scale
from stclip.config.file_lists import listed_names
from stclip.errors import ConfigError
from stclip.mini import ava_archives
from stclip.mini.ava.film import HEIGHT, WIDTH, KeyFrame, SeenPerson
from stclip.mini.ava.repertoire import load_ava_repertoire
from stclip.mini.ava_archives import film_names, render_ava

COUNTS = {"train_films": 3, "val_films": 1}
SECONDS = range(2, 6)  # annotated ones of films of 8 seconds
OFFICIAL = ROOT.parent / "shared/data/ava"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ava")
    render_ava(out, seed=3, seconds=8, **COUNTS)
    return out


@pytest.fixture(scope="module")
def annotations(archives: Path) -> dict[str, str]:
    with zipfile.ZipFile(archives / "ava_v2.2.zip") as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def rows_of(annotations: dict[str, str], side: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(annotations[f"ava_{side}_v2.2.csv"])))


def test_files_have_the_official_names(archives: Path, annotations: dict[str, str]) -> None:
    assert list(annotations) == [
        "ava_train_v2.2.csv",
        "ava_train_excluded_timestamps_v2.2.csv",
        "ava_val_v2.2.csv",
        "ava_val_excluded_timestamps_v2.2.csv",
        "ava_included_timestamps_v2.2.txt",
        "ava_action_list_v2.2.pbtxt",
    ]
    names = (archives / "ava_file_names_trainval_v2.1.txt").read_text("utf-8").splitlines()
    assert names == sorted(film_names(**COUNTS))
    assert all(re.fullmatch(r"[\w-]{11}\.(mkv|mp4|webm)", name) for name in names)
    others = {"ava_v2.2.zip", "ava_file_names_trainval_v2.1.txt"}
    others |= {"props.json", "props_images.json", "SHA256SUMS"}
    assert {path.name for path in archives.iterdir()} == {*names} | others


def test_a_row_is_a_person_and_a_class(annotations: dict[str, str]) -> None:
    classes = load_ava_repertoire().action_list.classes
    for side, count in (("train", 3), ("val", 1)):
        text = annotations[f"ava_{side}_v2.2.csv"]
        corner = r"[01]\.\d{3}"
        row = rf"[\w-]{{11}},\d{{4}},({corner},){{4}}\d{{1,2}},\d+"
        assert all(re.fullmatch(row, line) for line in text.splitlines())
        rows = rows_of(annotations, side)
        assert len({row[0] for row in rows}) == count
        assert {int(row[1]) for row in rows} <= {*SECONDS}
        persons: dict[tuple[str, ...], list[int]] = {}
        boxes: dict[tuple[str, ...], tuple[str, ...]] = {}
        for video, second, *box, action, person in rows:
            x1, y1, x2, y2 = map(float, box)
            assert 0 <= x1 < x2 <= 1
            assert 0 <= y1 < y2 <= 1
            key = (video, second, person)
            persons.setdefault(key, []).append(int(action))
            assert boxes.setdefault(key, tuple(box)) == tuple(box)
        for actions in persons.values():
            assert len({*actions}) == len(actions) <= 3
            kinds = Counter(classes[action - 1][1] for action in actions)
            assert kinds["PERSON_MOVEMENT"] == 1
    numbers = {(row[0], int(row[7])) for row in rows_of(annotations, "train")}
    for video in {video for video, _ in numbers}:
        own = sorted(number for of, number in numbers if of == video)
        assert own == list(range(len(own)))


def test_a_box_is_normalised_by_the_films_size() -> None:
    box = np.array([96, 27, 143, 80], np.float32)  # columns 96 to 143, rows 27 to 80
    behind = np.array([48, 13, 71, 40], np.float32)
    job = ava_archives._Job(0, "val", 0, "-abcdefghij", "everyday", 30, range(2, 28), 108)
    persons = (
        SeenPerson(7, ("sit", "drink"), box),
        SeenPerson(2, ("stand",), behind),
    )
    keys = (KeyFrame(4, 48, persons, ()),)
    packed = ava_archives._Packed(job, "", b"", 0, keys, ())
    # 96/192, 27/108, 144/192, 81/108; persons are numbered as they appear, 7 first.
    assert list(ava_archives._rows(packed, load_ava_repertoire())) == [
        "-abcdefghij,0004,0.250,0.120,0.375,0.380,12,1\n",
        "-abcdefghij,0004,0.500,0.250,0.750,0.750,11,0\n",
        "-abcdefghij,0004,0.500,0.250,0.750,0.750,27,0\n",
    ]
    assert (WIDTH, HEIGHT) == (192, 108)


def test_included_and_excluded_seconds(annotations: dict[str, str]) -> None:
    assert annotations["ava_included_timestamps_v2.2.txt"] == "0002\n0003\n0004\n0005\n"
    for side in ("train", "val"):
        text = annotations[f"ava_{side}_excluded_timestamps_v2.2.csv"]
        excluded = [line.split(",") for line in text.splitlines()]
        assert excluded
        videos = {row[0] for row in rows_of(annotations, side)}
        for video, second in excluded:
            assert video in videos
            assert len(second) == 4
            assert int(second) in SECONDS
        assert len({video for video, _ in excluded}) * len(SECONDS) > len(excluded)


def test_the_action_list_is_the_official_one(annotations: dict[str, str]) -> None:
    text = annotations["ava_action_list_v2.2.pbtxt"]
    blocks = re.findall(
        r'label \{\n  name: "(.+)"\n  label_id: (\d+)\n  label_type: (PERSON_MOVEMENT|OBJECT_'
        r"MANIPULATION|PERSON_INTERACTION)\n\}\n",
        text,
    )
    assert [int(number) for _, number, _ in blocks] == list(range(1, 81))
    assert blocks[78] == ("talk to (e.g., self, a person, a group)", "79", "PERSON_INTERACTION")
    official = OFFICIAL / "ava_action_list_v2.2.pbtxt"
    if official.exists():
        assert text.split() == official.read_text("utf-8").split()


def test_films_differ_in_container_rate_and_start(archives: Path) -> None:
    found = {}
    for name in film_names(**COUNTS):
        with av.open(archives / name) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == (192, 108)
            start = container.start_time or 0
            frames = list(container.decode(stream))
            assert len(frames) == int(8 * stream.average_rate)
            times = [frame.time for frame in frames]
            assert times == sorted(times)
            found[name] = (Path(name).suffix, stream.codec_context.name, stream.average_rate, start)
    forms = [form[:3] for form in found.values()]
    assert forms == [
        (".mkv", "mpeg4", Fraction(25)),
        (".mp4", "mpeg4", Fraction(12000, 1001)),
        (".webm", "vp8", Fraction(24)),
        (".mkv", "mpeg4", Fraction(25)),
    ]
    assert [start > 0 for *_, start in found.values()] == [True, False, False, True]


def test_containers_and_rates_of_all_films() -> None:
    forms = [ava_archives._form(s, i) for s, n in (("train", 48), ("val", 36)) for i in range(n)]
    suffixes, rates = Counter(f[0] for f in forms), {f[1] for f in forms}
    assert suffixes[".mkv"] > suffixes[".mp4"] > suffixes[".webm"] >= 2
    assert rates == {*ava_archives.RATES}
    assert len({*film_names(train_films=48, val_films=36)}) == 84


def test_names_do_not_depend_on_how_many_films_the_other_side_has() -> None:
    names = film_names(train_films=5, val_films=4)
    assert film_names(train_films=3, val_films=2) == names[:3] + names[5:7]
    assert [name[0] for name in (names[0], names[1], names[5], names[6])] == ["-", "_", "-", "_"]


def test_few_films_have_different_themes() -> None:
    shares = {"a": 12, "b": 7, "c": 5}
    # The third is c's, who lacks 3 x 5/24 - 0; a lacks 3 x 12/24 - 1, b 3 x 7/24 - 1.
    assert ava_archives._in_turn(shares, 4) == ["a", "b", "c", "a"]
    assert Counter(ava_archives._in_turn(shares, 24)) == shares


def test_props_are_told_of_every_annotated_second(archives: Path) -> None:
    listed = json.loads((archives / "props_images.json").read_text("utf-8"))
    names = [image["file_name"] for image in listed["images"]]
    assert names == [f"{name[:11]}/{s:04d}.jpg" for name in film_names(**COUNTS) for s in SECONDS]
    kinds = {category["id"]: category["name"] for category in listed["categories"]}
    assert min(kinds) == 2  # 1 are persons
    rows = json.loads((archives / "props.json").read_text("utf-8"))
    assert rows
    for row in rows:
        x, y, w, h = row["bbox"]
        assert row["category_id"] in kinds
        assert 0 <= x < x + w <= WIDTH
        assert 0 <= y < y + h <= HEIGHT


def test_checksums_are_those_of_the_files(archives: Path) -> None:
    lines = (archives / "SHA256SUMS").read_text("utf-8").splitlines()
    names = ["ava_v2.2.zip", "ava_file_names_trainval_v2.1.txt", "props.json"]
    names += ["props_images.json", *film_names(**COUNTS)]
    sums = [hashlib.sha256((archives / name).read_bytes()).hexdigest() for name in names]
    assert lines == [f"{sum_}  {name}" for sum_, name in zip(sums, names, strict=True)]


def test_same_seed_same_bytes_whatever_the_workers(archives: Path, tmp_path: Path) -> None:
    render_ava(tmp_path, seed=3, seconds=8, workers=2, **COUNTS)
    assert (tmp_path / "SHA256SUMS").read_bytes() == (archives / "SHA256SUMS").read_bytes()


def test_the_scale_names_the_files_that_are_written() -> None:
    recipe = load_scale(ROOT / "config", "mini").miniature.render["ava"]
    films = {key: recipe.params[key] for key in COUNTS}
    others = ["ava_v2.2.zip", "ava_file_names_trainval_v2.1.txt", "SHA256SUMS"]
    assert recipe.files == [*others, "props.json", "props_images.json"]
    assert recipe.names is not None
    listed = listed_names(ROOT / "config" / "datasets" / recipe.names)
    assert listed == film_names(**films)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_films": 0}, "train_films is 0; each side needs at least 1"),
        ({"val_films": 0}, "val_films is 0; each side needs at least 1"),
        ({"workers": 0}, "workers is 0; at least 1 is needed"),
        ({"seconds": 7}, "seconds is 7; a film needs at least 8"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        render_ava(tmp_path, seed=0, **settings)
