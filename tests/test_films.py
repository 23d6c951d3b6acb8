"""The frame at a moment is exactly the right one, whatever the film's container, rate and codec."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from ava_files import (
    HALF_RATE,
    MP4,
    OFFSET,
    SOUND,
    VARIABLE,
    WEBM,
    Film,
    add_sound,
    draw,
    number_of,
    numbers_in,
    places,
)

from stclip.prepare import films
from stclip.prepare.films import find_films, nearest, store_film
from stclip.prepare.moments import Moments, scaled
from stclip.storage.frame_store import read_pixels

SECONDS = Moments(18, 25)


def stored(film: Film, folder: Path, moments: Moments = SECONDS, short_side: int = 256) -> object:
    path = draw(film, folder, "film")
    (folder / "frames").mkdir(exist_ok=True)
    return store_film(path, "film", folder / "frames", "jpeg", moments, short_side=short_side)


@pytest.mark.parametrize(
    "film",
    [
        pytest.param(MP4, id="mp4 23.976"),
        pytest.param(OFFSET, id="mkv that begins late"),
        pytest.param(VARIABLE, id="variable rate"),
        pytest.param(HALF_RATE, id="12000/1001"),
        pytest.param(WEBM, id="webm"),
        pytest.param(SOUND, id="sound begins before the pictures"),
    ],
)
def test_the_frame_of_a_second_is_the_nearest(film: Film, tmp_path: Path) -> None:
    found = stored(film, tmp_path)
    expected = [film.nearest(second) for second in range(18, 26)]
    assert numbers_in(tmp_path / "frames", "film") == expected
    assert (found.num_frames, found.missing, found.problem) == (8, [], "")
    assert (found.num_far, found.num_damaged) == (0, 0)


def test_of_two_equally_near_frames_it_is_the_earlier(tmp_path: Path) -> None:
    # At 12.5 frames/s second 1 lies in the middle between frames 12 and 13, second 2 on 25.
    film = Film("mp4", "libx264", Fraction(25, 2), places(Fraction(25, 2), 4))
    found = list(nearest(draw(film, tmp_path, "film"), [Fraction(1), Fraction(2)]))
    assert [time for _, (time, _) in found] == [Fraction(24, 25), 2]
    shown = [number_of(p.to_ndarray(format="rgb24")) for _, (_, p) in found]
    assert shown == [12, 25]


def test_what_lies_past_a_film_is_missing(tmp_path: Path) -> None:
    film = Film("mkv", "libx264", Fraction(10), places(10, 21))  # last frame at 20.9 s
    found = stored(film, tmp_path)
    assert numbers_in(tmp_path / "frames", "film") == [180, 190, 200, 209]  # 21 is near 20.9
    assert (found.num_frames, found.missing) == (4, [4, 5, 6, 7])


def test_what_lies_before_the_first_frame_repeats_it(tmp_path: Path) -> None:
    film = Film("mkv", "libx264", Fraction(10), places(10, 8, offset=197), sound_from_0=True)
    found = stored(film, tmp_path)
    assert numbers_in(tmp_path / "frames", "film") == [3, 3, 3, 13, 23, 33, 43, 53]
    assert (found.num_frames, found.missing) == (8, [0, 1])


def test_a_gap_gives_the_nearest_and_is_counted(tmp_path: Path) -> None:
    shown = tuple(n for n in places(10, 30) if not 195 < n < 235)
    film = Film("mkv", "libx264", Fraction(10), shown)
    found = stored(film, tmp_path)
    expected = [film.nearest(second) for second in range(18, 26)]
    assert numbers_in(tmp_path / "frames", "film") == expected
    assert found.num_far == 2  # 21 and 22; 20 and 23 are half a second from 19.5 and 23.5


def test_a_rate_gives_neighbours_of_every_second(tmp_path: Path) -> None:
    moments = Moments(18, 20, rate=25)
    assert moments.num_frames == 5 + 9 + 9
    stored(MP4, tmp_path, moments)
    expected = [
        MP4.nearest(Fraction(second) + Fraction(step, 25))
        for second in (18, 19, 20)
        for step in range(-4, 5)
    ]
    assert numbers_in(tmp_path / "frames", "film") == expected[4:]
    assert [moments.frame_of(second) for second in (18, 19, 20)] == [0, 9, 18]


def test_a_film_is_not_decoded_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw(MP4, tmp_path, "film")
    first = next(films._rising(path, Fraction(15)))[0]
    assert 10 < first <= 15
    # an index that leads past the first moment: the film is decoded from its start
    monkeypatch.setattr(films, "_LEAD_S", -5)
    assert next(films._rising(path, Fraction(27)))[0] == 0


def test_a_tall_film_is_made_smaller_and_a_small_one_is_not(tmp_path: Path) -> None:
    film = Film("mp4", "libx264", Fraction(10), places(10, 3), height=300)
    path = draw(film, tmp_path, "film")
    (tmp_path / "frames").mkdir()
    for side, size in ((96, (150, 96)), (400, (300, 192))):  # 192 is the shorter side
        found = store_film(
            path, f"at{side}", tmp_path / "frames", "jpeg", Moments(1, 2), short_side=side
        )
        assert (found.height, found.width) == size
        assert read_pixels(tmp_path / "frames", f"at{side}", 0).shape[:2] == size
        assert numbers_in(tmp_path / "frames", f"at{side}") == [10, 20]


def test_scaling_takes_means_of_areas() -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[::2] = 200
    assert (scaled(pixels, 2) == 100).all()
    assert scaled(pixels, 2).shape == (2, 4, 3)
    assert scaled(pixels, 4) is pixels


def test_what_is_no_film_is_told(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    (tmp_path / "page.mp4").write_bytes(b"<html>not found</html>")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        add_sound(container)
    short = draw(Film("mp4", "libx264", Fraction(10), places(10, 3)), tmp_path, "short")
    for name, problem in (
        (tmp_path / "page.mp4", "does not decode as video (Invalid data"),
        (tmp_path / "sound.mkv", "has no pictures"),
        (short, "has no frames"),
    ):
        found = store_film(name, "x", frames, "jpeg", SECONDS, short_side=256)
        assert found.problem.startswith(problem)
    assert list(frames.iterdir()) == []


def test_films_are_found_by_name_in_a_folder_and_those_in_it(tmp_path: Path) -> None:
    for name in ("a.mkv", "videos/b.webm", "videos/c.mp4", "a.mkv.part", "b.csv", "videos/x/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_films(tmp_path, ["a", "b", "d"])
    assert {name: its.where for name, its in found.items()} == {
        "a": str(tmp_path / "a.mkv"), "b": str(tmp_path / "videos/b.webm"),
    }  # fmt: skip
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.mp4: the same film as .*a\.mkv; delete one"):
        find_films(tmp_path, ["a"])
