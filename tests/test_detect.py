import logging

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, World
from safetensors.torch import save_file
from stub_detectors import PIXEL, Pixel, Stub, config, detect, eager_tiny_detector

from stclip.config import load_scale
from stclip.detect import detect as stage
from stclip.detect.backends.backend import Found, files_of, load_backend
from stclip.errors import ConfigError, DataError
from stclip.records import Clips, Detections, KeyFrames
from stclip.storage.frame_store import clip_file, write_clip


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Pixel.batches, Pixel.dies_at, Stub.calls = [], -1, 0


@pytest.mark.parametrize("workers", [0, 2])
def test_persons_of_test_key_frames_above_the_threshold(world: World, workers: int) -> None:
    found = detect(world, config(), workers=workers)
    # test clips 5..9 have 13, 11, 12, 13, 11 frames: three key frames 0 5 10 each
    assert len(found) == 15
    assert found.boxes_xyxy.tolist() == [[1, 2, 3, 4]] * 15
    assert found.table["frame"].tolist() == [0, 5, 10] * 5
    assert set(found.table["clip"]) == {f"clip_{i}" for i in range(5, 10)}
    written = Detections.read(world.folder / "found.parquet")
    pd.testing.assert_frame_equal(written.table, found.table)
    assert not list(world.folder.glob(".found*")), "the journal goes when all is done"


