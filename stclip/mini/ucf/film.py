"""Renders one film or still of an action: who, where and how is drawn from a random generator.

Legend: T frames, H height, W width, N persons of a frame. Pictures are RGB, boxes xyxy in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from stclip.mini.choreography import Colour
from stclip.mini.drawing import Canvas, Look, Point, draw_person, tight_box
from stclip.mini.render import (
    HEIGHT,
    MARGIN,
    SHIRTS,
    WIDTH,
    Manner,
    SeenProp,
    backdrop,
    light,
    person_look,
)
from stclip.mini.scenery import Sensor, Style, camera_path
from stclip.mini.ucf.framing import Placement, frame_bystander, frame_cast
from stclip.mini.ucf.motion import Clock, Motion, move, move_together
from stclip.mini.ucf.repertoire import FilmRepertoire
from stclip.mini.ucf.things import PlacedThing, place_thing

SLIVER = 24  # pixels; of less than this nobody would annotate a person
LIMB = 0.075  # body heights; the usual width of a limb, in which things are measured
MAX_BYSTANDERS = 2
Mask = UInt8[np.ndarray, "H W"]
Boxes = Float[np.ndarray, "N 4"]


@dataclass(frozen=True)
class Tube:
    """The boxes of one annotated person in consecutive frames."""

    first: int  # frame
    boxes_xyxy: Float[np.ndarray, "n 4"]  # tight, inclusive corners


@dataclass(frozen=True)
class Film:
    """A rendered film (or a still, T = 1) and what is known about it."""

    frames: UInt8[np.ndarray, "T H W 3"]
    tubes: tuple[Tube, ...]  # of the actors while they act, from the back to the front
    bystanders: tuple[Boxes, ...]  # of each frame: the persons in sight whom no tube has
    props: tuple[tuple[SeenProp, ...], ...]  # of each frame
    scene: str
    shirt: str  # colour of the first actor's shirt
    num_people: int  # actors and passers-by


@dataclass(frozen=True)
class _Person:
    """A person of a film and the things that go along, in pixels."""

    motion: Motion
    look: Look
    shirt: str  # name of its colour
    pixels: Float[np.ndarray, "T J 2"]
    facing: int
    things: tuple[PlacedThing, ...]
    acts: bool

    def draw(self, canvas: Canvas, index: int, camera: Point, held: "_Layers") -> None:
        """Draw the person of a frame with what is in the hands."""
        at = dict(zip(self.motion.names, self.pixels[index] - camera, strict=True))
        draw_person(
            canvas,
            at,
            self.look,
            front=self.motion.role.facing == "front",
            direction=self.facing,
            holding=lambda: held.draw(self.things, "held"),
        )


def render_film(
    action: str,
    repertoire: FilmRepertoire,
    *,
    style: Style,
    num_frames: int,
    rng: np.random.Generator,
    still: bool = False,
) -> Film:
    """Render `num_frames` frames of an action, or as a still the moment a photographer chooses."""
    plan = repertoire.actions[action]
    if still:
        clock = Clock.of_still(rng, plan, num_frames)
    else:
        clock = Clock.of_film(rng, plan.window, num_frames)
    own = rng.random() < style.own_scene
    scene = plan.scene if own else str(rng.choice(list(repertoire.scenes)))
    camera = camera_path(rng, num_frames, height=HEIGHT, limit=MARGIN - 1, style=style)
    wardrobe = _Wardrobe(rng, repertoire, style)
    back, horizon = backdrop(rng, repertoire.scenes[scene], style)
    num_groups = 1 + int(rng.choice(len(plan.groups), p=plan.groups))
    groups = [move_together(rng, plan, clock, style, still=still) for _ in range(num_groups)]
    places = frame_cast(rng, plan, groups, style, horizon=horizon, still=still)
    actors = [
        wardrobe.person(motion, place)
        for group, place in zip(groups, places, strict=True)
        for motion in group
    ]
    scenery = wardrobe.things(plan.set, groups[0][0], places[0])
    passing = rng.integers(1, MAX_BYSTANDERS + 1) if rng.random() < style.bystander else 0
    bystanders = [wardrobe.bystander(clock, places[0]) for _ in range(passing)]
    people = [*bystanders, *reversed(actors)]  # from the back to the front
    sensor = Sensor.draw(rng, style)

    frames = np.empty((num_frames, HEIGHT, WIDTH, 3), np.uint8)
    boxes: list[list[np.ndarray | None]] = []
    props: list[tuple[SeenProp, ...]] = []
    for t in range(num_frames):
        x, y = (np.rint(camera[t]).astype(int) + MARGIN).tolist()
        image = np.ascontiguousarray(back[y : y + HEIGHT, x : x + WIDTH])
        layers = _Layers(image, t, camera[t])
        layers.draw(scenery, "behind")
        for person in people:
            layers.add_person(person)
        for name in ("front", "hides"):
            layers.draw(scenery, name)
        boxes.append(layers.persons())
        props.append(layers.props())
        frames[t] = sensor.expose(rng, image)
    acting = [
        [person.acts and bool(clock.active[t]) for person in people] for t in range(num_frames)
    ]
    return Film(
        frames=frames,
        tubes=tuple(_tubes(boxes, acting)),
        bystanders=tuple(map(_idle, boxes, acting)),
        props=tuple(props),
        scene=scene,
        shirt=actors[0].shirt,
        num_people=len(people),
    )


class _Wardrobe:
    """Gives persons their looks and things their colours, in the light of one film."""

    def __init__(self, rng: np.random.Generator, repertoire: FilmRepertoire, style: Style) -> None:
        self.rng, self.repertoire, self.style = rng, repertoire, style
        self.tint = light(rng, style)
        self.colours = {name: self.tint(self._one(rgb)) for name, rgb in repertoire.colours.items()}

    def _one(self, colour: Colour | tuple[Colour, ...]) -> Colour:
        if isinstance(colour[0], tuple):
            return colour[self.rng.integers(len(colour))]
        return colour

    def person(self, motion: Motion, place: Placement, *, acts: bool = True) -> _Person:
        """A person in the role's outfit; what it leaves open is anyone's."""
        outfit = motion.role.outfit
        shirt = outfit.shirt or str(self.rng.choice(list(SHIRTS)))
        look = person_look(self.rng, place.scale, shirt=self.tint(SHIRTS[shirt]), tint=self.tint)
        if outfit.trousers is not None:
            look = replace(look, trousers=self.tint(outfit.trousers))
        pixels = place.to_pixels(motion.body)
        things = self.things(motion.role.things, motion, place)
        return _Person(motion, look, shirt, pixels, motion.sign * place.direction, things, acts)

    def bystander(self, clock: Clock, nearest: Placement) -> _Person:
        """Somebody who passes by."""
        role = self.repertoire.bystander
        motion = move(role, clock, Manner.draw(self.rng, role, self.style))
        return self.person(motion, frame_bystander(self.rng, nearest), acts=False)

    def things(
        self, names: Sequence[str], motion: Motion, place: Placement
    ) -> tuple[PlacedThing, ...]:
        """The things of these names; one that is optional may be missing."""
        chosen = [self.repertoire.things[name] for name in names]
        return tuple(
            place_thing(
                thing,
                motion,
                self.colours,
                scale=place.scale,
                line=place.scale * LIMB,
                to_pixels=place.to_pixels,
            )
            for thing in chosen
            if not thing.optional or self.rng.random() < self.style.props
        )


class _Layers:
    """A frame while it is drawn, from the back to the front, with the mask of all that is in it."""

    def __init__(self, image: UInt8[np.ndarray, "H W 3"], index: int, camera: Point) -> None:
        self.image, self.index, self.camera = image, index, camera
        self._drawn: list[tuple[PlacedThing | _Person, Mask]] = []

    def draw(self, things: Sequence[PlacedThing], layer: str) -> None:
        """Draw the things of a layer."""
        for placed in things:
            if placed.thing.layer == layer:
                canvas = Canvas(self.image)
                placed.draw(canvas, self.index, self.camera)
                self._drawn.append((placed, canvas.mask))

    def add_person(self, person: _Person) -> None:
        """Draw a person among their things."""
        self.draw(person.things, "behind")
        canvas = Canvas(self.image)
        person.draw(canvas, self.index, self.camera, self)
        self._drawn.append((person, canvas.mask))
        self.draw(person.things, "front")
        self.draw(person.things, "hides")

    def persons(self) -> list[np.ndarray | None]:
        """Boxes of the persons; only what hides (water) takes from them, as annotators do."""
        boxes = []
        for i, (owner, mask) in enumerate(self._drawn):
            if not isinstance(owner, _Person):
                continue
            for other, above in self._drawn[i + 1 :]:
                if isinstance(other, PlacedThing) and other.thing.layer == "hides":
                    mask = mask & ~above & 1
            boxes.append(tight_box(mask) if np.count_nonzero(mask) >= SLIVER else None)
        return boxes

    def props(self) -> tuple[SeenProp, ...]:
        """The things with a name of which something is seen."""
        covered = np.zeros_like(self._drawn[0][1])
        seen = []
        for owner, mask in reversed(self._drawn):
            if isinstance(owner, PlacedThing) and owner.thing.kind is not None:
                box = tight_box(mask & ~covered & 1)
                if box is not None:
                    seen.append(SeenProp(owner.thing.kind, box))
            covered |= mask
        return tuple(reversed(seen))


def _idle(boxes: Sequence[np.ndarray | None], acting: Sequence[bool]) -> Boxes:
    """Boxes of a frame's persons who are seen and do not act."""
    idle = [box for box, acts in zip(boxes, acting, strict=True) if box is not None and not acts]
    return np.array(idle, np.float32).reshape(-1, 4)


def _tubes(
    boxes: Sequence[Sequence[np.ndarray | None]], acting: Sequence[Sequence[bool]]
) -> list[Tube]:
    """Each person's runs of frames in which the person acts and is seen."""
    tubes = []
    for person in range(len(boxes[0])):
        run: list[np.ndarray] = []
        for t in range(len(boxes) + 1):
            box = boxes[t][person] if t < len(boxes) and acting[t][person] else None
            if box is not None:
                run.append(box)
            elif run:
                tubes.append(Tube(t - len(run), np.stack(run)))
                run = []
    return tubes
