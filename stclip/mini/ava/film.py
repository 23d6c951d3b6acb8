"""Renders one film of mini AVA: draws who is there, and each person in what they do.

Legend: T frames, H height, W width, J joints. Pictures are RGB, boxes xyxy in pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from jaxtyping import Float, UInt8

from stclip.mini.ava.acting import Act, Actor
from stclip.mini.ava.repertoire import AvaRepertoire, Names
from stclip.mini.ava.schedule import Part, schedule
from stclip.mini.render import MARGIN, SeenProp, backdrop
from stclip.mini.scenery import VIDEO, Sensor, Style, camera_path
from stclip.mini.ucf.framing import Placement
from stclip.mini.ucf.layers import Layers, Sighting
from stclip.mini.ucf.wardrobe import Wardrobe

HEIGHT, WIDTH = 108, 192
LEAST_SEEN = 0.35  # of a person, else nobody would annotate them
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
    num_frames = int(seconds * rate)
    times = np.arange(num_frames) / float(rate)
    shot = _Shot(theme, repertoire, seconds=seconds, times=times, rng=rng, style=style)
    keys = {round(second * rate): second for second in range(seconds)}
    frames = np.empty((num_frames, HEIGHT, WIDTH, 3), np.uint8)
    known = []
    for t in range(num_frames):
        frames[t], acts, layers = shot.frame(t)
        if t in keys:
            seen = tuple(_annotated(acts, layers.sightings()))
            known.append(KeyFrame(keys[t], t, seen, layers.props() if acts else ()))
    return Film(frames, rate, tuple(known), len(shot.people))


def render_moment(
    theme: str,
    repertoire: AvaRepertoire,
    *,
    seconds: int,
    rng: np.random.Generator,
    style: Style = FILM,
) -> tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "N 4"]]:
    """One frame of a film, at any time of it, and the boxes of those who are seen."""
    times = rng.uniform(0, seconds, 1)
    shot = _Shot(theme, repertoire, seconds=seconds, times=times, rng=rng, style=style)
    picture, acts, layers = shot.frame(0)
    boxes = [seen.box_xyxy for seen in _annotated(acts, layers.sightings())]
    return picture, np.array(boxes, np.float32).reshape(-1, 4)


class _Shot:
    """A film before it is drawn: who is where at `times`, the place, the camera."""

    def __init__(
        self,
        theme: str,
        repertoire: AvaRepertoire,
        *,
        seconds: int,
        times: Float[np.ndarray, " T"],
        rng: np.random.Generator,
        style: Style,
    ) -> None:
        self.rng = rng
        staging = stage_film(rng, theme, repertoire, seconds=seconds)
        wardrobe = Wardrobe(rng, repertoire.colours, repertoire.things, style)
        scenes = repertoire.themes[theme].scenes
        scene = repertoire.scenes[scenes[rng.integers(len(scenes))]]
        self.camera = camera_path(rng, len(times), height=HEIGHT, limit=MARGIN - 1, style=style)
        self.back, _ = backdrop(rng, scene, style, picture=(HEIGHT, WIDTH))
        self.people: list[list[Act]] = []
        for number, part in enumerate(staging.cast):
            ground = np.array([0.0, staging.front - part.back * BACK * HEIGHT])
            place = Placement(ground, staging.scale * part.depth, direction=1)
            actor = Actor(rng, repertoire, wardrobe, style, place, number)
            self.people.append(list(actor.acts(part.segments, times)))
        self.sensor = Sensor.draw(rng, style)

    def frame(self, t: int) -> tuple[UInt8[np.ndarray, "H W 3"], list[Act], Layers]:
        """Draw a frame: the picture, who is in it from the back to the front, its layers."""
        x, y = (np.rint(self.camera[t]).astype(int) + MARGIN).tolist()
        image = np.ascontiguousarray(self.back[y : y + HEIGHT, x : x + WIDTH])
        layers = Layers(image, self.camera[t])
        acts = [act for own in self.people for act in own if act.first <= t < act.last]
        for act in acts:
            layers.add_person(act.person, t - act.first)
        return self.sensor.expose(self.rng, image), acts, layers


def _annotated(acts: Sequence[Act], sightings: Sequence[Sighting | None]) -> Iterator[SeenPerson]:
    for act, sighting in zip(acts, sightings, strict=True):
        if sighting is not None and sighting.share >= LEAST_SEEN:
            yield SeenPerson(act.number, act.labels, sighting.box_xyxy)
