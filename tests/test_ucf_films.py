"""The films of the miniature UCF101-24: choreographies, persons, things, boxes."""

import copy
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from stclip.errors import ConfigError
from stclip.mini.render import HEIGHT, WIDTH, Manner
from stclip.mini.scenery import STILL, VIDEO, Style
from stclip.mini.ucf import layers as layers_module
from stclip.mini.ucf.film import Film, render_film
from stclip.mini.ucf.motion import Clock, move
from stclip.mini.ucf.repertoire import (
    FOLDER,
    UCF_ACTIONS,
    Role,
    Thing,
    Window,
    film_repertoire,
    load_film_repertoire,
)
from stclip.mini.ucf.things import place_thing

MANNER = Manner(proportions={}, num_cycles=1, phase=0, amplitude=1, jitter=np.zeros(11))


@pytest.fixture(scope="module")
def contents() -> list[dict]:
    """What stands in the two files."""
    names = ("choreographies.yaml", "things.yaml")
    return [yaml.safe_load((FOLDER / name).read_text("utf-8")) for name in names]


def film(action: str, seed: int = 0, num_frames: int = 30, style: Style = VIDEO) -> Film:
    rng = np.random.default_rng([5, seed])
    repertoire = load_film_repertoire()
    return render_film(action, repertoire, style=style, num_frames=num_frames, rng=rng)


def digest(made: Film) -> str:
    boxes = [tube.boxes_xyxy for tube in made.tubes] + list(made.bystanders)
    return hashlib.sha256(b"".join(a.tobytes() for a in [made.frames, *boxes])).hexdigest()


def active_frames(made: Film) -> set[int]:
    return {t for b in made.tubes for t in range(b.first, b.first + len(b.boxes_xyxy))}


def standing(**key: object) -> dict[str, object]:
    limbs = dict.fromkeys(["near_arm", "far_arm", "near_leg", "far_leg"], (0, 0))
    return {"torso": 0, "head": 0, "lift": 0} | limbs | key


def whole(times: list[float]) -> Clock:
    return Clock(np.array(times), np.ones(len(times), bool))


