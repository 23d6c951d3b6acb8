"""AVA from films and annotations to tables and frames; what is done about odd films."""

import io
import logging
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from ava_files import (
    CONTEXT,
    FIRST,
    HEIGHT,
    LAST,
    LEFT,
    MP4,
    OFFSET,
    WIDTH,
    A,
    B,
    C,
    Film,
    Raw,
    draw,
    named,
    numbers_in,
    picture,
    places,
    run,
)
from PIL import Image
from test_verify import verify

from stclip.config import Seconds
from stclip.errors import ConfigError, DataError
from stclip.prepare import films
from stclip.prepare.ava import ground_truth
from stclip.prepare.counts import count, differences, published_counts
from stclip.prepare.film_pictures import CutPictures
from stclip.prepare.resumable import JOURNAL
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.splits.key_frames import make_key_frames, parse_excluded
from stclip.storage.files import read_json

STORED = range(FIRST - CONTEXT, LAST + CONTEXT + 1)
SHORT = Film("mp4", "libx264", Fraction(10), places(10, 22))  # ends at 21.9 s


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ava")
    return run(Raw().write(folder / "raw"), folder / "out")


def test_clips(prepared: Path) -> None:
    clips = Clips.read(prepared / "clips.parquet").table.set_index("clip")
    assert clips["official_split"].to_dict() == {A: "train", B: "train", C: "val"}
    assert {*clips["num_frames"]} == {len(STORED)}
    assert {*clips["fps"]} == {1.0}
    assert {*clips["height"]} == {HEIGHT}
    assert {*clips["width"]} == {WIDTH}
    assert {name: list(actions) for name, actions in clips["actions"].items()} == {
        A: ["walk", "sit", "talk to"], B: ["walk"], C: ["sit", "read"],
    }  # fmt: skip


def test_boxes_are_pixels_of_the_stored_frames(prepared: Path) -> None:
    table = Boxes.read(prepared / "boxes.parquet").table
    rows = [(r.clip, r.frame, r.tube, list(r.actions)) for r in table.itertuples()]
    assert rows == [  # frame 0 is second 18
        (B, 3, 5, ["walk"]),
        (A, 2, 0, ["sit"]), (A, 2, 1, ["walk", "talk to"]), (A, 5, 1, ["walk"]),
        (C, 3, 0, ["sit"]), (C, 4, 0, ["sit", "read"]),
    ]  # fmt: skip
    left = np.array([LEFT[0] * WIDTH, LEFT[1] * HEIGHT, LEFT[2] * WIDTH, LEFT[3] * HEIGHT])
    assert Boxes(table[table["tube"] == 5]).boxes_xyxy == pytest.approx(left[None])


def test_frames_are_those_of_the_seconds(prepared: Path) -> None:
    for name, film in Raw().films.items():
        assert numbers_in(prepared / "frames", name) == [film.nearest(s) for s in STORED]


def test_key_frames_show_what_is_annotated(prepared: Path) -> None:
    rule = Seconds(rule="seconds", start=FIRST - CONTEXT, first=FIRST, last=LAST)
    found = make_key_frames(
        rule,
        clips=Clips.read(prepared / "clips.parquet"),
        boxes=Boxes.read(prepared / "boxes.parquet"),
        test_split="val",
        excluded=parse_excluded(Raw().excluded.encode(), "excluded.csv"),
    ).table
    assert [(r.clip, r.number, r.frame) for r in found.itertuples()] == [
        (B, 21, 3), (A, 20, 2), (A, 23, 5), (C, 20, 2), (C, 21, 3), (C, 23, 5),
    ]  # fmt: skip


def test_what_was_counted_is_kept(prepared: Path) -> None:
    found = read_json(prepared / "counts.json")
    expected = {
        "films left out": 0, "labels": 4, "seconds with key frames": 4, "train: videos": 2,
        "train: boxes": 4, "val: videos": 1, "val: excluded seconds": 1,
        "val: boxes in excluded seconds": 1,
    }  # fmt: skip
    assert {what: found[what] for what in expected} == expected


