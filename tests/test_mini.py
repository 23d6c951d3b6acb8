"""The miniature's drawings and archives."""

import hashlib
import io
import re
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.io import loadmat

from stclip.errors import ConfigError
from stclip.mini import jhmdb_archives as jhmdb
from stclip.mini.choreography import (
    ACTIONS,
    CHOREOGRAPHIES,
    Choreography,
    joints,
    load_repertoire,
    pose,
)
from stclip.mini.drawing import tight_box
from stclip.mini.jhmdb_archives import SHORT_MASKS, render_jhmdb
from stclip.mini.render import HEIGHT, WIDTH, render
from stclip.mini.scenery import STILL, VIDEO

TRAIN, TEST = 1, 2
ARCHIVES = ("Rename_Images.tar.gz", "splits.zip", "puppet_mask.zip")
BESIDE = ("SHA256SUMS", "props.json", "props_images.json")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("jhmdb")
    render_jhmdb(out, seed=3, train_videos=TRAIN, test_videos=TEST)
    return out


def frames_of(archives: Path) -> dict[tuple[str, str], list[tuple[str, bytes]]]:
    """File names and bytes of each (class, video), in archive order."""
    frames: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
    with tarfile.open(archives / "Rename_Images.tar.gz") as tar:
        for member in tar:
            root, action, video, file = member.name.split("/")
            assert root == "Rename_Images"
            stream = tar.extractfile(member)
            assert stream is not None
            frames.setdefault((action, video), []).append((file, stream.read()))
    return frames


def masks_of(archives: Path) -> dict[tuple[str, str], np.ndarray]:
    masks = {}
    with zipfile.ZipFile(archives / "puppet_mask.zip") as archive:
        for name in archive.namelist():
            root, action, video, file = name.split("/")
            assert (root, file) == ("puppet_mask", "puppet_mask.mat")
            masks[action, video] = loadmat(io.BytesIO(archive.read(name)))["part_mask"]
    return masks


def test_the_choreographies_are_the_21_official_actions() -> None:
    repertoire = load_repertoire()
    assert len(ACTIONS) == 21
    assert tuple(repertoire.actions) == ACTIONS == tuple(sorted(ACTIONS))
    assert all(choreography.phrases for choreography in repertoire.actions.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["actions"]["clap"].update(facng="front"), r"actions\.clap\.facng"),
        (lambda c: c["actions"]["clap"]["keys"][0].update(tail=3), r"clap\.keys\.0\.tail"),
        (lambda c: c["actions"].pop("golf"), r"missing \['golf'\]"),
        (lambda c: c["actions"]["sit"].update(scene="moon"), r"sit: unknown scene 'moon'; known"),
        (lambda c: c["actions"]["run"]["keys"].pop(), "times must rise from 0 to 1"),
        (lambda c: c["actions"]["run"]["keys"][-1].update(torso=50), "end in the pose it began"),
        (lambda c: c["actions"]["throw"]["props"][0].pop("motion"), "a ball needs a motion"),
        (lambda c: c["actions"].update(sit=[]), r"actions\.sit: .*dictionary"),
    ],
)
def test_a_wrong_choreography_is_named(change, message, tmp_path: Path) -> None:
    content = yaml.safe_load(CHOREOGRAPHIES.read_text("utf-8"))
    change(content)
    path = tmp_path / "choreographies.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    with pytest.raises(ConfigError, match=message) as error:
        load_repertoire(path)
    assert str(path) in str(error.value)


def standing(**key: object) -> dict[str, object]:
    limbs = dict.fromkeys(["near_arm", "far_arm", "near_leg", "far_leg"], (0, 0))
    return {"torso": 0, "head": 0, "lift": 0} | limbs | key


def test_poses_are_eased_between_keys_and_scaled_about_their_mean() -> None:
    keys = [standing(at=0), standing(at=1, near_arm=(80, 40))]
    choreography = Choreography.model_validate({"keys": keys, "scene": "room"})
    settings = {"num_cycles": 1.0, "phase": 0.0, "jitter": np.zeros(11)}
    # Eased weight at 1/4: 3 (1/4)^2 - 2 (1/4)^3 = 10/64; 80 and 40 degrees times that.
    angles = pose(choreography, np.array([0.25, 1.0]), amplitude=1.0, **settings)
    assert angles[:, 2:4] == pytest.approx(np.array([[12.5, 6.25], [80, 40]]))
    # Half the amplitude about the mean pose 40: the end is 40 + (80 - 40) / 2.
    angles = pose(choreography, np.array([1.0]), amplitude=0.5, **settings)
    assert angles[0, 2] == pytest.approx(60)


def test_back_and_forth_returns_after_a_cycle() -> None:
    keys = [standing(at=0), standing(at=1, torso=30)]
    content = {"keys": keys, "scene": "room", "cycles": (1, 1), "back_and_forth": True}
    choreography = Choreography.model_validate(content)
    times = np.array([0, 0.25, 0.5])  # two cycles: start, turning point, back again
    angles = pose(choreography, times, num_cycles=2, phase=0, amplitude=1, jitter=np.zeros(11))
    assert angles[:, 0] == pytest.approx([0, 30, 0])


