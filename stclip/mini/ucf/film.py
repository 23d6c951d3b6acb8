"""Renders one film or still of an action: who, where and how is drawn from a random generator.

Legend: T frames, H height, W width, N persons of a frame. Pictures are RGB, boxes xyxy in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from stclip.mini.render import HEIGHT, MARGIN, WIDTH, Manner, SeenProp, backdrop
from stclip.mini.scenery import Sensor, Style, camera_path
from stclip.mini.ucf.framing import Placement, frame_bystander, frame_cast
from stclip.mini.ucf.layers import Layers, Person
from stclip.mini.ucf.motion import Clock, Motion, move, move_together
from stclip.mini.ucf.repertoire import FilmRepertoire
from stclip.mini.ucf.wardrobe import Wardrobe

MAX_BYSTANDERS = 2
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
    wardrobe = Wardrobe(rng, repertoire.colours, repertoire.things, style)
    cast = _Cast(rng, repertoire, style, wardrobe)
    back, horizon = backdrop(rng, repertoire.scenes[scene], style)
    num_groups = 1 + int(rng.choice(len(plan.groups), p=plan.groups))
    groups = [move_together(rng, plan, clock, style, still=still) for _ in range(num_groups)]
    places = frame_cast(rng, plan, groups, style, horizon=horizon, still=still)
    actors = [
        cast.person(motion, place)
        for group, place in zip(groups, places, strict=True)
        for motion in group
    ]
    scenery = wardrobe.things(plan.set, groups[0][0], places[0])
    passing = rng.integers(1, MAX_BYSTANDERS + 1) if rng.random() < style.bystander else 0
    bystanders = [cast.bystander(clock, places[0]) for _ in range(passing)]
    people = [*bystanders, *reversed(actors)]  # from the back to the front
    sensor = Sensor.draw(rng, style)

    frames = np.empty((num_frames, HEIGHT, WIDTH, 3), np.uint8)
    boxes: list[list[np.ndarray | None]] = []
    props: list[tuple[SeenProp, ...]] = []
    for t in range(num_frames):
        x, y = (np.rint(camera[t]).astype(int) + MARGIN).tolist()
        image = np.ascontiguousarray(back[y : y + HEIGHT, x : x + WIDTH])
        layers = Layers(image, camera[t])
        layers.draw(scenery, "behind", t)
        for person in people:
            layers.add_person(person, t)
        for name in ("front", "hides"):
            layers.draw(scenery, name, t)
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


@dataclass(frozen=True)
class _Cast:
    """Gives persons of one film their looks and things."""

    rng: np.random.Generator
    repertoire: FilmRepertoire
    style: Style
    wardrobe: Wardrobe

    def person(self, motion: Motion, place: Placement, *, acts: bool = True) -> Person:
        """A person in the role's outfit; what it leaves open is anyone's."""
        look, shirt = self.wardrobe.look(motion.role.outfit, place.scale)
        pixels = place.to_pixels(motion.body)
        things = self.wardrobe.things(motion.role.things, motion, place)
        return Person(motion, look, shirt, pixels, motion.sign * place.direction, things, acts)

    def bystander(self, clock: Clock, nearest: Placement) -> Person:
        """Somebody who passes by."""
        role = self.repertoire.bystander
        motion = move(role, clock, Manner.draw(self.rng, role, self.style))
        return self.person(motion, frame_bystander(self.rng, nearest), acts=False)


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
