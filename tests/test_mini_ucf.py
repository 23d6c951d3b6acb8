"""The miniature of UCF101-24: archives in the official layout, codec quirks, annotations."""

import hashlib
import io
import json
import pickle
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import rarfile
from rar4 import write_rar

from stclip.errors import ConfigError
from stclip.mini import ucf_archives
from stclip.mini.avi import DIVX_PACKED, Manner, as_avi
from stclip.mini.render import HEIGHT, WIDTH
from stclip.mini.ucf.film import Film, Tube
from stclip.mini.ucf.repertoire import UCF_ACTIONS
from stclip.mini.ucf_archives import render_ucf
from stclip.storage.restricted_pickle import load_pickle

CLASSES = ("Biking", "IceDancing", "LongJump")
FILES = ("UCF101_videos.zip", "pyannot.pkl", "testlist01.txt", "props.json", "props_images.json")
NUM_BLOCKS, BLOCK = 6, 16  # a frame's number in black and white blocks at its upper edge


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ucf")
    render_ucf(out, seed=3, train_videos=1, test_videos=1, classes=CLASSES)
    return out


def videos_of(archives: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archives / "UCF101_videos.zip") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        return {name: archive.read(name) for name in archive.namelist()}


def decoded(content: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(content)) as container:
        return list(container.decode(video=0))


def numbered(count: int) -> np.ndarray:
    """Frames (count, H, W, 3) that show their numbers."""
    frames = np.full((count, HEIGHT, WIDTH, 3), 128, np.uint8)
    for number, frame in enumerate(frames):
        for i in range(NUM_BLOCKS):
            frame[:BLOCK, i * BLOCK : (i + 1) * BLOCK] = 255 if number >> i & 1 else 0
    return frames


