"""The miniature's trained parts: tiny CLIP, tiny detector, contact sheet.

With MINI_TEST_VIDEOS=30 and MINI_DETECTOR_STEPS=120 the tests measure on more videos, and the fully
trained detector; docs/mini.md has the command.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from conftest import ROOT
from PIL import Image
from safetensors.torch import load_file
from torchvision.ops import box_iou

from stclip.config import BackboneConfig, TinyClip, TinyDetector, checked, load_scale
from stclip.config.package_files import path_of
from stclip.config.target import resolve_target
from stclip.errors import ConfigError, DataError, TrainingError
from stclip.methods.clip.backbone import load_backbone
from stclip.mini.captions import caption, spelt
from stclip.mini.choreography import ACTIONS, load_repertoire
from stclip.mini.contact_sheet import write_samples
from stclip.mini.drawing import tight_box
from stclip.mini.render import render
from stclip.mini.reproducible import finite
from stclip.mini.scenery import VIDEO
from stclip.mini.stills import load_stills
from stclip.mini.tiny_clip import pretrain
from stclip.mini.tiny_detector import build, train_detector
from stclip.mini.ucf.film import render_film
from stclip.mini.ucf.repertoire import UCF_ACTIONS, load_film_repertoire
from stclip.records import Boxes, Clips
from stclip.storage.frame_store import clip_file, write_clip
from stclip.storage.listings import LISTING

logger = logging.getLogger(__name__)
MINIATURE = load_scale(ROOT / "config", "mini").miniature
CLIP, DETECTOR = MINIATURE.clips["tiny_clip"], MINIATURE.detectors["tiny_detector"]
SHIPPED = {name: path_of(recipe.model).parent for name, recipe in MINIATURE.clips.items()}
STILLS = {name: load_stills(recipe.stills, where=name) for name, recipe in MINIATURE.clips.items()}
CONFIG, WEIGHTS = (SHIPPED["tiny_clip"] / n for n in ("tiny-clip.json", "weights.safetensors"))
UNSEEN = {  # classes that the four label splits hold out
    "1": ("clap", "sit", "wave", "throw", "pullup", "catch"),
    "2": ("kick_ball", "run", "climb_stairs", "stand", "shoot_gun", "pick"),
    "3": ("brush_hair", "push", "pour", "shoot_bow", "jump", "shoot_ball"),
    "4": ("golf", "swing_baseball", "walk", "clap", "sit", "wave"),
}
NUM_VIDEOS = int(os.environ.get("MINI_TEST_VIDEOS", "4"))  # of each class
NUM_FRAMES = 5  # of each video, spread over its length
DETECTOR_STEPS = int(os.environ.get("MINI_DETECTOR_STEPS", "40"))


def frame_ap(scores: np.ndarray, positive: np.ndarray) -> float:
    """Average precision of ranked frames: the mean over positives of the best precision after."""
    hits = positive[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best_after = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_after[hits].mean())


def rendered_frames(*, num_videos: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Class number, frame and box of freshly rendered videos of every class."""
    repertoire = load_repertoire()
    for index, action in enumerate(ACTIONS):
        for number in range(num_videos):
            rng = np.random.default_rng([0, index, number])
            video = render(action, repertoire, style=VIDEO, num_frames=NUM_FRAMES, rng=rng)
            for frame, mask in zip(video.frames, video.masks, strict=True):
                box = tight_box(mask)
                assert box is not None
                yield index, frame, box


