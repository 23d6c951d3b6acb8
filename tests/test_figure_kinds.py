"""Figures of what frames do to label texts: the features of labels, the interest tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, UNSEEN, World
from PIL import Image

from stclip.boxes.select import select_boxes
from stclip.config import BoxSource, MethodConfig, Preprocessing, read_yaml
from stclip.config.figure import load_figure
from stclip.errors import ConfigError, DataError
from stclip.inputs.preprocess import boxes_to_frame, boxes_to_model
from stclip.methods.build import load_method
from stclip.records import Scores
from stclip.report.figure_kinds import draw_figure
from stclip.report.interest_tokens_figure import (
    TARGET,
    TOKEN,
    Said,
    TokenPicture,
    most_helped,
    write_interest_tokens,
)
from stclip.report.label_features import (
    COLOURS,
    SplitFeatures,
    likeness,
    normalised,
    principal_plane,
    write_label_features,
)
from stclip.score.explain import Explained, explain_boxes
from stclip.score.score import score
from stclip.storage.frame_store import write_clip
from stclip.train.run_folder import WEIGHTS, write_untrained

GROUND_TRUTH = BoxSource(source="ground_truth")
INTEREST = {
    "kind": "interest_tokens", "title": "Tokens", "note": "A note.", "dataset": "jhmdb",
    "split": "1", "method": "st_clip+its_80", "compared": "st_clip",
}  # fmt: skip
FEATURES = {
    "kind": "label_features", "title": "Features", "note": "A note.", "dataset": "jhmdb",
    "method": "st_clip", "splits": ["1"], "persons": 5,
}  # fmt: skip


def write_figure(world: World, content: dict[str, Any]) -> None:
    path = world.config / "figures" / "one.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))


def make_run(world: World, name: str) -> Path:
    """Weights of a method that trains nothing, and its scores of annotated boxes."""
    config, out = world.method(name, iterations=0), world.folder / "runs" / name
    write_untrained(config, split=world.split, seed=0, out=out)
    score(
        config, world.with_key_frames(every=4), weights=out / WEIGHTS, split=world.split,
        sources={"gt": GROUND_TRUTH}, seed=0, out=out,
    )  # fmt: skip
    return out


def draw(world: World, out: Path, *folders: Path) -> np.ndarray:
    draw_figure(
        "one", world.with_key_frames(every=4), folders=folders, splits=[world.split] * len(folders),
        out=out, config=world.config, scale="small",
    )  # fmt: skip
    return np.asarray(Image.open(out).convert("RGB"))


def count(picture: np.ndarray, colour: str) -> int:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((picture == wanted).all(-1).sum())


def explained(world: World, config: MethodConfig, seen: list[torch.Tensor]) -> Explained:
    """Of the two persons of frame 1 of clip_8; `seen`: what goes into the first block."""
    torch.manual_seed(0)
    method = load_method(config).eval()
    block = method.backbone.blocks[0]
    with torch.no_grad():
        block.attn.in_proj_weight *= 4  # random ones make all rows of the attention map alike
    block.ln_1.register_forward_hook(lambda _m, _i, out: seen.append(out))
    data = world.with_key_frames(every=1)
    table = select_boxes(BoxSource(source="detections"), data, names=["clip_8"])
    found = explain_boxes(method, table[table["frame"] == 1], data, UNSEEN, config=config)
    joint = seen[-1]  # (1, 1 + 2 + 4, d): the passes of crops and frame, of 5 tokens, come before
    seen[:] = [block.attn(joint, joint, joint, need_weights=True)[1][0, 1:3]]
    return found


def test_the_interest_tokens_are_those_that_each_person_attends_to_most(world: World) -> None:
    seen: list[torch.Tensor] = []
    found = explained(world, world.method("st_clip+its_80", iterations=0), seen)
    (attention,) = seen  # (2, 7)
    assert [len(tokens) for tokens in found.interest] == [3, 3]
    for tokens, row in zip(found.interest, attention, strict=True):
        assert tokens.tolist() == row.argsort(descending=True)[:3].tolist()
    assert set(found.interest[0]) != set(found.interest[1])
    # each person's texts are prompted by its own tokens
    assert found.prompted.shape == (2, 2, 64)
    assert not np.allclose(found.prompted[0], found.prompted[1])


def test_more_interest_tokens_than_there_are_prompt_as_all_tokens_do(world: World) -> None:
    config = world.method("st_clip", iterations=0)
    params = {**config.params, "interest_tokens": 100}
    found = explained(world, config.model_copy(update={"params": params}), [])
    assert [sorted(tokens.tolist()) for tokens in found.interest] == [list(range(7))] * 2
    of_all = explained(world, config, [])
    assert np.allclose(found.prompted, of_all.prompted, atol=1e-4)


def test_numbers_of_context_tokens_count_class_token_and_persons(world: World) -> None:
    config = world.method("st_clip+its_80", iterations=0)
    params = {**config.params, "prompt_tokens": "context"}
    seen: list[torch.Tensor] = []
    found = explained(world, config.model_copy(update={"params": params}), seen)
    for tokens, row in zip(found.interest, seen[0][:, 3:], strict=True):
        assert tokens.tolist() == (row.argsort(descending=True)[:3] + 3).tolist()


def test_without_interest_tokens_persons_share_the_texts_of_their_frame(world: World) -> None:
    found = explained(world, world.method("st_clip", iterations=0), [])
    assert [len(tokens) for tokens in found.interest] == [0, 0]
    assert (found.prompted[0] == found.prompted[1]).all()
    assert not np.allclose(found.prompted[0], found.text)
    plain = explained(world, world.method("st_clip+no_prompting", iterations=0), [])
    assert (plain.prompted == plain.text).all()


def test_boxes_of_the_model_s_picture_come_back_to_the_frame() -> None:
    boxes = np.array([[0, 0, 16, 16], [16, 8, 32, 32]], np.float32)
    for how in (Preprocessing(), Preprocessing(frame_mode="squash"), Preprocessing(enlarge=1.5)):
        there = boxes_to_frame(boxes, (48, 64), (32, 32), how)
        assert np.allclose(boxes_to_model(there, (48, 64), (32, 32), how), boxes, atol=1e-4)
    # 64 x 48 becomes 42 x 32, of which the columns 5 to 36 are kept.
    x1 = boxes_to_frame(boxes[:1], (48, 64), (32, 32))[0, 0]
    assert x1 == pytest.approx(5 * 64 / 42)


def test_drawn_are_the_patches_that_are_interest_tokens(tmp_path: Path) -> None:
    write_clip(tmp_path / "frames", "a", np.full((2, 40, 40, 3), (200, 40, 40), np.uint8))
    corners = [(0, 0), (20, 0), (0, 20), (20, 20)]
    shown = TokenPicture(
        clip="a", frame=1, window=[0, 1], label="jump",
        box=np.array([2, 2, 6, 6.0]), others=np.array([[30, 2, 36, 8.0]]), person=1,
        tokens=np.array([2, 5, 0]),  # this person's, patch 2 of 0 .. 3, the class token
        patches=np.array([(x, y, x + 20, y + 20) for x, y in corners], float),
        said=[Said("all tokens", 0.25, "clap", 0.5), Said("3 interest tokens", 0.75, "jump", 0.75)],
    )  # fmt: skip
    assert shown.shown_patches == [2]
    assert shown.token_lines == [
        "3 of 7 tokens prompt this person's texts:",
        "1 of 4 patches (outlined, in full colour)", "the class token", "the person's own token",
        "0 of 1 other persons",
    ]  # fmt: skip
    write_interest_tokens(tmp_path / "1.png", shown, tmp_path / "frames", title="t", lines=["l"])
    picture = np.asarray(Image.open(tmp_path / "1.png").convert("RGB"))
    top = 16 + 25 * 2 + 8  # margin, title and a line, half a margin
    middles = [picture[top + 16 * y + 160, 16 + 16 * x + 160] for x, y in corners]
    full = [bool(middle[0] == 200 and middle[1] == 40) for middle in middles]
    assert full == [False, False, True, False]
    assert all(len(set(middles[n].tolist())) == 1 for n in (0, 1, 3))  # pale and grey
    assert count(picture, TOKEN) > 1000
    assert count(picture, TARGET) > 1000


def tables(*probabilities: list[list[float]]) -> tuple[list[Scores], pd.DataFrame]:
    box = {"x1": 0.0, "y1": 0.0, "x2": 9.0, "y2": 9.0}
    rows = [{"clip": "a", "frame": n, **box} for n in range(3)]
    table = pd.DataFrame(rows).assign(detector_score=1.0, actions=[["clap"], ["jump"], ["clap"]])
    return [Scores.from_parts(table, np.array(p), UNSEEN) for p in probabilities], table


def test_of_each_label_the_person_who_gains_most_by_how_much() -> None:
    # true label:        clap         jump        clap
    (with_, without), table = tables(
        [[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]], [[0.5, 0.5], [0.9, 0.1], [0.4, 0.6]]
    )
    found = [most_helped(with_, without, table, place=place) for place in (1, 2)]
    # jump gains 0.6; clap 0.1 and 0.5
    assert [(person.row, person.label) for person in found] == [(1, "jump"), (2, "clap")]
    with pytest.raises(DataError, match=r"place 3 of 2 unseen labels .* lower place"):
        most_helped(with_, without, table, place=3)
    moved = table.assign(x2=table["x2"] + 1)
    with pytest.raises(DataError, match=r"not those of the 3 annotated boxes .* score stage again"):
        most_helped(with_, without, moved, place=1)


def test_the_plane_of_a_known_matrix() -> None:
    # Along (3, 4) / 5 by -2 and 2, along (-4, 3) / 5 by -1 and 1, around (1, 1).
    one, two = np.array([0.6, 0.8, 0]), np.array([-0.8, 0.6, 0])
    rows = np.array([1, 1, 5]) + np.stack([2 * one, -2 * one, two, -two])
    plane = principal_plane(rows)
    assert np.allclose(plane.mean, [1, 1, 5])
    assert np.allclose(plane.directions, [one, -two])  # the largest part is > 0
    assert np.allclose(plane.shares, [0.8, 0.2])
    assert np.allclose(plane.place(rows[2]), [0, -1])


def test_likeness_is_the_mean_cosine_of_different_labels() -> None:
    features = np.array([[3, 0], [0, 2], [1, 1.0]])
    # cosines 0, sqrt(1/2), sqrt(1/2)
    assert likeness(features) == pytest.approx(2 * 0.5**0.5 / 3)
    assert np.allclose(normalised(features)[0], [1, 0])


def test_more_labels_than_colours_have_other_marks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [f"label_{number}" for number in range(len(COLOURS) + 2)]
    shape = (len(labels), 8)
    split = SplitFeatures("1", labels, rng.normal(size=shape), rng.normal(size=(3, *shape)))
    for name in ("1.png", "2.png"):
        write_label_features(tmp_path / name, [split], title="a title", note="a note")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "1.png").convert("RGB"))
    assert all(count(picture, colour) > 100 for colour in COLOURS)


def test_figures_are_drawn_from_runs(world: World, tmp_path: Path) -> None:
    interest, of_all = make_run(world, "st_clip+its_80"), make_run(world, "st_clip")
    write_figure(world, INTEREST)
    picture = draw(world, tmp_path / "tokens.png", interest, of_all)
    assert count(picture, TOKEN) > 100
    write_figure(world, FEATURES)
    picture = draw(world, tmp_path / "features.png", of_all)
    assert all(count(picture, colour) > 100 for colour in COLOURS[:2])  # clap and jump
    with pytest.raises(ConfigError, match=r"weights are of run"):  # of the other method
        draw(world, tmp_path / "other.png", interest)
    write_figure(world, INTEREST)
    with pytest.raises(ConfigError, match=r"1 --run and 1 --split; .*'st_clip\+its_80', 'st_clip'"):
        draw(world, tmp_path / "half.png", interest)


def test_a_method_that_prompts_no_texts_by_the_frame_has_no_such_figure(world: World) -> None:
    config, out = world.method("clip_crop", iterations=0), world.folder / "run"
    write_untrained(config, split=world.split, seed=0, out=out)
    write_figure(world, FEATURES | {"method": "clip_crop"})
    with pytest.raises(ConfigError, match=r"prompts no label texts by the frame.*st_clip"):
        draw(world, world.folder / "none.png", out)


@pytest.mark.parametrize(
    ("content", "change", "message"),
    [
        (INTEREST, {"kind": "token"}, r"kind of .*one\.yaml.*'token'"),
        (INTEREST, {"method": "st_clip"}, r"method: st_clip has interest_tokens 0 on jhmdb"),
        (
            INTEREST,
            {"compared": "st_clip+its_80"},
            r"compared: st_clip\+its_80 has interest_tokens 3 on jhmdb",
        ),
        (INTEREST, {"method": "clip_frame"}, r"clip_frame has interest_tokens 0"),
        (INTEREST, {"boxes": "detected"}, r"boxes: detected are detections, .* ground_truth"),
        (INTEREST, {"boxes": "truth"}, r"box source of jhmdb.*'truth'"),
        (INTEREST, {"split": "9"}, r"st-clip split of jhmdb.*'9'"),
        (FEATURES, {"splits": ["1", "9"]}, r"st-clip split of jhmdb.*'9'"),
        (FEATURES, {"family": "other"}, r"family of label splits of jhmdb.*'other'"),
        (FEATURES, {"boxes": "gt"}, r"boxes"),  # of other kinds
    ],
)
def test_what_a_figure_cannot_show_is_refused(
    world: World, content: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    write_figure(world, content | change)
    with pytest.raises(ConfigError, match=message):
        load_figure(world.config, "one", scale="small")


def test_a_method_that_reads_stored_features_is_refused(world: World) -> None:
    path = world.config / "scales" / "small.yaml"
    scale = yaml.safe_load(path.read_text())
    scale["methods"]["clip_frame"] = {"features": ["frames"]}
    path.write_text(yaml.safe_dump(scale))
    write_figure(world, FEATURES | {"method": "clip_frame"})
    with pytest.raises(ConfigError, match=r"methods \['clip_frame'\] read stored features"):
        load_figure(world.config, "one", scale="small")


def test_a_split_that_a_figure_leaves_open_is_the_data_set_s_first() -> None:
    figure = load_figure(ROOT / "config", "demo", scale="mini")
    assert "split" not in read_yaml(ROOT / "config" / "figures" / "demo.yaml")
    assert [(run.split, run.method) for run in figure.runs] == [("1", "st_clip")]


def test_splits_are_those_of_the_data_set_and_runs_of_a_split_lie_side_by_side(
    world: World,
) -> None:
    write_figure(world, {k: v for k, v in FEATURES.items() if k != "splits"})
    figure = load_figure(world.config, "one", scale="small")
    assert [(run.split, run.method) for run in figure.runs] == [(s, "st_clip") for s in "1234"]
    assert (figure.files, figure.of_weights) == ([WEIGHTS], True)
    write_figure(world, INTEREST)
    figure = load_figure(world.config, "one", scale="small")
    assert [run.method for run in figure.runs] == ["st_clip+its_80", "st_clip"]
    assert figure.files == [WEIGHTS, "scores_gt_unseen.parquet"]