def number_of(frame: av.VideoFrame) -> int:
    picture = frame.to_ndarray(format="rgb24")
    middles = [picture[BLOCK // 2, i * BLOCK + BLOCK // 2].mean() for i in range(NUM_BLOCKS)]
    return sum(int(middle > 127) << i for i, middle in enumerate(middles))


@pytest.mark.parametrize("manner", Manner)
@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_decoded_in_order_every_frame_comes_back(manner: Manner, count: int) -> None:
    film = numbered(count)
    content = as_avi(film, manner=manner)
    assert content == as_avi(film, manner=manner)
    assert [number_of(frame) for frame in decoded(content)] == list(range(count))


def test_key_frames_and_times_are_those_of_the_manner() -> None:
    keys, times, chunks = {}, {}, {}
    for manner in Manner:
        content = as_avi(numbered(40), manner=manner)
        times[manner] = [frame.pts for frame in decoded(content)]
        with av.open(io.BytesIO(content)) as container:
            stream = container.streams.video[0]
            assert (stream.average_rate, stream.width, stream.height) == (25, WIDTH, HEIGHT)
            packets = [bytes(p) for p in container.demux(stream) if p.size]
            container.seek(0)
            keys[manner] = [i for i, p in enumerate(container.demux(stream)) if p.is_keyframe]
        chunks[manner] = packets
    assert keys == {Manner.PLAIN: [0, 12, 24, 36], Manner.ONE_KEY: [0], Manner.PACKED: [0]}
    assert times[Manner.PLAIN] == times[Manner.ONE_KEY] == list(range(40))
    assert times[Manner.PACKED] != sorted(times[Manner.PACKED])  # sorted by time it is scrambled
    pictures = [chunk.count(b"\x00\x00\x01\xb6") for chunk in chunks[Manner.PACKED]]
    # 40 frames: I, then 19 times P with the B before it and "not coded", then a P left over.
    assert pictures == [1, *[2, 1] * 19, 1]
    assert DIVX_PACKED in chunks[Manner.PACKED][0]
    assert [len(c) for c in chunks[Manner.PACKED][2::2]] == [6] * 19
    # Type P 01, 0, marker 1, frame 2 of 25 as 00010, marker 1, not coded 0, stuffing 01111.
    assert chunks[Manner.PACKED][2][4:] == bytes([0b01010001, 0b01001111])


def test_archive_has_the_official_names_and_a_class_without_boxes(archives: Path) -> None:
    names = list(videos_of(archives))
    assert names == [
        "UCF101/v_ApplyEyeMakeup_g01_c01.avi",
        "UCF101/v_ApplyEyeMakeup_g08_c01.avi",
        "UCF101/v_Biking_g01_c01.avi",
        "UCF101/v_Biking_g08_c01.avi",
        "UCF101/v_IceDancing_g01_c01.avi",
        "UCF101/v_IceDancing_g08_c01.avi",
        "UCF101/v_LongJump_g01_c01.avi",
        "UCF101/v_LongJump_g02_c01.avi",  # never annotated
        "UCF101/v_LongJump_g08_c01.avi",
    ]


def test_groups_are_those_of_the_official_split() -> None:
    jobs = ucf_archives._jobs(["Diving"], 0, {"test": 8, "train": 19})
    videos = [job.video for job in jobs if job.class_name == "Diving"]
    assert videos[6:8] == ["v_Diving_g07_c01", "v_Diving_g01_c02"]
    # Training begins at group 8 and wraps after group 25; one more was never annotated.
    assert [videos[i] for i in (8, 25, 26, 27)] == [
        f"v_Diving_{clip}" for clip in ("g08_c01", "g25_c01", "g08_c02", "g09_c02")
    ]


def test_annotations_have_the_exact_types(archives: Path) -> None:
    content = (archives / "pyannot.pkl").read_bytes()
    database = pickle.loads(content)
    assert list(database) == [f"{c}/v_{c}_{g}_c01" for c in CLASSES for g in ("g01", "g08")]
    videos = videos_of(archives)
    for key, video in database.items():
        assert list(video) == ["numf", "label", "annotations"]
        action, name = key.split("/")
        assert type(video["numf"]) is np.uint8
        assert len(decoded(videos[f"UCF101/{name}.avi"])) == video["numf"]
        assert video["label"] == UCF_ACTIONS.index(action)
        assert video["annotations"]
        for tube in video["annotations"]:
            assert list(tube) == ["label", "sf", "ef", "boxes"]
            assert {type(tube[k]) for k in ("label", "sf", "ef")} == {int}
            assert tube["label"] == video["label"]
            assert tube["boxes"].dtype == np.uint8
            assert tube["boxes"].shape == (tube["ef"] - tube["sf"], 4)
            assert 0 <= tube["sf"] < tube["ef"] <= video["numf"]
            x, y, w, h = tube["boxes"].astype(int).T
            assert min(x.min(), y.min(), w.min(), h.min()) >= 1
            assert (x + w).max() <= WIDTH
            assert (y + h).max() <= HEIGHT
    assert len(database["IceDancing/v_IceDancing_g01_c01"]["annotations"]) >= 2  # a pair
    again = load_pickle(content, "pyannot.pkl")
    assert again.keys() == database.keys()
    assert all(again[k]["numf"] == v["numf"] for k, v in database.items())


def test_boxes_and_numbers_follow_the_corrected_annotations() -> None:
    # Columns 4 to 9 and rows 0 to 5, from 0: x 5 and y 1 from 1; the last column is x - 1 + w.
    box = np.array([[4, 0, 9, 5]], np.float32)
    job = ucf_archives._Job(0, "Biking", "Biking", "test", 0, 96, 96)
    packed = ucf_archives._Packed(job, b"", 260, (Tube(7, box.repeat(3, 0)),), [])
    annotation = ucf_archives._annotation(packed)
    assert type(annotation["numf"]) is np.uint16
    assert (annotation["numf"], annotation["label"]) == (260, 2)
    (tube,) = annotation["annotations"]
    assert (tube["sf"], tube["ef"]) == (7, 10)
    assert tube["boxes"].tolist() == [[5, 1, 5, 5]] * 3
    assert tube["boxes"].dtype == np.uint8
    assert ucf_archives._boxes(np.array([[299, 0, 310, 9]], np.float32)).dtype == np.uint16


def test_a_box_without_width_ends_a_tube() -> None:
    boxes = np.array([[0, 0, 5, 5], [3, 0, 3, 5], [1, 0, 5, 5], [2, 0, 5, 5]], np.float32)
    film = Film(np.zeros((6, 1, 1, 3), np.uint8), (Tube(2, boxes),), (), (), "", "", 1)
    tubes = ucf_archives._annotated(film, 1.0)
    assert [(tube.first, tube.boxes_xyxy.tolist()) for tube in tubes] == [
        (2, [[0, 0, 5, 5]]),
        (4, [[1, 0, 5, 5], [2, 0, 5, 5]]),
    ]


def test_annotated_boxes_are_the_drawn_ones(
    archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films: list[Film] = []
    render = ucf_archives.render_film
    monkeypatch.setattr(
        ucf_archives,
        "render_film",
        lambda *args, **settings: films.append(render(*args, **settings)) or films[-1],
    )
    ucf_archives._pack(ucf_archives._Job(3, "Biking", "Biking", "test", 0, 96, 96))
    database = pickle.loads((archives / "pyannot.pkl").read_bytes())
    annotations = database["Biking/v_Biking_g01_c01"]["annotations"]
    assert len(annotations) == len(films[0].tubes)
    for annotation, tube in zip(annotations, films[0].tubes, strict=True):
        x, y, w, h = annotation["boxes"].astype(int).T
        assert annotation["sf"] == tube.first
        assert np.array_equal(np.stack([x - 1, y - 1, x + w - 1, y + h - 1], 1), tube.boxes_xyxy)


def test_the_test_list_holds_annotated_videos_without_suffix(archives: Path) -> None:
    text = (archives / "testlist01.txt").read_text("utf-8")
    assert text == "\n".join(f"{c}/v_{c}_g01_c01" for c in CLASSES)


def test_props_are_told_of_every_frame_of_the_annotated_videos(archives: Path) -> None:
    listed = json.loads((archives / "props_images.json").read_text("utf-8"))
    database = pickle.loads((archives / "pyannot.pkl").read_bytes())
    frames = [image["file_name"] for image in listed["images"]]
    assert Counter(name.rpartition("/")[0] for name in frames) == {
        key: int(video["numf"]) for key, video in database.items()
    }
    assert frames[0] == "Biking/v_Biking_g01_c01/00001.jpg"
    kinds = {category["id"]: category["name"] for category in listed["categories"]}
    assert min(kinds) == 2  # 1 are persons
    rows = json.loads((archives / "props.json").read_text("utf-8"))
    of_biking = [row for row in rows if frames[row["image_id"] - 1].startswith("Biking/")]
    assert {kinds[row["category_id"]] for row in of_biking} == {"bicycle"}
    for x, y, w, h in (row["bbox"] for row in rows):
        assert 0 <= x < x + w <= WIDTH
        assert 0 <= y < y + h <= HEIGHT


def test_checksums_are_those_of_the_files(archives: Path) -> None:
    lines = (archives / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: hashlib.sha256((archives / name).read_bytes()).hexdigest() for name in FILES}
    assert lines == [f"{sums[name]}  {name}" for name in FILES]
    assert sorted(path.name for path in archives.iterdir()) == sorted((*FILES, "SHA256SUMS"))


def test_same_seed_same_bytes_whatever_the_workers(archives: Path, tmp_path: Path) -> None:
    render_ucf(tmp_path, seed=3, train_videos=1, test_videos=1, classes=CLASSES, workers=2)
    assert (tmp_path / "SHA256SUMS").read_bytes() == (archives / "SHA256SUMS").read_bytes()


def test_a_rar_of_the_videos_reads_back_identical(archives: Path, tmp_path: Path) -> None:
    videos = videos_of(archives)
    path = tmp_path / "UCF101.rar"
    write_rar(path, {"UCF-101": None} | {f"UCF-101/{Path(n).name}": videos[n] for n in videos})
    with rarfile.RarFile(path) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        read = {f"UCF101/{Path(info.filename).name}": archive.read(info) for info in files}
    assert read == videos
    subprocess.run(["unar", "-q", "-o", tmp_path / "out", path], check=True)
    unpacked = {f"UCF101/{p.name}": p.read_bytes() for p in (tmp_path / "out").rglob("*.avi")}
    assert unpacked == videos


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_videos": 0}, "train_videos is 0; each class needs at least 1"),
        ({"test_videos": 0}, "test_videos is 0; each class needs at least 1"),
        ({"workers": 0}, "workers is 0; at least 1 is needed"),
        ({"classes": ("Bikin",)}, r"classes: unknown \['Bikin'\]; expected some of \['Basketball'"),
        ({"classes": ()}, "classes: unknown"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        render_ucf(tmp_path, seed=0, **settings)
