"""The films of the miniature AVA: what may be played, who plays when, what is drawn and known."""

import copy
import json
import shutil
from collections import Counter, defaultdict
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from conftest import ROOT

from stclip.errors import ConfigError
from stclip.mini import ava_archives
from stclip.mini.ava import film as film_module
from stclip.mini.ava.containers import CONTAINERS, film_file
from stclip.mini.ava.film import HEIGHT, WIDTH, Film, render_film, stage_film
from stclip.mini.ava.repertoire import FOLDER, ava_repertoire, load_ava_repertoire
from stclip.mini.ava.schedule import STEP, Segment
from stclip.mini.ava_stills import ava_stills
from stclip.mini.captions import all_phrases

REPERTOIRE = load_ava_repertoire()
POSES = {*REPERTOIRE.action_list.PERSON_MOVEMENT}
UNSEEN = {  # of the paper's splits, those that the miniature plays
    1: {"crawl", "dance", "jump/leap", "martial art", "brush teeth", "kick (an object)"}
    | {"shovel", "stir", "take a photo"},
    2: {"martial art", "shovel", "take a photo", "work on a computer", "hand clap"}
    | {"kick (a person)"},
    3: {"shovel", "stir", "text on/look at a cellphone", "hug (a person)"},
}
JOBS = list(ava_archives._jobs(REPERTOIRE, 0, {"train": 48, "val": 36}, 30, range(2, 28)))


def cast_of(job) -> list[tuple[Segment, ...]]:
    """What each person of a film does."""
    place = [job.seed, ["train", "val"].index(job.side), job.index]
    rng = np.random.default_rng(place)
    staging = stage_film(rng, job.theme, REPERTOIRE, seconds=job.seconds)
    return [part.segments for part in staging.cast]


@pytest.fixture(scope="module")
def casts() -> list[list[tuple[Segment, ...]]]:
    """Of every film of the default miniature."""
    return [cast_of(job) for job in JOBS]


def labels_at(cast, second: int) -> list[tuple[str, ...]]:
    return [s.labels for part in cast for s in part if s.start_s <= second < s.end_s]


def seconds_of(cast) -> Counter[str]:
    """How many annotated boxes a film has of each class, were everybody in sight."""
    return Counter(
        label
        for second in ava_archives.annotated_seconds(30)
        for labels in labels_at(cast, second)
        for label in labels
    )