def test_the_repertoire_is_the_24_official_actions() -> None:
    repertoire = load_film_repertoire()
    assert len(UCF_ACTIONS) == 24
    assert tuple(repertoire.actions) == UCF_ACTIONS == tuple(sorted(UCF_ACTIONS))
    phrases = [p for action in repertoire.actions.values() for p in action.phrases]
    assert len(set(phrases)) == len(phrases)
    assert {"Fencing", "IceDancing", "SalsaSpin"} <= {
        name for name, action in repertoire.actions.items() if len(action.roles) == 2
    }
    used = {t for a in repertoire.actions.values() for t in a.set} | {
        t for a in repertoire.actions.values() for role in a.roles for t in role.things
    }
    assert used == set(repertoire.things)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, t: c["actions"].pop("Surfing"), r"missing \['Surfing'\]"),
        (lambda c, t: c["actions"]["Biking"].update(speed=3), r"actions\.Biking\.speed"),
        (
            lambda c, t: c["actions"]["Diving"]["roles"][0]["keys"][0].update(spin=3),
            r"Diving\.roles\.0\.keys\.0\.spin",
        ),
        (lambda c, t: c["actions"]["Skiing"].update(scene="moon"), "Skiing: unknown scene 'moon'"),
        (lambda c, t: c["actions"]["Fencing"].update(set=["tank"]), "Fencing: unknown thing"),
        (lambda c, t: c["actions"]["Biking"].update(groups=[0.5, 0.4]), "must sum to 1"),
        (
            lambda c, t: c["actions"]["Diving"]["window"].update(twice=0.5),
            "must end where it began",
        ),
        (
            lambda c, t: c["actions"]["Diving"]["window"].update(share=[0.5, 1.5]),
            "share must be at most 1",
        ),
        (lambda c, t: c["actions"]["Surfing"].update(phrases=["surfing"]), "Surfing.phrases"),
        (
            lambda c, t: c["actions"]["Fencing"]["roles"][0].update(outfit={"shirt": "beige"}),
            "unknown shirt 'beige'",
        ),
        (lambda c, t: t["colours"].pop("sand"), "unknown colour 'sand'"),
        (
            lambda c, t: t["things"]["dog"]["parts"][0].update(points=["paw"]),
            r"unknown joints \['paw'\]",
        ),
        (
            lambda c, t: t["things"]["volleyball"]["path"][1].update(joint="tail"),
            r"unknown joints \['tail'\]",
        ),
        (lambda c, t: t["things"]["football"]["path"].pop(), "times must rise from 0 to 1"),
    ],
)
def test_a_wrong_repertoire_is_named(change, message, contents) -> None:
    plays, things = copy.deepcopy(contents)
    change(plays, things)
    with pytest.raises(ConfigError, match=message) as error:
        film_repertoire(plays | things, Path("folder/choreographies.yaml"))
    assert str(error.value).startswith("folder/choreographies.yaml: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "choreographies.yaml", tmp_path)
    with pytest.raises(ConfigError, match=r"things\.yaml"):
        load_film_repertoire(tmp_path)


def test_the_whole_body_turns_forward_about_the_hip() -> None:
    keys = [standing(at=0, lift=1), standing(at=1, lift=1, turn=180)]
    role = Role.model_validate({"keys": keys, "anchor": "hip"})
    at = move(role, whole([0, 0.5, 1]), MANNER).joints
    # Torso 0.3 and head 0.115 from the hip at 1: above it, in front of it, below it.
    assert at["head"] == pytest.approx(np.array([[0, 1.415], [0.415, 1], [0, 0.585]]))
    assert at["near_foot"][2] == pytest.approx([0, 1.48])  # thigh 0.245 and shin 0.235


def test_a_spin_turns_about_the_height_and_a_mirrored_role_faces_backward() -> None:
    keys = [standing(at=0, near_arm=(90, 90)), standing(at=1, near_arm=(90, 90), yaw=180)]
    content = {"keys": keys, "anchor": "feet", "place": 2.0}
    at = move(Role.model_validate(content), whole([0, 0.5, 1]), MANNER).joints
    assert at["near_hand"][:, 0] == pytest.approx([2.33, 2, 1.67])  # an arm of 2 x 0.165
    assert at["near_hand"][:, 1] == pytest.approx([0.78] * 3)
    at = move(Role.model_validate(content | {"mirrored": True}), whole([0]), MANNER).joints
    assert at["near_hand"][0, 0] == pytest.approx(1.67)


@pytest.mark.parametrize(
    ("anchor", "joint", "height"), [("hands", "near_hand", 1.2), ("hip", "hip", 0.5)]
)
def test_a_role_hangs_or_sits_at_its_anchor(anchor: str, joint: str, height: float) -> None:
    keys = [standing(at=0, near_arm=(180, 180)), standing(at=1, near_arm=(180, 180))]
    content = {"keys": keys, "anchor": anchor, "height": height, "rise": 0.4, "travel": 1.0}
    at = move(Role.model_validate(content), whole([0, 1]), MANNER).joints[joint]
    assert at == pytest.approx(np.array([[-0.5, height], [0.5, height + 0.4]]))


def test_who_stands_on_hands_touches_the_ground_with_them() -> None:
    key = standing(turn=180, near_arm=(180, 180), far_arm=(170, 170))
    role = Role.model_validate({"keys": [key | {"at": 0}, key | {"at": 1}]})
    at = move(role, whole([0]), MANNER).joints
    assert at["near_hand"][0, 1] == pytest.approx(0)
    assert at["hip"][0, 1] == pytest.approx(0.63)  # arm 0.33 and torso 0.3


def test_an_action_may_happen_twice_with_a_gap() -> None:
    window = Window(chance=1, share=(0.5, 0.5), twice=1)
    for seed in range(20):
        clock = Clock.of_film(np.random.default_rng(seed), window, 48)
        steps = np.diff(np.concatenate([[0], clock.active.astype(int), [0]]))
        starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
        assert (ends - starts).tolist() == [12, 12]  # half of 48 frames, twice
        assert starts[1] - ends[0] >= 3
        for start, end in zip(starts, ends, strict=True):
            assert clock.times[start:end] == pytest.approx(np.linspace(0, 1, 12))
        assert (clock.times[: starts[0]] == 0).all()
        assert (clock.times[ends[1] :] == 1).all()


def test_two_tubes_of_one_player_who_is_idle_between_them() -> None:
    films = [film("TennisSwing", seed, num_frames=32) for seed in range(8)]
    twice = [made for made in films if len(made.tubes) == 2 and made.num_people == 1]
    assert twice, "no seed has a second swing"
    for made in twice:
        first, second = made.tubes
        assert first.first + len(first.boxes_xyxy) < second.first
        assert [len(boxes) for boxes in made.bystanders] == [
            0 if t in active_frames(made) else 1 for t in range(32)
        ]


def test_nobody_is_annotated_outside_the_window() -> None:
    for seed in range(3):
        made = film("VolleyballSpiking", seed)
        active = active_frames(made)
        assert 6 <= len(active) < 30
        for t in range(30):
            annotated = sum(b.first <= t < b.first + len(b.boxes_xyxy) for b in made.tubes)
            assert annotated + len(made.bystanders[t]) == made.num_people
            assert annotated == (t in active)


def test_a_diver_in_the_water_has_no_box() -> None:
    made = film("Diving", seed=1)
    (tube,) = made.tubes
    last = tube.first + len(tube.boxes_xyxy)
    assert 0 < tube.first < last < 30
    assert len(made.bystanders[0]) == made.num_people  # the diver waits on the board
    assert len(made.bystanders[-1]) == made.num_people - 1


@pytest.mark.parametrize("still", [True, False], ids=["still", "film"])
def test_every_action_shows_its_persons_inside_the_picture(still: bool) -> None:
    repertoire = load_film_repertoire()
    num_frames = 1 if still else 8
    for index, action in enumerate(UCF_ACTIONS):
        made = render_film(
            action,
            repertoire,
            style=STILL if still else VIDEO,
            num_frames=num_frames,
            rng=np.random.default_rng([2, index]),
            still=still,
        )
        assert made.frames.shape == (num_frames, HEIGHT, WIDTH, 3)
        assert len(made.bystanders) == len(made.props) == num_frames
        assert made.scene in repertoire.scenes
        assert len(made.tubes) >= len(repertoire.actions[action].roles), action
        props = [prop.box_xyxy for seen in made.props for prop in seen]
        for boxes in [
            *(b.boxes_xyxy for b in made.tubes),
            *made.bystanders,
            *(b[None] for b in props),
        ]:
            assert boxes.dtype == np.float32
            x1, y1, x2, y2 = boxes.T
            assert (x1 >= 0).all()
            assert (y1 >= 0).all()
            assert (x1 <= x2).all()
            assert (y1 <= y2).all()
            assert (x2 <= WIDTH - 1).all()
            assert (y2 <= HEIGHT - 1).all()


def test_a_tube_has_the_boxes_of_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []

    def draw(canvas, *args, **settings) -> None:
        draw_person(canvas, *args, **settings)
        masks.append(canvas.mask.copy())

    draw_person = layers_module.draw_person
    monkeypatch.setattr(layers_module, "draw_person", draw)
    made = film("Fencing", num_frames=5, style=replace(VIDEO, bystander=0))
    assert made.num_people == 2
    assert made.shirt == "white"
    assert [(tube.first, len(tube.boxes_xyxy)) for tube in made.tubes] == [(0, 5), (0, 5)]
    for person, tube in enumerate(made.tubes):
        for mask, box in zip(masks[person::2], tube.boxes_xyxy, strict=True):
            y, x = np.nonzero(mask)
            assert box.tolist() == [x.min(), y.min(), x.max(), y.max()]


def test_several_couples_dance() -> None:
    counts = {len(film("SalsaSpin", seed, num_frames=8).tubes) for seed in range(8)}
    assert counts == {2, 4, 6}


def test_a_horse_is_seen_under_its_rider() -> None:
    made = film("HorseRiding", num_frames=4)
    (tube,) = made.tubes
    for seen, rider in zip(made.props, tube.boxes_xyxy, strict=True):
        (horse,) = seen
        assert horse.kind == "horse"
        assert horse.box_xyxy[3] > rider[3]  # its hooves are below the rider's feet
        assert horse.box_xyxy[0] < rider[0] < rider[2] < horse.box_xyxy[2]


def test_a_ball_leaves_the_hand_and_flies_in_an_arc() -> None:
    ball = {
        "path": [{"at": 0, "joint": "near_hand"}, {"at": 1, "xy": [2, 0.45], "arc": 0.3}],
        "parts": [{"draw": "disc", "points": [[0, 0]], "colour": "red"}],
    }
    role = Role.model_validate({"keys": [standing(at=0), standing(at=1)], "anchor": "feet"})
    motion = move(role, whole([0, 0.5, 1]), MANNER)
    placed = place_thing(
        Thing.model_validate(ball),
        motion,
        {"red": (200, 0, 0)},
        scale=1.0,
        line=1.0,
        to_pixels=lambda xy: xy,
    )
    # The hand hangs at 0.45; half way the ball is 0.3 above the line to (2, 0.45).
    assert placed.parts[0][2][:, 0] == pytest.approx(np.array([[0, 0.45], [1, 0.75], [2, 0.45]]))


def test_same_seed_same_film_another_seed_another() -> None:
    one, same, other = (digest(film("IceDancing", seed, num_frames=4)) for seed in (0, 0, 1))
    assert one == same != other
