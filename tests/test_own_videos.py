"""Videos of one's own become parts: which frames, of which moments, upright, from damaged files."""

import threading
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from own_videos import HEIGHT, RATE, WIDTH, encode, turn, walkers, write_images

from stclip.errors import DataError
from stclip.inputs.batch import Inputs
from stclip.own_videos.opened import find_videos, open_video
from stclip.own_videos.video_parts import Cutting, Part, parts_of, read_ahead

KEY = Inputs(unit="person")
WINDOW = Inputs(unit="person", before=2, after=1)
CLIP = Inputs(unit="clip", num_frames=4)


def cut(  # type: ignore[no-untyped-def]
    path: Path, inputs: Inputs = KEY, *, first: int = 0, **changes
) -> list[Part]:
    settings = {"every_s": 1.0, "rate": None, "short_side": 480, "part_key_frames": 4, "clip_s": 2}
    cutting = Cutting.for_inputs(inputs, **(settings | changes))
    return list(parts_of(open_video(path, image_rate=RATE), cutting, first=first))


def times(parts: list[Part]) -> list[float]:
    return [round(key.time_s, 3) for part in parts for key in part.key_frames]


def frames(parts: list[Part]) -> list[int]:
    return [key.frame for part in parts for key in part.key_frames]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 frames at 10/s; every second has a key frame."""
    return encode(tmp_path_factory.mktemp("video") / "walk.mp4", walkers(45))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.avi", "mpeg4"), ("a.webm", "libvpx")],
)
def test_key_frames_are_the_same_in_every_container(tmp_path: Path, name: str, codec: str) -> None:
    parts = cut(encode(tmp_path / name, walkers(25), codec=codec))
    assert frames(parts) == [0, 10, 20]
    assert times(parts) == [0, 1, 2]
    assert parts[0].size == (HEIGHT, WIDTH)


def test_at_a_varying_rate_the_frame_nearest_to_the_moment_is_taken(tmp_path: Path) -> None:
    # 1.0 s lies between 0.9 and 1.3: 0.9 is nearer; 2.0 is nearer to 1.9 than to 2.6; 3.0 to 3.1.
    shown = [0, 0.05, 0.9, 1.3, 1.9, 2.6, 3.1]
    path = encode(tmp_path / "vary.mkv", walkers(len(shown)), times_s=shown)
    assert times(cut(path)) == [0, 0.9, 1.9, 3.1]
    assert frames(cut(path)) == [0, 2, 4, 6]


def test_moments_between_frames_that_are_a_second_apart_take_each_frame_once(
    tmp_path: Path,
) -> None:
    path = encode(tmp_path / "slow.mp4", walkers(4), rate=1)
    assert frames(cut(path, every_s=0.5)) == [0, 1, 2, 3]
    assert frames(cut(encode(tmp_path / "one.mp4", walkers(1)))) == [0]


def test_a_folder_of_images_is_a_video_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    pictures = walkers(12)
    (part,) = cut(write_images(tmp_path / "images", pictures))
    assert frames([part]) == [0, 10]
    assert np.array_equal(part.pixels[10], pictures[10])


def test_windows_are_those_of_the_whole_video(video: Path) -> None:
    """Cut in parts of two key frames or of all: around each key frame the same pictures."""
    apart, (whole,) = cut(video, WINDOW, part_key_frames=2), cut(video, WINDOW, part_key_frames=9)
    assert [len(part.key_frames) for part in apart] == [2, 2, 1]
    assert whole.num_frames == 44  # 40 + 3 and the first: no frame behind it can be asked for
    for part in apart:
        for key in part.key_frames:
            for step in range(-3, 4):
                here, there = key.place + step, key.frame + step
                if 0 <= there < whole.num_frames:
                    assert np.array_equal(part.pixels[here], whole.pixels[there])
    # Three frames before and behind each key frame; nothing before the first.
    assert sorted(whole.pixels) == [
        frame for key in (0, 10, 20, 30, 40) for frame in range(max(0, key - 3), key + 4)
    ]


def test_close_to_its_end_a_video_s_part_says_so(tmp_path: Path) -> None:
    """Windows are shifted to stay inside: the part must end where the video ends."""
    (part,) = cut(encode(tmp_path / "short.mp4", walkers(12)), WINDOW)
    assert part.num_frames == 12
    assert part.key_frames[-1].place == 10
    assert {7, 8, 9, 10, 11} <= set(part.pixels)


def test_of_a_clip_all_frames_are_there(video: Path) -> None:
    parts = cut(video, CLIP)
    assert [part.num_frames for part in parts] == [20, 20, 5]
    assert all(sorted(part.pixels) == list(range(part.num_frames)) for part in parts)
    assert [[k.place for k in part.key_frames] for part in parts] == [[0, 10], [0, 10], [0]]


def test_at_a_rate_windows_are_made_of_so_many_frames(video: Path) -> None:
    parts = cut(video, CLIP, rate=2.0)
    assert [part.num_frames for part in parts] == [4, 4, 1]
    assert frames(parts) == [0, 10, 20, 30, 40]


def test_parts_that_are_done_are_not_made_again(video: Path) -> None:
    all_parts, rest = cut(video, WINDOW, part_key_frames=2), None
    rest = cut(video, WINDOW, part_key_frames=2, first=1)
    assert [part.number for part in rest] == [1, 2]
    for there, here in zip(all_parts[1:], rest, strict=True):
        assert there.key_frames == here.key_frames
        assert there.pixels.keys() == here.pixels.keys()
        assert all(np.array_equal(there.pixels[i], here.pixels[i]) for i in here.pixels)


def test_the_next_item_is_made_while_the_present_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items():  # type: ignore[no-untyped-def]
        for number, event in enumerate(made):
            event.set()
            yield number

    ahead = read_ahead(items())
    assert next(ahead) == 0
    assert made[1].wait(5)
    assert list(ahead) == [1, 2]


def test_a_phone_s_video_stands_upright(tmp_path: Path) -> None:
    pictures = [np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in range(3)]
    for picture in pictures:
        picture[:20, :20] = 255  # the top left corner goes to the top right
    (part,) = cut(turn(encode(tmp_path / "phone.mp4", pictures)))
    assert part.size == (WIDTH, HEIGHT)
    assert part.pixels[0].shape == (WIDTH, HEIGHT, 3)
    assert part.pixels[0][:15, -15:].mean() > 240
    assert part.pixels[0][:15, :60].mean() < 15


def test_large_pictures_are_looked_at_small(tmp_path: Path) -> None:
    path = encode(tmp_path / "4k.mp4", walkers(2, size=(3840, 2160)), rate=1)
    (part,) = cut(path)
    assert part.size == (2160, 3840)
    assert {pixels.shape for pixels in part.pixels.values()} == {(480, 853, 3)}


def test_portrait_is_taken_as_it_is(tmp_path: Path) -> None:
    (part,) = cut(encode(tmp_path / "tall.mp4", walkers(3, size=(96, 160))))
    assert part.size == (160, 96)


@pytest.mark.parametrize(
    ("name", "codec", "length", "least", "said"),
    [  # Matroska's own structure breaks off; mp4's index leads on to the packets behind
        ("hurt.mkv", "mpeg4", 600, 20, "cannot be read beyond"),
        ("hurt.mp4", "libx264", 300, 45, "packets do not decode and are left out"),
    ],
)
def test_of_a_stream_that_is_damaged_in_the_middle_the_rest_is_kept(
    tmp_path: Path, name: str, codec: str, length: int, least: int, said: str
) -> None:
    path = encode(tmp_path / name, walkers(60), codec=codec)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + length] = bytes(length)
    path.write_bytes(content)
    recording = open_video(path, image_rate=RATE)
    assert least < len(list(recording.frames())) < 60
    assert said in "; ".join(recording.problems)


def test_of_a_file_that_is_cut_off_the_beginning_is_kept(tmp_path: Path) -> None:
    path = encode(tmp_path / "cut.mkv", walkers(100))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    recording = open_video(path, image_rate=RATE)
    read = [float(shown.time) for shown in recording.frames()]
    assert 20 < len(read) < 80
    assert f"cannot be read beyond {read[-1]:.1f} s of 10.0 s" in recording.problems[-1]


def _silence(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return path


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.write_bytes(b"")
    text.write_text("no video")
    for path, said in [
        (empty, r"empty\.mp4: not a video that PyAV reads \(it is empty\)"),
        (text, r"text\.mp4: not a video that PyAV reads \("),
        (_silence(tmp_path / "sound.wav"), r"sound\.wav: has no moving pictures, only \['audio'\]"),
        (tmp_path / "none.mp4", r"none\.mp4: no such file or folder"),
    ]:
        with pytest.raises(DataError, match=said):
            open_video(path, image_rate=RATE)


def test_names_stand_for_files_folders_and_patterns(tmp_path: Path) -> None:
    first = encode(tmp_path / "b.mp4", walkers(2))
    second = encode(tmp_path / "a.mkv", walkers(2))
    images = write_images(tmp_path / "images", walkers(2))
    assert find_videos([str(first), str(images)]) == [first, images]
    assert find_videos([str(tmp_path)]) == [second, first]  # a folder of videos
    assert find_videos([str(tmp_path / "*.mp4"), str(first)]) == [first]
    with pytest.raises(DataError, match=r"no\*such: no such file or folder, and no file matches"):
        find_videos([str(tmp_path / "no*such")])
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="holds neither images"):
        find_videos([str(tmp_path / "void")])
    encode(images / "c.mp4", walkers(2))
    with pytest.raises(DataError, match="holds 2 images and 1 videos"):
        find_videos([str(images)])


def test_times_count_from_the_start_of_the_container(tmp_path: Path) -> None:
    shown = [2.0, 2.5, 3.0, 3.5, 4.0]
    recording = open_video(
        encode(tmp_path / "late.mkv", walkers(5), times_s=shown), image_rate=RATE
    )
    read = [shown.time for shown in recording.frames()]
    assert [time - read[0] for time in read] == [Fraction(n, 2) for n in range(5)]


REAL = Path(__file__).parents[2] / "shared" / "data" / "clips"


@pytest.mark.skipif(not REAL.exists(), reason=f"the real clips are not at {REAL}")
@pytest.mark.parametrize(
    ("name", "num_frames", "size", "key_frames"),
    [  # frames as their publisher counts them
        ("demo.mp4", 280, (256, 340), range(0, 280, 28)),
        ("demo_spatiotemporal_det.mp4", 57, (256, 340), range(0, 57, 6)),
        ("test_video_structuralize.mp4", 300, (240, 426), range(0, 300, 30)),
        ("test.mp4", 300, (256, 340), range(0, 300, 30)),
        ("test.avi", 164, (240, 320), range(0, 164, 25)),
    ],
)
def test_real_clips_are_read_whole(
    name: str, num_frames: int, size: tuple[int, int], key_frames: range
) -> None:
    recording = open_video(REAL / name, image_rate=RATE)
    assert sum(1 for _ in recording.frames()) == num_frames
    assert recording.problems == []
    parts = cut(REAL / name)
    assert frames(parts) == [*key_frames]
    assert {part.size for part in parts} == {size}