def test_asked_for_objects_it_boxes_everything_but_persons(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(params={"builder": "stub_detectors:Stub", "objects": True})
    with caplog.at_level(logging.INFO):
        found = detect(world, settings)
    assert found.boxes_xyxy.tolist() == [[5, 6, 7, 8]] * 15  # the dog
    assert set(found.table["score"]) == {np.float32(0.8)}
    assert "15 boxes; 0 frames and 0 whole clips have none and show no object" in caplog.text
    assert "missed" not in caplog.text
    above = settings.model_copy(update={"score_threshold": 0.85})
    assert len(detect(world, above)) == 0


def test_training_clips_are_looked_at_in_every_frame(world: World) -> None:
    found = detect(world, PIXEL, train_clips=True, out=world.folder / "all.parquet")
    looked_at = found.table.groupby("clip", sort=False)["frame"].agg(list).to_dict()
    # training clips 0..4 have 11, 12, 13, 11, 12 frames; of test clips every fifth frame
    lengths = {"clip_0": 11, "clip_1": 12, "clip_2": 13, "clip_3": 11, "clip_4": 12}
    training = {clip: list(range(n)) for clip, n in lengths.items()}
    assert looked_at == training | {f"clip_{i}": [0, 5, 10] for i in range(5, 10)}
    assert list(looked_at) == [f"clip_{i}" for i in range(10)]
    tested = world.with_key_frames(every=5).key_frames.table["tested"]
    no_test = KeyFrames(world.with_key_frames(every=5).key_frames.table[~tested])
    assert len(detect(world, PIXEL, key_frames=no_test, train_clips=True)) == 59
    with pytest.raises(DataError, match="no key frame to look at"):
        detect(world, PIXEL, key_frames=KeyFrames(no_test.table[:0]), train_clips=True)


def test_a_frame_s_boxes_do_not_depend_on_its_neighbours(world: World) -> None:
    """A batch pads to its largest picture, and torchvision keeps scales of the first for all."""
    path = world.folder / "tiny.safetensors"
    save_file(eager_tiny_detector().state_dict(), path)
    settings = config(params={"builder": "stclip.mini.tiny_detector:build"}, batch_frames=32)
    rng, table = np.random.default_rng(0), world.clips.table
    sizes = {"clip_6": (64, 40), "clip_8": (30, 90)}  # between clips of 48 x 64
    for clip, size in sizes.items():
        table.loc[table["clip"] == clip, ["height", "width"]] = size
        write_clip(world.frames, clip, rng.integers(0, 256, (13, *size, 3), dtype=np.uint8))
    clips, key_frames = Clips(table), world.with_key_frames(every=5).key_frames.table
    keywords = {"clips": clips, "files": {"weights": path}}
    together = detect(world, settings, **keywords).table
    assert together["clip"].nunique() == 5
    for clip, found in together.groupby("clip"):
        own = KeyFrames(key_frames[key_frames["clip"] == clip].reset_index(drop=True))
        alone = detect(world, settings, key_frames=own, **keywords).table
        pd.testing.assert_frame_equal(found.reset_index(drop=True), alone)


def test_batches_are_of_one_size_and_as_before_where_all_frames_are(world: World) -> None:
    wanted = stage.frames_to_look_at(world.with_key_frames(every=5).key_frames)
    plan = stage.plan_batches(wanted, world.clips, size=4)
    assert plan == [wanted[start : start + 4] for start in range(0, 15, 4)]
    table = world.clips.table
    table.loc[table["clip"] == "clip_6", "height"] = 90
    plan = stage.plan_batches(wanted, Clips(table), size=4)
    assert [len(batch) for batch in plan] == [3, 3, 4, 4, 1]
    assert [key for batch in plan for key in batch] == wanted
    with pytest.raises(DataError, match="clip 'clip_6', which clips"):
        stage.plan_batches(wanted, Clips(table[table["clip"] != "clip_6"]), size=4)


def test_fine_tuning_is_to_persons() -> None:
    params = {"builder": "stub_detectors:Stub", "objects": True}
    with pytest.raises(ValueError, match="fine-tuning is to persons: drop `finetune` or"):
        config(params=params, finetune={"epochs": 1, "lr": 1e-3})


def test_weights_missing_or_of_another_model_are_named(world: World) -> None:
    none = world.folder / "none.safetensors"
    with pytest.raises(DataError, match=r"none\.safetensors: no such file \(weights"):
        detect(world, config(), files={"weights": none})
    path = world.folder / "other.safetensors"
    save_file({"strange": torch.zeros(1)}, path)
    with pytest.raises(DataError, match=r"other\.safetensors: not the weights of stub_\w+:Stub"):
        detect(world, config(), files={"weights": path})
    path.write_bytes(b"cut")
    with pytest.raises(DataError, match=r"other\.safetensors: no weights that are known"):
        detect(world, config(), files={"weights": path})
    with pytest.raises(ConfigError, match=r"needs `weights`, a path; none is given"):
        detect(world, config(), files={})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "stclip.detect.backends.torchvision:Yolo"}, r"Yolo.*must be module:name"),
        ({"params": {"builder": "torchvision.models.detection:yolo"}}, r"yolo.*module:name"),
        ({"params": {"bilder": "x"}}, r"unknown params \['bilder'\].*takes \['arguments', 'build"),
        ({"params": {}}, r"test: params: params of TorchvisionDetector: builder: Field required"),
        ({"precision": "bf16"}, r"bf16 needs a model with the parts.*Stub.*precision: fp32"),
    ],
)
def test_wrong_settings_are_configuration_errors(
    world: World, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        detect(world, config(**changes))


def test_no_person_anywhere_gives_an_empty_table_and_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for row in world.clips.table.itertuples():
        write_clip(world.frames, row.clip, np.zeros((row.num_frames, 48, 64, 3), np.uint8))
    with caplog.at_level(logging.INFO):
        found = detect(world, config())
    assert isinstance(found, Detections)
    assert len(found) == 0
    assert len(Detections.read(world.folder / "found.parquet")) == 0
    assert "0 boxes; 15 frames and 5 whole clips have none and count as missed" in caplog.text


def test_a_clip_with_a_damaged_header_and_a_missing_one_are_named(world: World) -> None:
    path = clip_file(world.frames, "clip_5")
    content = bytearray(path.read_bytes())
    content[20] ^= 0xFF  # inside the header
    path.write_bytes(content)
    for workers in (0, 2):
        with pytest.raises(DataError, match=r"clip_5\.npy: damaged"):
            detect(world, config(), workers=workers)
    path.unlink()
    with pytest.raises(DataError, match=r"clip_5\.npy: frames of clip 'clip_5' are missing"):
        detect(world, config())


def test_no_test_clip_is_told(world: World) -> None:
    train = KeyFrames(world.data.key_frames.table.assign(tested=False))
    with pytest.raises(DataError, match="no key frame to look at"):
        detect(world, config(), key_frames=train)


@pytest.mark.parametrize(
    ("box", "score", "message"),
    [
        ([0, 0, np.nan, 1], 0.5, r"box \[0\.0, 0\.0, nan, 1\.0\] is not finite"),
        ([0, 0, 1, 1], 1.5, r"score 1\.5 lies outside 0\.\.1"),
        ([0, 0, 1, 1], np.nan, r"score nan lies outside 0\.\.1"),
    ],
)
def test_impossible_boxes_of_a_model_stop_with_the_frame(
    world: World, monkeypatch: pytest.MonkeyPatch, box: list[float], score: float, message: str
) -> None:
    def find(self, keys, pictures):  # type: ignore[no-untyped-def]
        return [Found(np.array([box], np.float32), np.array([score], np.float32))] * len(keys)

    monkeypatch.setattr(Pixel, "find", find)
    with pytest.raises(DataError, match=rf"frames 0 of clip 'clip_5' to .*{message}"):
        detect(world, PIXEL)


def test_scores_of_a_detections_file_lie_in_0_to_1(world: World) -> None:
    for score in (-0.1, 1.01, np.nan):
        with pytest.raises(DataError, match=r"score .* of clip 'clip_0' frame 0.* outside 0\.\.1"):
            Detections(world.detections.table.assign(score=score))


@pytest.mark.parametrize("name", ["fasterrcnn_v2", "fasterrcnn_v1"])
def test_the_paper_s_detectors_are_built_and_loaded_as_configured(world: World, name: str) -> None:
    """torchvision's Faster R-CNNs as config/scales/paper.yaml names them, with random weights."""
    settings = load_scale(ROOT / "config", "paper").detectors[name]
    settings = settings.model_copy(update={"score_threshold": 0.001, "precision": "fp32"})
    from stclip.config.target import resolve_target

    torch.manual_seed(0)
    path = world.folder / "random.pth"
    built = resolve_target(settings.params["builder"])(**settings.params.get("arguments", {}))
    torch.save(built.state_dict(), path)
    backend = load_backend(settings, files={"weights": path}, clips=world.clips)
    assert backend.model.roi_heads.score_thresh == 0.001  # type: ignore[attr-defined]
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    (persons,) = backend.find([("a", 0)], [picture])
    assert ((persons.scores >= 0.001) & (persons.scores <= 1)).all()
    assert len(files_of(settings)) == 1