@cache
def contents() -> dict:
    """What stands in the files."""
    names = ("choreographies", "things", "themes")
    read = {name: yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8")) for name in names}
    action_list = yaml.safe_load((FOLDER / "action_list.yaml").read_text("utf-8"))
    return read["choreographies"] | read["things"] | read["themes"] | {"action_list": action_list}


def test_31_of_the_80_official_classes_are_played() -> None:
    numbers = REPERTOIRE.action_list.numbers
    kinds = Counter(kind for _, kind in REPERTOIRE.action_list.classes)
    assert kinds == {
        "PERSON_MOVEMENT": 14,
        "OBJECT_MANIPULATION": 49,
        "PERSON_INTERACTION": 17,
    }
    assert [numbers[n] for n in ("bend/bow (at the waist)", "walk", "answer phone")] == [1, 14, 15]
    assert [numbers[n] for n in ("write", "fight/hit (a person)", "watch (a person)")] == [
        63,
        64,
        80,
    ]
    assert len(REPERTOIRE.played) == 31
    assert {label for labels in UNSEEN.values() for label in labels} < {*REPERTOIRE.played}


@pytest.mark.parametrize("split", UNSEEN)
def test_the_unseen_classes_are_those_of_the_label_splits(split: int) -> None:
    content = json.loads((ROOT / f"splits/ava/st-clip/{split}.json").read_text("utf-8"))
    assert {*content["unseen"]} & {*REPERTOIRE.played} == UNSEEN[split]


def test_everything_in_the_files_is_used() -> None:
    shown = {*REPERTOIRE.everywhere} | {
        name for theme in REPERTOIRE.themes.values() for name in theme.featured
    }
    assert shown == set(REPERTOIRE.activities)
    players = [p for activity in REPERTOIRE.activities.values() for p in activity.players]
    assert {b for p in players for b in p.bodies} == set(REPERTOIRE.bodies)
    assert {a for p in players for a in p.arms} == set(REPERTOIRE.arms)
    things = {t for m in REPERTOIRE.bodies.values() for t in m.things}
    things |= {t for m in REPERTOIRE.arms.values() for t in m.things}
    assert things == set(REPERTOIRE.things)
    colours = {part.colour for thing in REPERTOIRE.things.values() for part in thing.parts}
    assert colours == set(REPERTOIRE.colours)
    assert {s for t in REPERTOIRE.themes.values() for s in t.scenes} == set(REPERTOIRE.scenes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["bodies"]["run"].update(pose="fly"), r"run: unknown pose \['fly'\]"),
        (lambda c: c["bodies"]["run"].update(tempo=3), r"bodies\.run\.tempo"),
        (lambda c: c["bodies"]["run"].pop("cycles"), r"bodies\.run\.cycles"),
        (lambda c: c["bodies"]["sit"].update(things=["sofa"]), r"sit: unknown thing \['sofa'\]"),
        (lambda c: c["arms"]["phone"].update(labels=["call"]), r"unknown class \['call'\]"),
        (lambda c: c["arms"]["phone"].update(labels=["sit"]), r"answer phone: unknown class"),
        (
            lambda c: c["activities"]["hug"]["players"][0].update(labels=["drink", "stir"]),
            "hug: beside a pose there are up to 2 classes, each once",
        ),
        (
            lambda c: c["activities"]["hug"]["players"][0].update(labels=["hug (a person)"]),
            "hug: beside a pose there are up to 2 classes, each once",
        ),
        (lambda c: c["activities"]["lie"].update(seconds=[6, 3]), r"must be \[least, most\]"),
        (lambda c: c["activities"]["lie"].update(players=[]), r"activities\.lie\.players"),
        (
            lambda c: c["activities"]["lie"]["players"][0].update(bodies=["float"]),
            r"lie: unknown body \['float'\]",
        ),
        (
            lambda c: c["activities"]["stir"]["players"][0].update(arms=["beat"]),
            r"stir: unknown arms \['beat'\]",
        ),
        (lambda c: c["everywhere"].append("swim"), r"everywhere: unknown activity \['swim'\]"),
        (lambda c: c["themes"]["dojo"].update(featured=["swim"]), "dojo: unknown activity"),
        (lambda c: c["themes"]["dojo"].update(scenes=["moon"]), "dojo: unknown scene"),
        (lambda c: c["colours"].pop("carton"), r"unknown colour \['carton'"),
        (lambda c: c["phrases"].pop("sit"), "phrases must be of the classes that are played"),
        (lambda c: c["action_list"].pop("PERSON_MOVEMENT"), r"action_list\.PERSON_MOVEMENT"),
    ],
)
def test_a_wrong_repertoire_is_named(change, message: str) -> None:
    content = copy.deepcopy(contents())
    change(content)
    with pytest.raises(ConfigError, match=message) as error:
        ava_repertoire(content, Path("folder/choreographies.yaml"))
    assert str(error.value).startswith("folder/choreographies.yaml: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("choreographies", "things", "themes"):
        shutil.copy(FOLDER / f"{name}.yaml", tmp_path)
    with pytest.raises(ConfigError, match=r"action_list\.yaml"):
        load_ava_repertoire(tmp_path)


@pytest.mark.parametrize(("split", "free"), [(1, 26), (2, 28), (3, 28)])
def test_half_of_the_training_films_are_free_of_a_splits_unseen_classes(
    split: int, free: int, casts
) -> None:
    films = [seconds_of(c) for job, c in zip(JOBS, casts, strict=True) if job.side == "train"]
    all_labels = [
        {s.labels[i] for part in c for s in part for i in range(len(s.labels))}
        for job, c in zip(JOBS, casts, strict=True)
        if job.side == "train"
    ]
    assert len(films) == 48
    # In no second, annotated or not, does a film of these themes show an unseen class.
    assert sum(not labels & UNSEEN[split] for labels in all_labels) == free


def test_every_class_is_played_in_training_and_unseen_ones_in_several_films_of_val(casts) -> None:
    films: dict[str, dict[str, int]] = {"train": defaultdict(int), "val": defaultdict(int)}
    for job, cast in zip(JOBS, casts, strict=True):
        for label in seconds_of(cast):
            films[job.side][label] += 1
    assert {*films["train"]} == {*films["val"]} == {*REPERTOIRE.played}
    unseen = {label for labels in UNSEEN.values() for label in labels}
    assert min(films["val"][label] for label in unseen) >= 5


def test_three_to_five_persons_with_a_pose_and_up_to_two_other_classes(casts) -> None:
    assert {len(cast) for cast in casts} == {3, 4, 5}
    for cast in casts:
        for labels in (s.labels for part in cast for s in part):
            assert labels[0] in POSES
            assert not {*labels[1:]} & POSES
            assert len({*labels}) == len(labels) <= 3


def test_what_a_person_does_has_no_gap_and_leads_from_place_to_place(casts) -> None:
    comes = goes = turns = 0
    for part in (part for cast in casts for part in cast):
        assert part[-1].end_s <= 30 or part[-1].labels[0] in ("walk", "run/jog")  # goes
        comes += part[0].start_s > 0
        goes += part[-1].end_s < 30
        turns += len({s.labels for s in part})
        for before, after in pairwise(part):
            assert before.end_s == after.start_s
            assert before.way[1] == pytest.approx(after.way[0], abs=STEP)
        for segment in part:
            assert segment.seconds > 0
            far = segment.way[1] - segment.way[0]
            assert far == 0 or np.sign(far) == segment.sign  # nobody walks backward
    num_people = sum(map(len, casts))
    assert 0.2 < comes / num_people < 0.6
    assert 0.2 < goes / num_people < 0.5
    assert turns / num_people > 3  # classes change over time


def test_two_who_do_something_together_face_each_other_at_its_gap(casts) -> None:
    met = 0
    for cast in casts:
        for left in (s for part in cast for s in part if "hand shake" in s.labels):
            partners = [
                s
                for part in cast
                for s in part
                if s is not left and "hand shake" in s.labels and s.start_s == left.start_s
            ]
            partners = [s for s in partners if s.tempo == left.tempo]
            assert len(partners) == 1
            assert partners[0].sign == -left.sign
            gap = (partners[0].way[0] - left.way[0]) * left.sign
            assert gap == pytest.approx(REPERTOIRE.activities["shake hands"].gap)
            met += 1
    assert met >= 20


def test_some_seconds_have_nobody(casts) -> None:
    empty = [not labels_at(cast, 2) for cast in casts]
    assert 1 <= sum(empty) < len(casts) / 4


def drawn(monkeypatch: pytest.MonkeyPatch, theme: str, seed: int, rate: Fraction) -> Film:
    """A film of persons alone before a green ground, as no camera would take it."""
    layers = film_module.Layers
    monkeypatch.setattr(layers, "draw", lambda *args: None)
    green = np.full((HEIGHT + 24, WIDTH + 24, 3), (0, 255, 0), np.uint8)
    monkeypatch.setattr(film_module, "backdrop", lambda *args, **settings: (green, 0.5))
    monkeypatch.setattr(film_module.Sensor, "expose", lambda self, rng, image: image)
    rng = np.random.default_rng(seed)
    return render_film(theme, REPERTOIRE, seconds=10, rate=rate, rng=rng)


@pytest.mark.parametrize(
    ("suffix", "rate", "starts_at"),
    [
        (".mkv", Fraction(12000, 1001), Fraction(1417, 1000)),
        (".mp4", Fraction(25), Fraction(0)),
        (".webm", Fraction(12000, 1001), Fraction(0)),
    ],
)
def test_boxes_are_those_of_the_persons_in_the_decoded_key_frames(
    suffix: str, rate: Fraction, starts_at: Fraction, monkeypatch, tmp_path: Path
) -> None:
    film = drawn(monkeypatch, "everyday", 4, rate)
    path = tmp_path / f"film{suffix}"
    path.write_bytes(film_file(film.frames, CONTAINERS[suffix], rate=rate, starts_at=starts_at))
    with av.open(path) as container:
        stream = container.streams.video[0]
        begin = (container.start_time or 0) / 1e6
        pictures = {
            frame.time: frame.to_ndarray(format="rgb24") for frame in container.decode(stream)
        }
    assert begin == pytest.approx(float(starts_at), abs=float(1 / rate))
    assert len(pictures) == len(film.frames)
    checked = 0
    for key in film.key_frames:
        time = min(pictures, key=lambda t: abs(t - begin - key.second))
        green = pictures[time].astype(int) @ [-1, 2, -1] // 2  # of pure green 255
        mask = green < 128
        boxes = [seen.box_xyxy.astype(int) for seen in key.persons]
        for x1, y1, x2, y2 in boxes:
            # Its outermost rows and columns, 2 pixels of the outline and the codec aside.
            inside = mask[max(0, y1 - 2) : y2 + 3, max(0, x1 - 2) : x2 + 3]
            assert inside.any(1).nonzero()[0].min() <= 4
            assert inside.any(1).nonzero()[0].max() >= y2 - max(0, y1 - 2) - 2
            assert inside.any(0).nonzero()[0].min() <= 4
            assert inside.any(0).nonzero()[0].max() >= x2 - max(0, x1 - 2) - 2
            checked += 1
        for x1, y1, x2, y2 in boxes:
            mask[max(0, y1 - 3) : y2 + 4, max(0, x1 - 3) : x2 + 4] = False
        assert mask.sum() <= 60  # but for what is too little to be annotated, nobody is outside
    assert checked >= 10


def test_who_is_hidden_or_a_sliver_is_not_annotated(monkeypatch: pytest.MonkeyPatch) -> None:
    film = drawn(monkeypatch, "everyday", 4, Fraction(2))
    seen = sum(len(key.persons) for key in film.key_frames)
    monkeypatch.setattr(film_module, "LEAST_SEEN", 1.01)
    nobody = drawn(monkeypatch, "everyday", 4, Fraction(2))
    assert seen > 0 == sum(len(key.persons) for key in nobody.key_frames)


def test_a_person_looks_the_same_all_the_time() -> None:
    shirts = []

    class Recorded(film_module.Actor):
        def acts(self, segments, times):
            for act in super().acts(segments, times):
                shirts.append((self.number, act.person.look))
                yield act

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(film_module, "Actor", Recorded)
        rng = np.random.default_rng(4)
        render_film("office", REPERTOIRE, seconds=10, rate=Fraction(1), rng=rng)
    assert len(shirts) > len({number for number, _ in shirts})
    assert len({*map(repr, shirts)}) == len({number for number, _ in shirts})


def test_same_seed_same_film_another_seed_another() -> None:
    def film(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        return render_film(
            "dojo", REPERTOIRE, seconds=8, rate=Fraction(1), rng=rng
        ).frames.tobytes()

    assert film(0) == film(0) != film(1)


def test_stills_show_each_class_whole_in_a_picture_of_clips_size() -> None:
    stills = ava_stills()
    assert stills.actions == REPERTOIRE.played
    for number, action in enumerate(stills.actions):
        still = stills.for_clip(action, np.random.default_rng([1, number]))
        assert still.picture.shape == (96, 128, 3)
        assert still.shirt in stills.shirts
        assert still.scene in stills.scene_phrases
        pair = {len(a.players) for a in REPERTOIRE.activities.values() if shows(a, action)}
        assert len(still.boxes_xyxy) in pair, action
        assert still.boxes_xyxy[:, 1].min() > 0, action  # no head is cut off
        assert still.boxes_xyxy[:, 3].max() < 95, action


def shows(activity, action: str) -> bool:
    return any(action in labels for p in activity.players for labels in REPERTOIRE.all_labels(p))


def test_a_detector_sees_moments_of_films() -> None:
    stills = ava_stills()
    drawn = [stills.for_detector("walk", np.random.default_rng(seed)) for seed in range(6)]
    assert {still.picture.shape for still in drawn} == {(HEIGHT, WIDTH, 3)}
    assert max(len(still.boxes_xyxy) for still in drawn) >= 3
    assert all(still.boxes_xyxy.shape[1:] == (4,) for still in drawn)


def test_captions_of_stills_name_each_class_in_full_and_know_the_words_of_all_80() -> None:
    stills = ava_stills()
    names = {name for spellings in stills.spellings.values() for _, name in spellings}
    assert names == {*REPERTOIRE.action_list.numbers}
    phrases = [p for phrases in stills.action_phrases.values() for p in phrases]
    assert len({*phrases}) == len(phrases) >= 3 * 31
    assert {"sit", "row boat"} <= {*all_phrases(stills)}