def test_frame_ap_by_hand() -> None:
    # Ranked: hit, miss, hit -> precision 1 at the first hit, 2/3 at the second.
    positive = np.array([True, False, True])
    assert frame_ap(np.array([0.9, 0.5, 0.1]), positive) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_the_recorded_ones(name: str) -> None:
    recorded = (SHIPPED[name] / LISTING).read_text("utf-8").split()
    weights = SHIPPED[name] / WEIGHTS.name
    assert recorded == [hashlib.sha256(weights.read_bytes()).hexdigest(), weights.name]
    assert weights.stat().st_size < 3_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_fit_the_config_and_hold_only_the_tokens_in_use(name: str) -> None:
    weights = load_file(SHIPPED[name] / WEIGHTS.name)
    token_ids = weights.pop("token_ids")
    assert token_ids.dtype == torch.int32
    assert (token_ids[1:] > token_ids[:-1]).all()
    assert {t.dtype for t in weights.values()} == {torch.float16}
    assert len(weights["token_embedding.weight"]) == len(token_ids)
    config = json.loads(path_of(MINIATURE.clips[name].model).read_text("utf-8"))
    clip = open_clip.CLIP(**config)
    shapes = {name: t.shape for name, t in clip.state_dict().items()}
    del shapes["token_embedding.weight"], weights["token_embedding.weight"]
    assert {name: t.shape for name, t in weights.items()} == shapes


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("tiny_clip", {"brush_hair", "brush hair", "clap"}),
        ("tiny_clip_32", {"IceDancing", "Ice Dancing", "ice dancing", "Biking"}),
    ],
)
def test_every_caption_has_only_known_tokens(name: str, names: set[str]) -> None:
    known = set(load_file(SHIPPED[name] / WEIGHTS.name)["token_ids"].tolist())
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    stills, rng = STILLS[name], np.random.default_rng(0)
    still = stills.for_clip(stills.actions[0], rng)
    texts = [caption(rng, a, still, stills) for a in stills.actions for _ in range(200)]
    assert set(tokenizer(texts).flatten().tolist()) <= known
    assert names <= set(texts)  # bare names, as web pictures have


def test_a_spelling_is_as_often_as_its_share() -> None:
    spellings = ((0.5, "IceDancing"), (0.25, "Ice Dancing"), (0.25, "ice dancing"))
    chances = (0, 0.49, 0.5, 0.74, 0.75, 0.99)  # on either side of 0.5 and 0.75
    assert [spelt(spellings, c) for c in chances] == [
        *("IceDancing", "IceDancing", "Ice Dancing", "Ice Dancing", "ice dancing", "ice dancing")
    ]