def as_others_have_it(folder: Path, files: str, *, fps: int = 30) -> Path:
    """Pictures cut from second 19 on, as mmaction2 and SlowFast cut them from second 900 on."""
    raw = Raw(films={}).unpacked(folder)
    for name in (A, B, C):
        for index in range(fps * (LAST + CONTEXT + 1 - 19)):
            path = folder / files.format(film=name, number=index + 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            if index % fps in (*range(5), *range(fps - 4, fps)):
                file = io.BytesIO()
                Image.fromarray(picture(index)).save(file, "jpeg", quality=95)
                path.write_bytes(file.getvalue())
    return raw


@pytest.mark.parametrize(
    ("files", "fps"),
    [
        ("rawframes/{film}/img_{number:05d}.jpg", 30),
        ("frames/{film}/{film}_{number:06d}.jpg", 25),
    ],
)
def test_pictures_that_others_cut(files: str, fps: int, prepared: Path, tmp_path: Path) -> None:
    cut = CutPictures(files=files, fps=fps, begin=19)
    raw, out = as_others_have_it(tmp_path / "raw", files, fps=fps), tmp_path / "out"
    run(raw, out, pictures=cut)
    # second 18 is before the first picture, which stands there too
    expected = [0, *(fps * (second - 19) for second in STORED[1:])]
    assert numbers_in(out / "frames", C) == expected
    boxes = [Boxes.read(folder / "boxes.parquet") for folder in (out, prepared)]
    assert boxes[0].content() == boxes[1].content()
    # JPEG files that need no scaling are kept as they are
    first = next((raw / files.format(film=C, number=1)).parent.iterdir())
    assert (out / "frames" / f"{C}.jpegs").read_bytes().find(
        (first.parent / Path(files.format(film=C, number=1)).name).read_bytes()
    ) == 0


def test_a_rate_of_pictures_gives_neighbours(tmp_path: Path) -> None:
    files = "rawframes/{film}/img_{number:05d}.jpg"
    raw = as_others_have_it(tmp_path / "raw", files)
    out = run(raw, tmp_path / "out", pictures=CutPictures(files=files, fps=30, begin=19), rate=30)
    around = [30 * (s - 19) + step for s in STORED for step in range(-4, 5)][4:]
    assert numbers_in(out / "frames", A) == [max(number, 0) for number in around]
    clips = Clips.read(out / "clips.parquet").table
    assert {*clips["fps"]} == {9.0}
    boxes = Boxes.read(out / "boxes.parquet").table
    assert boxes.loc[boxes["clip"] == C, "frame"].tolist() == [27, 36]  # 9 a second


def test_a_hole_between_pictures_is_named(tmp_path: Path) -> None:
    files = "rawframes/{film}/img_{number:05d}.jpg"
    raw = as_others_have_it(tmp_path / "raw", files)
    (raw / files.format(film=B, number=61)).unlink()  # second 21
    with pytest.raises(DataError, match=rf"{B}: lacks 1 pictures in between, the first at 21 s"):
        run(raw, tmp_path / "out", pictures=CutPictures(files=files, fps=30, begin=19))


def test_a_pattern_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a place for \{film\} and one for \{number\}"):
        CutPictures(files="frames/{film}/1.jpg", fps=30, begin=900)


# --- films that are missing or odd --------------------------------------------------------------


def test_all_missing_films_are_named_with_the_way_out(tmp_path: Path) -> None:
    raw = Raw(films={A: MP4})
    message = (
        rf"2 of 3 annotated films are not there \(films\): {B}, {C}.*without: \['{B}', '{C}'\]"
    )
    with pytest.raises(DataError, match=message):
        run(raw.write(tmp_path / "raw"), tmp_path / "out")


def test_one_can_go_on_without_films(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = Raw(films={B: MP4, C: OFFSET})
    out = run(raw.write(tmp_path / "raw"), tmp_path / "out", without=[A])
    assert f"without film {A} (train): 2 annotated key frames, 3 boxes" in caplog.text
    assert Clips.read(out / "clips.parquet").table["clip"].tolist() == [B, C]
    assert {*Boxes.read(out / "boxes.parquet").table["clip"]} == {B, C}
    counts = read_json(out / "counts.json")
    assert counts["films left out"] == 1
    assert counts[f"left out, {A}: annotated key frames"] == 2
    assert counts[f"left out, {A}: boxes"] == 3


@pytest.mark.parametrize(
    ("without", "message"),
    [(["zzz"], r"without: \['zzz'\] have no annotations"), ([C], "no film of val stays")],
)
def test_without_names_films_and_leaves_some(
    without: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        run(Raw().write(tmp_path / "raw"), tmp_path / "out", without=without)


def test_all_films_that_cannot_be_used_are_named_and_the_others_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raw = Raw(films={A: SHORT, B: MP4, C: OFFSET})
    source, out = raw.write(tmp_path / "raw"), tmp_path / "out"
    (source / f"{C}.mkv").write_bytes(b"<html>")
    with pytest.raises(DataError) as error:
        run(source, out)
    assert str(error.value).splitlines() == [
        "2 of 3 films cannot be used:",
        f"  {source}/{A}.mp4: has no picture for 1 key frames, seconds 23 to 23; as it says, it "
        "is 22 s long",
        f"  {source}/{C}.mkv: does not decode as video (Invalid data found when processing input)",
        "The others are kept. Get them, or go on without them: "
        f"`params: {{without: ['{A}', '{C}']}}` of the data set.",
    ]
    assert (out / ".frames.tmp" / f"{B}.jpegs").exists()
    assert (out / ".frames.tmp" / JOURNAL).exists()
    raw.films[A] = MP4
    draw(MP4, source, A)
    draw(OFFSET, source, C)
    decoded = []
    real = films.nearest

    def noted(path: Path, times: list[Fraction]) -> object:
        decoded.append(path.stem)
        return real(path, times)

    monkeypatch.setattr(films, "nearest", noted)
    with caplog.at_level(logging.INFO):
        run(source, out)
    assert sorted(decoded) == [A, C]
    assert "1 of them were stored by an earlier try" in caplog.text
    assert len(Clips.read(out / "clips.parquet")) == 3


def test_a_film_that_ends_early_where_nobody_is_annotated_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = Raw(films={A: MP4, B: SHORT, C: OFFSET})  # B is annotated in second 21 alone
    out = run(raw.write(tmp_path / "raw"), tmp_path / "out")
    told = "1 films end before the last second with a key frame, nobody is annotated after it"
    assert f"{told}: {B}" in caplog.text
    clips = Clips.read(out / "clips.parquet").table.set_index("clip")
    assert clips["num_frames"].to_dict() == {A: 8, B: 5, C: 8}  # 18 to 22, which is near 21.9


def test_an_odd_rate_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    slow = Film("mp4", "libx264", Fraction(6), places(6, 27))
    run(Raw(films={A: MP4, B: slow, C: OFFSET}).write(tmp_path / "raw"), tmp_path / "out")
    assert f"1 films have a rate beyond 10 to 61 frames/s: {B} (6.000)" in caplog.text


def test_a_film_that_was_replaced_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = Raw().write(tmp_path / "raw"), tmp_path / "out"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    real = films.nearest

    def dies(path: Path, times: list[Fraction]) -> object:
        if path.stem == C:
            raise KeyboardInterrupt
        return real(path, times)

    with monkeypatch.context() as patched:
        patched.setattr(films, "nearest", dies)
        with pytest.raises(KeyboardInterrupt):
            run(source, out)
    os.utime(source / f"{A}.mp4", (1, 1))
    decoded = []
    monkeypatch.setattr(films, "nearest", lambda p, t: [decoded.append(p.stem), real(p, t)][1])
    run(source, out)
    assert sorted(decoded) == [A, C]


def test_several_threads_give_the_same(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    out = run(Raw().write(tmp_path / "raw"), tmp_path / "out")
    for name in (A, B, C):
        file = f"frames/{name}.jpegs"
        assert (out / file).read_bytes() == (prepared / file).read_bytes()
    assert (out / "clips.parquet").read_bytes() == (prepared / "clips.parquet").read_bytes()


def test_films_may_lie_in_a_folder_beside_the_annotations(prepared: Path, tmp_path: Path) -> None:
    out = run(Raw().unpacked(tmp_path / "raw"), tmp_path / "out")
    assert (out / "boxes.parquet").read_bytes() == (prepared / "boxes.parquet").read_bytes()


def test_frames_of_a_larger_film_are_made_smaller_and_boxes_with_them(tmp_path: Path) -> None:
    raw = Raw()
    out = run(raw.write(tmp_path / "raw"), tmp_path / "out", short_side=24)
    clips = Clips.read(out / "clips.parquet").table
    assert {*zip(clips["height"], clips["width"], strict=True)} == {(24, WIDTH // 2)}
    boxes = Boxes.read(out / "boxes.parquet")
    assert boxes.boxes_xyxy[0] == pytest.approx([9.6, 6, 48, 24])
    assert numbers_in(out / "frames", A) == [MP4.nearest(second) for second in STORED]


def test_what_is_prepared_is_compared_with_what_is_published(prepared: Path) -> None:
    status, printed = verify("--clips", str(prepared / "clips.parquet"), "--boxes",
                             str(prepared / "boxes.parquet"), dataset="ava")  # fmt: skip
    assert status == 1
    for row in ("all: videos 299 3", "val: videos 64 1", "labels 80 4",
                "val: excluded seconds 37 1"):  # fmt: skip
        assert row in printed
    assert "films left out" not in printed  # 0 both
    assert "class " not in printed  # nothing is published of classes
    assert "10 counts differ; 11 are published" in printed


def test_counts_that_the_data_set_names_agree(prepared: Path) -> None:
    content = {
        "all": [3], "train": [2], "val": [1],
        "counted": {"labels": 4, "seconds with key frames": 4, "val: excluded seconds": 1},
    }  # fmt: skip
    published = published_counts(content, "ava_counts.yaml")
    found = count(
        Clips.read(prepared / "clips.parquet"), Boxes.read(prepared / "boxes.parquet"), [],
        units=published.units,
    )  # fmt: skip
    own = read_json(prepared / "counts.json")
    assert differences(published.counts, published.comparable(found, own=own)) == []
    missing = differences(published.counts, published.comparable(found, own={}))
    assert [d.what for d in missing] == [*content["counted"]]
    with pytest.raises(ConfigError, match=r"ava_counts\.yaml: counted: expected whole numbers"):
        published_counts({"counted": {"labels": "4"}}, "ava_counts.yaml")


def test_annotations_are_read_without_films(prepared: Path, tmp_path: Path) -> None:
    raw = Raw()
    (clips, boxes), counts = ground_truth(raw.annotated(tmp_path / "raw"), **named())
    expected = Boxes.read(prepared / "boxes.parquet").table
    assert boxes.table[["clip", "tube"]].equals(expected[["clip", "tube"]])
    assert (boxes.table["frame"] + CONTEXT).tolist() == expected["frame"].tolist()
    pixels = boxes.table[BOX_COLUMNS] * np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    assert np.allclose(pixels, expected[BOX_COLUMNS], atol=1e-4)
    about = clips.table.set_index("clip")
    assert about["official_split"].to_dict() == {A: "train", B: "train", C: "val"}
    assert {*about["num_frames"], *about["width"], *about["height"]} == {0}
    assert counts == read_json(prepared / "counts.json")
    (tmp_path / "raw" / "ava.zip").unlink()
    with pytest.raises(DataError, match=r"neither ava\.zip/labels\.pbtxt nor"):
        ground_truth(tmp_path / "raw", **named())


def test_a_folder_of_annotations_needs_a_module_that_reads_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder, and stclip\.prepare\.jhmdb reads no"):
        verify("--ground-truth", str(tmp_path), dataset="jhmdb")
