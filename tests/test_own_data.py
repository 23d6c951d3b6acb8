"""One's own videos and annotations become clips, boxes and frames; nothing is dropped silently."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_videos import FPS, FRAMES, HEIGHT, WIDTH, number_of
from own_annotations import HEADER, LABELLED, SLOWER, line, write_videos

from stclip.errors import DataError
from stclip.prepare.import_record import Settings
from stclip.prepare.named_labels import read_label_list
from stclip.prepare.own_import import Imported, import_annotations
from stclip.prepare.survey import SUFFIXES, find_videos, survey_video
from stclip.prepare.videos import VideoFile, read_pictures
from stclip.records import BOX_COLUMNS, LabelSplit
from stclip.report.annotation_sheet import choose_frames, fastest
from stclip.splits.label_splits import resolve_split

SPLIT = LabelSplit("mine", "own", "1", base=("run", "sit"), unseen=("wave",), rule="by hand")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("mine"))


def imported(folder: Path, text: str, *, split: LabelSplit = SPLIT, **settings: Any) -> Imported:
    path = folder / "annotations.csv"
    path.write_text(text)
    return import_annotations(
        "mine", Settings(annotations=[str(path)], **settings), videos=folder / "videos",
        labels=folder / "labels.txt", licence="mine", splits=[split], test_split="test",
        together=False, patience_s=0.5, cache=folder / "own",
    )  # fmt: skip


def rows_of(found: Imported) -> dict[str, int]:
    return {row.why: row.count for row in found.record.rows}


def test_videos_are_found_and_looked_through(folder: Path) -> None:
    found = find_videos(folder / "videos")
    assert set(found) == set("abcdef")
    a, b, c, d = (survey_video(VideoFile(n, found[n], n)) for n in "abcd")
    assert (a.num_frames, a.height, a.width, a.fps, a.times_s) == (FRAMES, HEIGHT, WIDTH, FPS, None)
    assert (b.height, b.width, b.is_turned, a.is_turned) == (WIDTH, HEIGHT, True, False)
    assert c.times_s == pytest.approx([place / FPS for place in SLOWER], abs=2e-3)
    assert (d.height, d.width) == (96, 160)
    # nearest in time: 0.3 s lies between frames 6 (0.4 s) and 5 (0.2 s)
    assert c.frame_at(np.array([0.0, 0.29, 0.31, 1.4, 3.0])).tolist() == [0, 5, 6, 11, FRAMES]
    assert a.frame_at(np.array([0.0, 0.12, 0.48])).tolist() == [0, 3, FRAMES]


def test_a_turned_video_is_stored_as_players_show_it(folder: Path) -> None:
    shown = read_pictures(VideoFile("b", folder / "videos" / "b.mp4", "b"), {5})[5]
    assert shown.shape == (WIDTH, HEIGHT, 3)
    turned_back = {turns: np.rot90(shown, turns) for turns in (1, 3)}
    assert [t for t, pixels in turned_back.items() if number_of(pixels) == 5] == [
        1
    ]  # was clockwise


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"has no video, a file ending in \.3gp"),
        (["x/a.mp4", "y/a.avi"], r"y/a\.avi: video 'a' is there twice, as .*x/a\.mp4 too; rename"),
        (["a=b.mp4"], r"video 'a=b': a name stands in paths"),
    ],
)
def test_a_folder_that_will_not_do(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=message):
        find_videos(tmp_path)
    with pytest.raises(DataError, match="no such folder; it should hold the videos"):
        find_videos(tmp_path / "none")
    assert ".mp4" in SUFFIXES


def test_an_import_gives_the_records_of_the_road(folder: Path) -> None:
    found = imported(folder, HEADER + LABELLED)
    clips = found.clips.table.set_index("clip")
    assert clips["actions"].map(list).to_dict() == {
        "a": ["run"], "b": ["run"], "c": ["sit"], "d": ["sit"], "e": ["wave"], "f": ["wave"],
    }  # fmt: skip
    assert clips["num_frames"].tolist() == [FRAMES] * 6
    assert sorted(clips["official_split"]) == ["test"] * 3 + ["train"] * 3  # one of each label
    assert (
        clips.groupby(clips["actions"].map(tuple))["official_split"].nunique().tolist() == [2] * 3
    )
    assert len(found.boxes) == 12
    assert found.record.splits[0].model_dump() == {"split": "1", "train": 2, "unseen": 1, "base": 2}
    assert found.record.notes == [
        "1 videos are turned, as their files say: b",
        "1 videos have a varying frame rate: c",
        "sizes of videos: 4 of 80x48, 1 of 48x80, 1 of 160x96",
    ]
    assert resolve_split(SPLIT, found.clips).train_clips
    again = imported(folder, HEADER + LABELLED)
    assert again.clips.content() == found.clips.content()
    assert again.record == found.record


def test_each_bad_row_is_dropped_with_its_reason_and_place(folder: Path) -> None:
    bad = [
        line("lost.mp4", 1, "run"),  # line 14
        line("a", 0, "run"),
        line("a", FRAMES, "run"),
        line("a", 1, "run", 30, 5, 10, 40),
        line("a", 1, "run", 90, 5, 99, 40),
        line("a", 2, "run"),
        line("a", 3, "run", 60, 5, 99, 40),
        line("a", 4, "run", 1, 1, 20, 20),
        line("a", 4, "run", 40, 1, 60, 20),
        line("a", 5, ""),
        line("a", 6, "dance"),
    ]
    found = imported(folder, HEADER + LABELLED + "".join(bad), ignored_labels=["dance"])
    assert rows_of(found) == {
        "rows of videos that the folder lacks": 1,
        "rows of ignored labels (dance)": 1,
        "rows of frames beyond the end of their video": 1,
        "boxes without area (x2 <= x1 or y2 <= y1)": 1,
        "boxes that leave the picture, cut at its border": 1,
        "boxes outside the picture": 1,
        "rows that are there twice": 1,
        "persons with a second box in the same frame": 1,
        "boxes without label: scored, but never right": 1,
    }
    assert found.record.missing == {"lost.mp4": 1}
    assert found.record.rows[0].places == [f"{folder / 'annotations.csv'}: line 14"]
    assert len(found.boxes) == 12 + 5
    cut = found.boxes.table.query("clip == 'a' and frame == 3")[BOX_COLUMNS].to_numpy().tolist()
    assert cut == [[60, 5, WIDTH, 40]]
    text = found.record.text()
    assert "  lost.mp4: 1 rows" in text
    assert "boxes outside the picture" in text


def many(*box: float, videos: str = "abcdef") -> str:
    return "".join(line(v, f, "run", *box, person="") for v in videos for f in range(5))


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        (many(0.1, 0.1, 0.5, 0.9), {}, r"nearly all of the 30 boxes look like shares of the pict"),
        (many(10, 5, 8, 20), {}, r"look like x, y, width, height.*--unit, --box-format"),
        (many(), {"read_as": {"unit": "fractions"}}, r"look like pixels; expected are shares"),
        (line("a", 0, "run"), {"read_as": {"first_frame": 1}}, r"line 2: frame 0 is before the fi"),
        (line("a", 0, "rum"), {}, r"line 2: labels that are not .*\['rum'\].*nearest is 'run'.*"),
        (line("z", 0, "run"), {}, r"none of the 1 rows matches any of the 6 videos"),
        (line("a", 99, "run"), {}, r"no box is left"),
        (line("a", 0, "run"), {"without": ["q"]}, r"--without: .* has no videos \['q'\]"),
    ],
)  # fmt: skip
def test_what_is_read_wrongly_as_a_whole_is_an_error(
    folder: Path, rows: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        imported(folder, HEADER + rows, **settings)


def test_units_are_converted(folder: Path) -> None:
    shares = imported(folder, HEADER + many(0.1, 0.25, 0.5, 0.75), read_as={"unit": "fractions"})
    of_d = shares.boxes.table.query("clip == 'd' and frame == 0")[BOX_COLUMNS].to_numpy()
    np.testing.assert_allclose(of_d, [[16, 24, 80, 72]])
    sides = imported(folder, HEADER + many(10, 5, 8, 20), read_as={"box_format": "xywh"})
    assert sides.boxes.boxes_xyxy[0].tolist() == [10, 5, 18, 25]
    kept = imported(folder, HEADER + many(0.1, 0.1, 0.5, 0.9), as_they_are=True)
    assert len(kept.boxes) == 30


def test_frames_that_count_from_one(folder: Path) -> None:
    text = HEADER + line("a", 1, "run") + line("a", FRAMES, "run")
    (row,) = (r for r in imported(folder, text).record.rows if "beyond" in r.why)
    assert "is that number 1? Then --first-frame 1" in row.why
    found = imported(folder, text, read_as={"first_frame": 1})
    assert found.boxes.table["frame"].tolist() == [0, FRAMES - 1]


def test_seconds_go_to_the_frame_that_is_shown_then(folder: Path) -> None:
    text = "a,0.12,0.1,0.1,0.5,0.9,1\nc,0.4,0.1,0.1,0.5,0.9,sit\nc,9,0.1,0.1,0.5,0.9,sit\n"
    found = imported(folder, text)
    table = found.boxes.table
    assert list(zip(table["clip"], table["frame"], strict=True)) == [("a", 3), ("c", 6)]
    assert [list(actions) for actions in table["actions"]] == [["run"], ["sit"]]  # 1 is a number
    assert rows_of(found) == {"rows of frames beyond the end of their video": 1}


def test_several_labels_of_a_person_are_one_box(folder: Path) -> None:
    text = HEADER + line("a", 1, "wave") + line("a", 1, "run") + line("a", 2, "sit", person=2)
    table = imported(folder, text).boxes.table
    assert [list(own) for own in table["actions"]] == [["run", "wave"], ["sit"]]
    assert table["tube"].tolist() == [0, 1]


def test_persons_keep_their_numbers_beside_those_without_a_name(folder: Path) -> None:
    rows = [("x", 0), ("", 0), ("", 0), ("y", 1), ("x", 1), ("", 1)]
    text = "".join(
        line("a", frame, "run", 5 * place, 5, 5 * place + 20, 40, person=person)
        for place, (person, frame) in enumerate(rows)
    )
    table = imported(folder, HEADER + text).boxes.table.sort_values(["frame", "x1"])
    assert table["tube"].tolist() == [0, 2, 3, 1, 0, 2]  # x is 0 and y is 1 in both frames


def test_frames_too_far_apart_for_tracks_are_told(folder: Path) -> None:
    text = HEADER + line("c", 6, "run") + line("c", 11, "run")
    (note,) = (n for n in imported(folder, text).record.notes if "apart" in n)
    # 5 frames at the video's mean rate of 11 frames in 1.4 s
    assert note.startswith("annotated frames are 0.636 s apart, and tracks end after 0.5 s")
    assert "patience_s: 1.27" in note


def test_boxes_without_labels_can_be_scored(folder: Path) -> None:
    found = imported(folder, "video,frame,x1,y1,x2,y2\na,1,10,5,30,40\ne,2,10,5,30,40\n")
    assert found.record.unlabelled_boxes == len(found.boxes) == 2
    assert set(found.clips.table["official_split"]) == {"test"}
    assert "no box has a label: boxes can be scored" in found.record.notes[-1]
    split = resolve_split(SPLIT, found.clips)
    assert (split.unseen_clips, split.base_clips, split.train_clips) == (("a", "e"), ("a", "e"), ())


def test_labels_without_boxes_are_of_whole_pictures(folder: Path) -> None:
    found = imported(folder, "video,frame,class\na,3,run\nb,,run\nc,,sit\n")
    table = found.boxes.table
    assert table.groupby("clip")["frame"].agg(list).to_dict() == {"a": [3], "b": [0], "c": [0, 9]}
    assert table[BOX_COLUMNS].to_numpy()[1].tolist() == [0, 0, HEIGHT, WIDTH]  # b is turned
    assert found.record.whole_pictures == 4
    assert any(note.startswith("4 boxes are whole pictures") for note in found.record.notes)


def test_tested_videos_can_be_listed(folder: Path) -> None:
    listed = folder / "test.txt"
    listed.write_text("a.mp4\n\ne\n")
    found = imported(folder, HEADER + LABELLED, test_list=str(listed))
    tested = found.clips.table.query("official_split == 'test'")["clip"].tolist()
    assert tested == ["a", "e"]
    assert found.record.notes[-1].startswith("sizes")
    listed.write_text("a\nnobody\n")
    with pytest.raises(DataError, match=r"test\.txt: line 2: 'nobody' is no annotated video"):
        imported(folder, HEADER + LABELLED, test_list=str(listed))
    listed.write_text("e\n")
    found = imported(folder, HEADER + LABELLED, test_list=str(listed))
    assert found.record.notes[-1].startswith("label split 1 selects no clips for base; it cannot")


def test_a_video_that_does_not_decode_is_named(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "mine", ignore=shutil.ignore_patterns("own"))
    broken = tmp_path / "mine" / "videos" / "a.mp4"
    broken.write_bytes(b"no video at all")
    with pytest.raises(
        DataError, match=r"(?s)1 of 6 videos .*a\.mp4: does not decode.*--without a"
    ):
        imported(tmp_path / "mine", HEADER + LABELLED)
    found = imported(tmp_path / "mine", HEADER + LABELLED, without=["a"])
    assert "a" not in set(found.clips.table["clip"])
    assert (found.record.missing, rows_of(found)) == (
        {}, {"rows of videos that --without leaves out": 2},
    )  # fmt: skip


def test_what_moves_most_is_shown_on_three_frames() -> None:
    rows = [("a", f, 10.0 + 8 * f, 5.0, 30.0 + 8 * f, 40.0, 0, ["run"]) for f in range(4)]
    rows += [("b", f, 10.0, 5.0, 30.0, 40.0, 0, ["sit"]) for f in range(4)]
    rows += [("c", 3, 10.0, 5.0, 30.0, 40.0, 0, [])]
    boxes = pd.DataFrame(rows, columns=["clip", "frame", *BOX_COLUMNS, "tube", "actions"])
    assert [(m.clip, m.frame) for m in fastest(boxes)] == [("a", 1)]  # which has a frame before
    assert choose_frames(boxes)[:5] == [("c", 3), ("a", 2), ("b", 2), ("a", 0), ("b", 0)]
    assert len(choose_frames(boxes)) == 1 + 2 * 4  # every frame of the others, once


def test_a_label_list_is_lines_or_a_label_map(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text("id,name\n3,run\n7,sit\n")
    assert read_label_list(path).name_of("7") == "sit"
    for text, message in (("run\nrun\n", r"line 2: 'run' stands in line 1 too"),
                          ("run\n", r"has 1 labels; at least two")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_label_list(path)