def zero_shot(
    name: str, drawn: Iterable[tuple[int, np.ndarray]], unseen_of: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Split -> frame mAP: raw names, full frames, softmax over the unseen classes, true boxes.

    Args:
        name: of the shipped CLIP.
        drawn: class number and frame, once for each box.
        unseen_of: split -> unseen classes.
    """
    actions = STILLS[name].actions
    clip = load_backbone(
        BackboneConfig(model=MINIATURE.clips[name].model, weights=str(SHIPPED[name] / WEIGHTS.name))
    )
    height, width = clip.image_size
    frames: list[np.ndarray] = []
    truth_of_frames: list[int] = []
    for action, frame in drawn:
        picture = Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)
        frames.append(np.asarray(picture))
        truth_of_frames.append(action)
    truth = np.array(truth_of_frames)
    with torch.inference_mode():
        text = torch.nn.functional.normalize(clip.encode_text(actions), dim=-1)
        images = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
        parts = [clip.project(clip.encode(clip.patches(x))) for x in images.split(256)]
        similarity = torch.nn.functional.normalize(torch.cat(parts), dim=-1) @ text.T
        logits = (clip.logit_scale * similarity).double().numpy()
    maps = {}
    for split, unseen in unseen_of.items():
        classes = [actions.index(label) for label in unseen]
        rows = np.isin(truth, classes)
        exponents = np.exp(logits[rows][:, classes])
        scores = exponents / exponents.sum(1, keepdims=True)
        aps = [frame_ap(scores[:, i], truth[rows] == c) for i, c in enumerate(classes)]
        maps[split] = float(np.mean(aps))
    shown = {split: round(value, 3) for split, value in maps.items()}
    logger.info("%s: zero-shot mAP by split %s, mean %.3f", name, shown, np.mean([*maps.values()]))
    return maps


def test_shipped_clip_scores_zero_shot_in_the_documented_range() -> None:
    drawn = ((action, frame) for action, frame, _ in rendered_frames(num_videos=NUM_VIDEOS))
    maps = zero_shot("tiny_clip", drawn, UNSEEN)
    # Documented 0.55 to 0.65; four videos a class vary by 0.03.
    assert 0.5 < np.mean([*maps.values()]) < 0.7
    assert min(maps.values()) > 0.4


def test_shipped_clip_of_ucf_scores_zero_shot_in_the_documented_range() -> None:
    maps = zero_shot("tiny_clip_32", filmed_frames(num_videos=NUM_VIDEOS), unseen_of_ucf())
    # Documented 0.59 on the archive; these films are not compressed and shorter: 0.69.
    assert 0.5 < np.mean([*maps.values()]) < 0.78
    assert min(maps.values()) > 0.4


def filmed_frames(*, num_videos: int) -> Iterator[tuple[int, np.ndarray]]:
    """Class number and frame, once for each annotated person, of films of every class."""
    repertoire = load_film_repertoire()
    for index, action in enumerate(UCF_ACTIONS):
        for number in range(num_videos):
            rng = np.random.default_rng([0, index, number])
            film = render_film(action, repertoire, style=VIDEO, num_frames=NUM_FRAMES, rng=rng)
            for tube in film.tubes:
                for frame in film.frames[tube.first : tube.first + len(tube.boxes_xyxy)]:
                    yield index, frame


def unseen_of_ucf() -> dict[str, list[str]]:
    splits = sorted((ROOT / "splits" / "ucf101_24" / "st-clip").glob("*.json"))
    return {path.stem: json.loads(path.read_text("utf-8"))["unseen"] for path in splits}


def test_pretraining_is_deterministic(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        pretrain(path, CLIP.model_copy(update={"seed": seed, "steps": 2, "batch": 4}))
    one, same, other = (path.read_bytes() for path in paths)
    assert one == same
    assert one != other
    shipped = {name: t.shape for name, t in load_file(WEIGHTS).items()}
    assert {name: t.shape for name, t in load_file(paths[0]).items()} == shipped


@pytest.mark.parametrize(("name", "most"), [("tiny_detector", 8), ("tiny_many", 16)])
def test_detector_training_is_deterministic_and_finds_boxes(
    name: str, most: int, tmp_path: Path
) -> None:
    recipe = MINIATURE.detectors[name]
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        train_detector(path, recipe.model_copy(update={"seed": seed, "steps": 2, "batch": 3}))
    one, same, other = (path.read_bytes() for path in paths)
    assert one == same
    assert one != other
    detector = resolve_target(recipe.builder)().eval()
    detector.load_state_dict(load_file(paths[0]))
    with torch.inference_mode():
        (found,) = detector([torch.rand(3, 96, 128)])
    assert found["boxes"].shape[1:] == (4,)
    assert len(found["boxes"]) == len(found["scores"]) == len(found["labels"]) <= most
    num_parameters = sum(p.numel() for p in detector.parameters())
    assert 0.3e6 < num_parameters < 0.4e6


def test_detector_learns_to_find_persons(tmp_path: Path) -> None:
    """AP at IoU 0.5 of the acting persons in rendered videos; bystanders are false alarms."""
    path = tmp_path / "detector.safetensors"
    train_detector(path, DETECTOR.model_copy(update={"steps": DETECTOR_STEPS}))
    detector = build().eval()
    detector.load_state_dict(load_file(path))
    scores: list[float] = []
    hits: list[bool] = []
    frames = list(rendered_frames(num_videos=max(1, NUM_VIDEOS // 4)))
    for _, frame, box in frames:
        with torch.inference_mode():
            (found,) = detector([torch.from_numpy(frame).permute(2, 0, 1).float() / 255])
        right = (box_iou(found["boxes"], torch.from_numpy(box)[None])[:, 0] >= 0.5).tolist()
        first = right.index(True) if True in right else None  # boxes come by falling score
        scores += found["scores"].tolist()
        hits += [i == first for i in range(len(right))]
    recall = sum(hits) / len(frames)
    ap = frame_ap(np.array(scores), np.array(hits)) * recall
    shown = (DETECTOR_STEPS, ap, recall, len(hits) / len(frames), len(frames))
    logger.info("%d steps: AP50 %.3f, recall %.3f, %.2f boxes a frame, %d frames", *shown)
    assert ap > 0.25  # after a third of its training; untrained it finds nothing


@pytest.mark.parametrize("recipe", [CLIP, DETECTOR])
def test_training_without_steps_is_refused(recipe: TinyClip | TinyDetector) -> None:
    with pytest.raises(ConfigError, match=r"steps: .*greater than or equal to 1, found 0"):
        checked(type(recipe), recipe.model_dump() | {"steps": 0}, "miniature")


def test_a_recipe_must_name_stills() -> None:
    with pytest.raises(ConfigError, match=r"jhmdb_stil.*it must be module:name"):
        load_stills("stclip.mini.jhmdb_stills:jhmdb_stil", where="here")
    with pytest.raises(ConfigError, match=r"here: .* returns Repertoire; it must return .*Stills"):
        load_stills("stclip.mini.choreography:load_repertoire", where="here")


def test_a_diverged_loss_stops_the_training() -> None:
    assert finite(torch.tensor(0.5), "tiny CLIP", 7) == 0.5
    with pytest.raises(TrainingError, match="tiny CLIP: the loss is nan at step 7; lower"):
        finite(torch.tensor(float("nan")), "tiny CLIP", 7)


def prepared(folder: Path, actions: list[str]) -> tuple[Clips, Boxes, Path]:
    """Clips of 10 frames of 48 x 64 with a box each, as the prepare stage writes them."""
    rows = []
    for clip in actions:
        write_clip(folder, clip, np.full((10, 48, 64, 3), (200, 220, 200), np.uint8))
        for frame in range(10):
            rows.append([clip, frame, 8, 8, 31, 39, 0, [clip]])
    columns = ["clip", "frame", "x1", "y1", "x2", "y2", "tube", "actions"]
    clips = pd.DataFrame(
        {
            "clip": actions,
            "official_split": "test",
            "num_frames": 10,
            "height": 48,
            "width": 64,
            "fps": 30.0,
            "licence": "",
            "actions": [[a] for a in actions],
        }
    )
    return Clips(clips), Boxes(pd.DataFrame(rows, columns=columns)), folder


def test_contact_sheet_has_a_row_for_each_class_with_boxes(tmp_path: Path) -> None:
    clips, boxes, frames = prepared(tmp_path / "frames", ["wave", "clap", "sit"])
    out = tmp_path / "samples.png"
    write_samples(clips, boxes, frames, out)
    sheet = np.asarray(Image.open(out))
    # Three classes in two columns: two rows of 120 px (48 x 160 / 64) with 4 px gaps, and a margin.
    assert sheet.shape == (4 + 2 * (120 + 4), 4 + 2 * (150 + 6 * (160 + 4)), 3)
    red = (sheet == (220, 40, 40)).all(-1)
    # The first cell begins at 154, 4; its box runs from 8 x 2.5 to (31 + 1) x 2.5.
    assert red[4 + 40, 154 + 20]
    assert red[4 + 40, 154 + 80]


def test_contact_sheet_names_a_missing_frame_and_missing_boxes(tmp_path: Path) -> None:
    clips, boxes, frames = prepared(tmp_path / "frames", ["clap"])
    clip_file(frames, "clap").unlink()
    with pytest.raises(DataError, match=r"clap\.npy: frames of clip 'clap' are missing; run"):
        write_samples(clips, boxes, frames, tmp_path / "samples.png")
    nobody = Boxes(boxes.table.iloc[:0])
    with pytest.raises(DataError, match="clip 'clap' has no boxes"):
        write_samples(clips, nobody, frames, tmp_path / "samples.png")
    assert not (tmp_path / "samples.png").exists()