def test_an_upright_body_stands_on_the_ground() -> None:
    keys = [standing(at=0), standing(at=1)]
    content = {"keys": keys, "scene": "room", "travel": 0.5, "facing": "front"}
    choreography = Choreography.model_validate(content)
    angles, times = np.zeros((2, 11)), np.array([0.5, 1.0])
    at = joints(choreography, angles, times, proportions={})
    assert at["near_foot"][0] == pytest.approx([0.042, 0])
    assert at["hip"][0] == pytest.approx([0, 0.48])  # thigh 0.245 and shin 0.235
    assert at["head"][0] == pytest.approx([0, 0.895])  # torso 0.3 and head 0.115 above
    assert at["far_hand"][0] == pytest.approx([-0.07, 0.45])  # arm 0.33 below the neck's 0.78
    assert at["hip"][1] == pytest.approx([0.25, 0.48])  # half of the travel from the middle on


def test_tight_box_has_inclusive_corners() -> None:
    mask = np.zeros((5, 8), np.uint8)
    assert tight_box(mask) is None
    mask[1:3, 2:6] = 1  # rows 1 and 2, columns 2 to 5
    assert tight_box(mask) == pytest.approx([2, 1, 5, 2])


@pytest.mark.parametrize("style", [STILL, VIDEO], ids=["still", "video"])
def test_every_action_shows_its_person_in_every_frame(style) -> None:
    repertoire = load_repertoire()
    for index, action in enumerate(ACTIONS):
        for seed in range(3):
            rng = np.random.default_rng([11, seed, index])
            video = render(action, repertoire, style=style, num_frames=6, rng=rng)
            assert video.frames.shape == (6, HEIGHT, WIDTH, 3)
            assert video.masks.reshape(6, -1).any(1).all(), f"{action}, seed {seed}"
            assert len(video.bystander_boxes) == video.num_people - 1


def test_archives_have_the_official_layout(archives: Path) -> None:
    frames, masks = frames_of(archives), masks_of(archives)
    assert Counter(action for action, _ in frames) == dict.fromkeys(ACTIONS, TRAIN + TEST)
    assert frames.keys() == masks.keys()
    names = [video for _, video in frames]
    assert len(set(names)) == len(names)
    assert re.search(r"[!()@+]", "".join(names))
    for (action, video), files in frames.items():
        assert f"_{action}_" in video
        assert 15 <= len(files) <= 40
        assert [name for name, _ in files] == [f"{i + 1:05d}.png" for i in range(len(files))]
        with Image.open(io.BytesIO(files[0][1])) as image:
            assert (image.size, image.mode) == ((128, 96), "RGB")


def test_masks_give_a_box_inside_the_picture_and_some_end_early(archives: Path) -> None:
    frames, masks = frames_of(archives), masks_of(archives)
    short = {}
    for (action, video), mask in masks.items():
        assert mask.dtype == np.uint8
        assert mask.shape[:2] == (96, 128)
        missing = len(frames[action, video]) - mask.shape[2]
        index = int(video.rsplit("_", 1)[1])
        if missing:
            short[action, index] = missing
        for t in range(mask.shape[2]):
            box = tight_box(np.ascontiguousarray(mask[..., t]))
            assert box is not None
            x1, y1, x2, y2 = box
            assert 0 <= x1 <= x2 <= 127
            assert 0 <= y1 <= y2 <= 95
    assert short == SHORT_MASKS


def test_three_splits_with_the_right_counts(archives: Path) -> None:
    videos = {f"{video}.avi" for _, video in frames_of(archives)}
    partitions: dict[str, dict[str, str]] = {"1": {}, "2": {}, "3": {}}
    with zipfile.ZipFile(archives / "splits.zip") as archive:
        names = archive.namelist()
        assert sorted(names) == sorted(
            f"splits/{a}_test_split{n}.txt" for a in ACTIONS for n in (1, 2, 3)
        )
        for name in names:
            lines = archive.read(name).decode().splitlines()
            marks = dict(line.split() for line in lines)
            assert Counter(marks.values()) == {"1": TRAIN, "2": TEST}
            partitions[name[-5]] |= marks
    assert all(partition.keys() == videos for partition in partitions.values())
    assert partitions["1"] != partitions["2"] != partitions["3"] != partitions["1"]


def test_checksums_are_those_of_the_archives(archives: Path) -> None:
    lines = (archives / "SHA256SUMS").read_text().splitlines()
    listed = (*ARCHIVES, "props.json", "props_images.json")
    sums = {name: hashlib.sha256((archives / name).read_bytes()).hexdigest() for name in listed}
    assert lines == [f"{sums[name]}  {name}" for name in listed]
    assert sorted(p.name for p in archives.iterdir()) == sorted((*ARCHIVES, *BESIDE))


def test_same_seed_same_bytes_whatever_the_workers(archives: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    render_jhmdb(again, seed=3, train_videos=TRAIN, test_videos=TEST, workers=2)
    for name in BESIDE:
        assert (again / name).read_bytes() == (archives / name).read_bytes()


def test_another_seed_gives_other_videos() -> None:
    one, same, other = (jhmdb._pack(jhmdb._Job(seed, "wave", 0, 40, 96)) for seed in (0, 0, 1))
    assert one == same
    assert one.frames != other.frames


def test_a_failure_leaves_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = jhmdb._pack

    def fail(job: jhmdb._Job) -> jhmdb._Packed:
        if job.action == "catch":
            raise OSError("No space left on device")
        return pack(job)

    monkeypatch.setattr(jhmdb, "_pack", fail)
    with pytest.raises(OSError, match="No space left"):
        render_jhmdb(tmp_path, seed=0, train_videos=1, test_videos=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["train_videos", "test_videos", "workers"])
def test_counts_below_one_are_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{wrong} is 0; .* 1"):
        render_jhmdb(tmp_path, seed=0, **{wrong: 0})
