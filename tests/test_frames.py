"""The path of a frame: windows, CLIP's preprocessing, person crops, batches."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data._utils.pin_memory import pin_memory
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from stclip.config import Preprocessing
from stclip.errors import ConfigError, DataError
from stclip.inputs import frame_reader as frames
from stclip.inputs.batch import Inputs, PersonBatch, PersonSample, pixels_of
from stclip.inputs.frame_reader import CACHE_BYTES, FrameReader, window
from stclip.inputs.loader import assemble, make_loader
from stclip.inputs.preprocess import crop_box, to_model
from stclip.storage.frame_store import read_frame
from stclip.storage.frame_store import write_clip as store_clip

WINDOW = Inputs(unit="person", before=4, after=4, crops=True)


def noise(width: int, height: int, *, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def planes(image: Image.Image) -> np.ndarray:
    """uint8 (3, height, width)."""
    return np.asarray(image).transpose(2, 0, 1)


# --- windows ------------------------------------------------------------------------------------


def published_window(t: int, num_frames: int) -> list[int]:
    """The released rule, 1-based: 4 + key + 4, shifted at the ends; only short clips are cut."""
    if t <= 4:
        return list(range(1, min(9, num_frames) + 1))
    if t > num_frames - 4:
        return list(range(max(1, num_frames - 8), num_frames + 1))
    return list(range(t - 4, t + 5))


@pytest.mark.parametrize("num_frames", range(1, 41))
def test_window_is_the_published_one(num_frames: int) -> None:
    for key in range(num_frames):
        found = window(key, num_frames, before=4, after=4)
        assert [f + 1 for f in found] == published_window(key + 1, num_frames)
        assert len(found) == min(9, num_frames)
        assert key in found


def test_window_examples_of_a_clip_of_40_frames() -> None:
    def one_based(t: int) -> tuple[int, int]:
        frames = window(t - 1, 40, before=4, after=4)
        return frames[0] + 1, frames[-1] + 1

    assert {one_based(t) for t in range(1, 6)} == {(1, 9)}
    assert one_based(6) == (2, 10)
    assert one_based(35) == (31, 39)
    assert {one_based(t) for t in range(36, 41)} == {(32, 40)}


def test_uneven_window() -> None:
    assert window(3, 10, before=2, after=0) == [1, 2, 3]
    assert window(0, 10, before=2, after=0) == [0, 1, 2]  # shifted, not cut
    assert window(9, 10, before=0, after=1) == [8, 9]


# --- whole frames -------------------------------------------------------------------------------

SHAPES = [
    (320, 240), (240, 320), (426, 240), (341, 256), (224, 224), (225, 224), (224, 500), (60, 180),
    (223, 641), (101, 37), (7, 5), (1, 30), (30, 1),
]  # fmt: skip


@pytest.mark.parametrize(("width", "height"), SHAPES)
@pytest.mark.parametrize("side", [224, 64])
def test_to_model_is_torchvisions_resize_and_centre_crop(
    width: int, height: int, side: int
) -> None:
    image = noise(width, height)
    reference = Compose([Resize(side, interpolation=InterpolationMode.BICUBIC), CenterCrop(side)])
    found = to_model(image, (side, side))
    assert found.dtype == np.uint8
    assert np.array_equal(found, planes(reference(image)))


def test_a_jhmdb_frame_loses_its_outer_columns() -> None:
    # 320x240 -> int(224 * 320 / 240) = 298 wide; round((298 - 224) / 2) = 37: columns 37..260.
    image = noise(320, 240)
    resized = planes(image.resize((298, 224), Image.Resampling.BICUBIC))
    assert np.array_equal(to_model(image, (224, 224)), resized[:, :, 37:261])


def test_non_square_pictures_are_covered_then_cut() -> None:
    # Onto 48 high, 64 wide: 100x100 -> width is tight -> 64x64 -> rows 8..55;
    # 128x48 -> height is tight -> 128x48 -> columns 32..95; 128x96 only shrinks.
    image = noise(100, 100)
    resized = planes(image.resize((64, 64), Image.Resampling.BICUBIC))
    assert np.array_equal(to_model(image, (48, 64)), resized[:, 8:56])
    image = noise(128, 48)
    assert np.array_equal(to_model(image, (48, 64)), planes(image)[:, :, 32:96])
    image = noise(128, 96)
    resized = planes(image.resize((64, 48), Image.Resampling.BICUBIC))
    assert np.array_equal(to_model(image, (48, 64)), resized)
    assert to_model(noise(1, 90), (48, 64)).shape == (3, 48, 64)


# --- person crops -------------------------------------------------------------------------------


def crop(
    image: Image.Image,
    box: Sequence[float],
    size: tuple[int, int],
    *,
    mode: str = "center",
    scale: float = 1.0,
) -> np.ndarray:
    how = Preprocessing.model_validate({"crop_mode": mode, "crop_scale": scale})
    return crop_box(image, np.array(box, np.float32), size, how)


def cut(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    return image.crop(box)


def test_only_the_middle_third_of_a_tall_person_is_seen() -> None:
    # 60x180 -> 224x672; round((672 - 224) / 2) = 224: rows 224..447.
    image = noise(320, 240)
    resized = planes(cut(image, (100, 20, 160, 200)).resize((224, 672), Image.Resampling.BICUBIC))
    found = crop(image, [100, 20, 160, 200], (224, 224))
    assert np.array_equal(found, resized[:, 224:448])


def test_corners_round_half_to_even_and_the_far_ones_are_exclusive() -> None:
    # 10.5 -> 10, 11.5 -> 12, 42.5 -> 42, 43.6 -> 44: 32 x 32 pixels, the size itself.
    image = noise(100, 80)
    found = crop(image, [10.5, 11.5, 42.5, 43.6], (32, 32))
    assert np.array_equal(found, planes(image)[:, 12:44, 10:42])


def test_a_box_thinner_than_a_pixel_still_gives_a_crop() -> None:
    image = noise(100, 80)
    assert np.array_equal(
        crop(image, [10.1, 5.1, 10.2, 5.3], (1, 1))[:, 0, 0], planes(image)[:, 5, 10]
    )


def test_squash_ignores_the_aspect_ratio() -> None:
    image = noise(100, 80)
    expected = cut(image, (5, 5, 25, 75)).resize((64, 48), Image.Resampling.BICUBIC)
    assert np.array_equal(crop(image, [5, 5, 25, 75], (48, 64), mode="squash"), planes(expected))


def test_pad_shows_the_whole_box_on_black() -> None:
    # 20x40 onto 40x40: nothing is resized, 10 black columns on each side.
    image = Image.new("RGB", (100, 80), (255, 255, 255))
    found = crop(image, [30, 10, 50, 50], (40, 40), mode="pad")
    assert (found[:, :, 10:30] == 255).all()
    assert (found[:, :, :10] == 0).all()
    assert (found[:, :, 30:] == 0).all()
    # 20x40 onto 40 high, 80 wide: 30 black columns on each side.
    found = crop(image, [30, 10, 50, 50], (40, 80), mode="pad")
    assert (found[:, :, 30:50] == 255).all()
    assert found.sum() == 255 * 3 * 20 * 40


@pytest.mark.parametrize(
    ("box", "size", "seen"),
    [
        # 10x40 to a square: 40 wide around x = 45.
        ([40, 10, 50, 50], (40, 40), (25, 10, 65, 50)),
        # The same at the left edge: -15..25 moves to 0..40; at the right edge to 60..100.
        ([0, 10, 10, 50], (40, 40), (0, 10, 40, 50)),
        ([90, 10, 100, 50], (40, 40), (60, 10, 100, 50)),
        # 40x10 to a square: 40 high around y = 75 would be 55..95, moves to 40..80.
        ([10, 70, 50, 80], (40, 40), (10, 40, 50, 80)),
        # 10x20 to twice as wide as high: 40 wide around x = 45.
        ([40, 10, 50, 30], (20, 40), (25, 10, 65, 30)),
        # 10x80 to twice as wide as high would be 160 wide: the whole width, centre rows 15..65.
        ([40, 0, 50, 80], (50, 100), (0, 15, 100, 65)),
    ],
)
def test_context_widens_the_box_inside_the_picture(
    box: list[float], size: tuple[int, int], seen: tuple[int, int, int, int]
) -> None:
    image = noise(100, 80)
    found = crop(image, box, size, mode="context")
    assert np.array_equal(found, planes(cut(image, seen)))  # the size is the cut's: no resize


@pytest.mark.parametrize(
    ("box", "scale", "seen"),
    [
        ([20, 20, 40, 60], 1.5, (15, 10, 45, 70)),  # 30x60 around (30, 40)
        ([0, 0, 10, 10], 2.0, (0, 0, 15, 15)),  # -5..15, kept inside
        ([90, 70, 100, 80], 2.0, (85, 65, 100, 80)),
        ([20, 20, 40, 60], 0.5, (25, 30, 35, 50)),
    ],
)
def test_scaled_boxes_grow_around_their_middle(
    box: list[float], scale: float, seen: tuple[int, int, int, int]
) -> None:
    image = noise(100, 80)
    size = (seen[3] - seen[1], seen[2] - seen[0])
    assert np.array_equal(crop(image, box, size, scale=scale), planes(cut(image, seen)))


def test_crops_of_a_whole_clip_are_refused() -> None:
    with pytest.raises(ConfigError, match="crops need unit person"):
        Inputs(unit="clip", crops=True)


# --- reading and batches ------------------------------------------------------------------------


def write_clip(folder: Path, clip: str, num_frames: int, *, seed: int = 0) -> None:
    pictures = [np.asarray(noise(40, 30, seed=seed + frame)) for frame in range(num_frames)]
    store_clip(folder, clip, np.stack(pictures))


def sample(clip: str, num_frames: int, key_frame: int, *, boxes: int = 1) -> PersonSample:
    corners = np.array([[i, i, i + 12, i + 20] for i in range(boxes)], np.float32)
    return PersonSample(clip, num_frames, corners, np.arange(boxes), key_frame=key_frame)


def test_missing_frame_names_the_file(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", 2)
    reader = FrameReader(tmp_path, (24, 24))
    with pytest.raises(DataError, match=r"a\.npy: frame 2 of clip 'a' is missing, .* run prepare"):
        reader.picture("a", 2)
    with pytest.raises(DataError, match=r"nowhere\.npy: frames of clip 'nowhere' are missing"):
        reader.crops("nowhere", 0, np.zeros((1, 4), np.float32))


def test_batch_holds_every_picture_once_and_says_where(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", 12)
    write_clip(tmp_path, "b", 3, seed=50)
    reader = FrameReader(tmp_path, (24, 24))
    samples = [sample("a", 12, 0, boxes=2), sample("b", 3, 1), sample("a", 12, 6, boxes=3)]
    batch = assemble(reader, WINDOW, samples, training=False)
    assert isinstance(batch, PersonBatch)
    images, crops = pixels_of(batch.pictures), pixels_of(batch.crops)
    # a: frames 0..8 and 2..10 -> rows 0..8, later 12 and 13 for 9 and 10; b: 0..2 -> rows 9..11.
    assert batch.frames.tolist() == [
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
        [9, 10, 11, 11, 11, 11, 11, 11, 11],  # its last frame again ...
        [2, 3, 4, 5, 6, 7, 8, 12, 13],
    ]
    assert batch.frame_mask.sum(1).tolist() == [9, 3, 9]  # ... which does not count
    assert batch.frame_mask[1].tolist() == [True] * 3 + [False] * 6
    assert batch.key.tolist() == [0, 10, 6]
    assert batch.box_sample.tolist() == [0, 0, 1, 2, 2, 2]
    assert images.shape == (14, 3, 24, 24)
    assert images.dtype == torch.uint8
    image = read_frame(tmp_path, "a", 10)
    assert np.array_equal(images[13].numpy(), to_model(image, (24, 24)))
    assert batch.boxes.tolist() == np.concatenate([s.boxes_xyxy for s in samples]).tolist()
    expected = crop(read_frame(tmp_path, "b", 1), [0, 0, 12, 20], (24, 24))
    assert np.array_equal(crops[2].numpy(), expected)
    assert len(batch.objects) == 0
    assert batch.memory.shape == batch.memory_mask.shape == (3, 0)


CHOSEN = {"a": [1, 4, 7, 10], "b": [0, 1, 2, 3]}  # middles of segments of 3 frames and of 1


def test_whole_clips_are_spread_frames_and_no_crops(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", 12)
    write_clip(tmp_path, "b", 4)
    inputs = Inputs(unit="clip", num_frames=4)
    samples = [sample("a", 12, 6, boxes=5), sample("b", 4, 2)]
    batch = assemble(FrameReader(tmp_path, (24, 24)), inputs, samples, training=False)
    assert batch.frames.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    wanted = [read_frame(tmp_path, clip, f) for clip, frames in CHOSEN.items() for f in frames]
    assert np.array_equal(
        pixels_of(batch.pictures), [to_model(image, (24, 24)) for image in wanted]
    )
    assert batch.box_sample.tolist() == [0] * 5 + [1]


Reads = Counter[tuple[str, int]]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """Counts how often each frame is read."""
    counts: Counter[tuple[str, int]] = Counter()

    def counting(folder: Path, clip: str, frame: int) -> Image.Image:
        counts[clip, frame] += 1
        return read_frame(folder, clip, frame)

    monkeypatch.setattr(frames, "read_frame", counting)
    return counts


def test_a_batch_reads_each_frame_once(tmp_path: Path, read: Reads) -> None:
    clips = [f"c{i}" for i in range(8)]  # 8 windows of 9
    for clip in clips:
        write_clip(tmp_path, clip, 12)
    samples = [sample(clip, 12, 5, boxes=2) for clip in clips] + [sample("c0", 12, 7)]
    assemble(FrameReader(tmp_path, (24, 24)), WINDOW, samples, training=False)
    # c0: frames 1..9 and 3..11; the others 1..9.
    assert len(read) == 11 + 7 * 9
    assert set(read.values()) == {1}


def test_neighbouring_batches_share_pictures(tmp_path: Path, read: Reads) -> None:
    write_clip(tmp_path, "a", 12)
    reader = FrameReader(tmp_path, (24, 24))
    inputs = Inputs(unit="person", before=4, after=4)
    for key in range(12):
        assemble(reader, inputs, [sample("a", 12, key)], training=False)
    assert len(read) == 12
    assert set(read.values()) == {1}


def test_the_cache_forgets_what_was_used_longest_ago(tmp_path: Path, read: Reads) -> None:
    write_clip(tmp_path, "a", 40)
    reader = FrameReader(tmp_path, (24, 24), cache_bytes=2 * 3 * 24 * 24)  # two pictures
    for frame in (0, 1, 0, *range(2, 40), 0):
        reader.picture("a", frame)
    assert read["a", 0] == 2  # pushed out by 2..39
    assert read["a", 1] == 1
    one = FrameReader(tmp_path, (24, 24), cache_bytes=0)  # never less than one
    assert np.array_equal(one.picture("a", 3), reader.picture("a", 3))


def test_loader_gives_the_batches_in_order(tmp_path: Path) -> None:
    write_clip(tmp_path, "a", 10)
    batches = [[sample("a", 10, 0), sample("a", 10, 1)], [sample("a", 10, 9)]]
    loader = make_loader(
        FrameReader(tmp_path, (24, 24)), WINDOW, batches, training=False, workers=0
    )
    assert len(loader) == 2
    assert [len(batch.key) for batch in loader] == [2, 1]


def test_worker_processes_share_the_size_of_one_cache(tmp_path: Path) -> None:
    reader = FrameReader(tmp_path, (24, 24)).part(2)  # of two training processes
    loader = make_loader(reader, WINDOW, [], training=False, workers=2)
    assert loader.read.args[0].cache_bytes == CACHE_BYTES // 4
    alone = make_loader(reader, WINDOW, [], training=False, workers=0)
    assert alone.read.args[0] is reader  # whose pictures outlive the loader


def test_loaders_draw_no_random_numbers(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    write_clip(tmp_path, "a", 10)
    for workers in (0, 1):
        reader = FrameReader(tmp_path, (24, 24))
        assert (
            len(
                list(
                    make_loader(
                        reader, WINDOW, [[sample("a", 10, 0)]], training=False, workers=workers
                    )
                )
            )
            == 1
        )
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_is_pinned_tensor_by_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the loader does it, which without a GPU cannot be run."""
    write_clip(tmp_path, "a", num_frames=9)
    inputs = Inputs(unit="person", before=4, after=4)  # no crops
    batch = assemble(FrameReader(tmp_path, (24, 24)), inputs, [sample("a", 9, 4)], training=False)
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda t: pinned.append(t) or t.clone())
    again = pin_memory(batch)
    assert len(pinned) == 14  # 10 of the batch and its pictures, 4 of its objects
    assert again is not batch
    assert isinstance(again, PersonBatch)
    assert len(again.crops) == 0
    assert torch.equal(pixels_of(again.pictures), pixels_of(batch.pictures))
