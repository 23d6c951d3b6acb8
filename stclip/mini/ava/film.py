"""Renders one film of mini AVA: draws who is there, and each person in what they do.

Legend: T frames, H height, W width, J joints. Pictures are RGB, boxes xyxy in pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from jaxtyping import Float, UInt8

from stclip.mini.ava.repertoire import Arms, AvaRepertoire, Body, Names
from stclip.mini.ava.schedule import Part, Segment, schedule
from stclip.mini.render import MARGIN, Manner, SeenProp, backdrop
from stclip.mini.scenery import VIDEO, Sensor, Style, camera_path
from stclip.mini.ucf.framing import Placement
from stclip.mini.ucf.layers import Layers, Person, Sighting
from stclip.mini.ucf.motion import ARMS, HEAD, Clock, Motion, numbers_in_time, placed
from stclip.mini.ucf.repertoire import Outfit
from stclip.mini.ucf.wardrobe import Wardrobe

HEIGHT, WIDTH = 108, 192
LEAST_SEEN = 0.35  # of a person, else nobody would annotate them
CHANGE_S = 0.3  # in which a body goes over from what it did before
SCALE = (0.46, 0.56)  # body height in the front, picture heights
FRONT, BACK = (0.93, 0.98), 0.1  # where the ground is in the front, and how far up at the back
FILM = replace(VIDEO, angles=(2, 4, 4), roll=0, camera=(0.002, 0.002), clutter=(2, 6), noise=(1, 5))


@dataclass(frozen=True)
class SeenPerson:
    """An annotated person of a key frame."""

    person: int  # its number in the film
    labels: Names  # the pose first
    box_xyxy: Float[np.ndarray, "4"]  # tight, inclusive corners


@dataclass(frozen=True)
class KeyFrame:
    """What is known about the frame nearest to a whole second."""

    second: int
    frame: int
    persons: tuple[SeenPerson, ...]
    props: tuple[SeenProp, ...]


@dataclass(frozen=True)
class Film:
    """A rendered film and what is known about it."""

    frames: UInt8[np.ndarray, "T H W 3"]
    rate: Fraction  # frames a second
    key_frames: tuple[KeyFrame, ...]
    num_people: int


@dataclass(frozen=True)
class Staging:
    """Who plays what in a film, and how large."""

    scale: float  # pixels per body height in the front
    front: float  # row of the ground there
    cast: list[Part]  # from the back to the front


def stage_film(
    rng: np.random.Generator, theme: str, repertoire: AvaRepertoire, *, seconds: int
) -> Staging:
    """Draw what happens in a film of a theme that lasts so many seconds."""
    scale = rng.uniform(*SCALE) * HEIGHT
    front = rng.uniform(*FRONT) * HEIGHT
    chosen = repertoire.themes[theme]
    cast = schedule(rng, repertoire, chosen, seconds=seconds, stage=WIDTH / scale)
    return Staging(scale, front, cast)


def render_film(
    theme: str,
    repertoire: AvaRepertoire,
    *,
    seconds: int,
    rate: Fraction,
    rng: np.random.Generator,
    style: Style = FILM,
) -> Film:
    """Render a film as it is staged first from `rng`; each whole second has a key frame."""
    staging = stage_film(rng, theme, repertoire, seconds=seconds)
    num_frames = int(seconds * rate)
    times = np.arange(num_frames) / float(rate)
    wardrobe = Wardrobe(rng, repertoire.colours, repertoire.things, style)
    scenes = repertoire.themes[theme].scenes
    scene = repertoire.scenes[scenes[rng.integers(len(scenes))]]
    camera = camera_path(rng, num_frames, height=HEIGHT, limit=MARGIN - 1, style=style)
    back, _ = backdrop(rng, scene, style, picture=(HEIGHT, WIDTH))
    people = []
    for number, part in enumerate(staging.cast):
        ground = np.array([0.0, staging.front - part.back * BACK * HEIGHT])
        place = Placement(ground, staging.scale * part.depth, direction=1)
        stage = _Stage(rng, repertoire, wardrobe, style, place, number)
        people.append(list(stage.scenes(part, times)))
    sensor = Sensor.draw(rng, style)
    keys = {round(second * rate): second for second in range(seconds)}
    frames = np.empty((num_frames, HEIGHT, WIDTH, 3), np.uint8)
    known = []
    for t in range(num_frames):
        x, y = (np.rint(camera[t]).astype(int) + MARGIN).tolist()
        image = np.ascontiguousarray(back[y : y + HEIGHT, x : x + WIDTH])
        layers = Layers(image, camera[t])
        there = [scene for scenes in people for scene in scenes if scene.first <= t < scene.last]
        for acted in there:
            layers.add_person(acted.person, t - acted.first)
        if t in keys:
            seen = tuple(_annotated(there, layers.sightings()))
            known.append(KeyFrame(keys[t], t, seen, layers.props() if there else ()))
        frames[t] = sensor.expose(rng, image)
    return Film(frames, rate, tuple(known), len(staging.cast))


@dataclass(frozen=True)
class _Scene:
    """A segment of one person, ready to be drawn."""

    number: int  # of the person
    first: int  # frame
    last: int  # the frame after the last
    labels: Names
    person: Person


def _annotated(
    there: Sequence[_Scene], sightings: Sequence[Sighting | None]
) -> Iterator[SeenPerson]:
    for scene, sighting in zip(there, sightings, strict=True):
        if sighting is not None and sighting.share >= LEAST_SEEN:
            yield SeenPerson(scene.number, scene.labels, sighting.box_xyxy)


@dataclass
class _Stage:
    """Where one person acts; body and clothes stay the same for the whole film."""

    rng: np.random.Generator
    repertoire: AvaRepertoire
    wardrobe: Wardrobe
    style: Style
    place: Placement
    number: int

    def __post_init__(self) -> None:
        self.look, self.shirt = self.wardrobe.look(Outfit(), self.place.scale)
        self.proportions = Manner.draw(
            self.rng, next(iter(self.repertoire.bodies.values())), self.style
        ).proportions

    def scenes(self, part: Part, times: Float[np.ndarray, " T"]) -> Iterator[_Scene]:
        """The person's segments in the film's frames."""
        before: Motion | None = None
        for segment in part.segments:
            first, last = np.searchsorted(times, (segment.start_s, segment.end_s)).tolist()
            if first == last:
                continue
            since = times[first:last] - segment.start_s
            motion = self._moved(segment, since)
            if before is not None:
                motion = _gone_over(before, motion, since)
            before = motion
            person = self._person(segment, motion)
            yield _Scene(self.number, first, last, segment.labels, person)

    def _moved(self, segment: Segment, since: Float[np.ndarray, " T"]) -> Motion:
        """Where the joints are, of the body with arms that it may lend."""
        body = self.repertoire.bodies[segment.body]
        role = body.model_copy(update={"place": segment.way[0], "mirrored": segment.sign < 0})
        manner = self._manner(body, segment)
        numbers = numbers_in_time(role, since, manner)
        if segment.arms is not None:
            arms = self.repertoire.arms[segment.arms]
            lent = numbers_in_time(arms, since, self._manner(arms, segment))
            lent_parts = slice(HEAD, ARMS.stop)
            numbers[:, lent_parts] = lent[:, lent_parts]
        motion = placed(role, Clock(since, np.ones(len(since), bool)), manner, numbers)
        gone = (segment.way[1] - segment.way[0]) * since / segment.seconds
        shift = np.stack([gone, np.zeros_like(gone)], 1)
        return replace(motion, body=motion.body + shift[:, None], track=motion.track + shift)

    def _manner(self, movement: Body | Arms, segment: Segment) -> Manner:
        fast, phase = segment.tempo
        least, most = movement.cycles
        return replace(
            Manner.draw(self.rng, movement, self.style),
            proportions=self.proportions,
            num_cycles=least + fast * (most - least),
            phase=phase,
            amplitude=1.0,
        )

    def _person(self, segment: Segment, motion: Motion) -> Person:
        names = self.repertoire.bodies[segment.body].things
        if segment.arms is not None:
            names += self.repertoire.arms[segment.arms].things
        things = self.wardrobe.things(names, motion, self.place)
        pixels = self.place.to_pixels(motion.body)
        return Person(motion, self.look, self.shirt, pixels, motion.sign, things, acts=True)


def _gone_over(before: Motion, motion: Motion, since: Float[np.ndarray, " T"]) -> Motion:
    """The motion, whose first moments lead over from where the body was before."""
    weight = np.clip(since / CHANGE_S, 0, 1)[:, None, None]
    return replace(motion, body=before.body[-1] * (1 - weight) + motion.body * weight)
