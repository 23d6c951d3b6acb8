"""Renders one video or still of an action: who, where and how is drawn from a random generator.

Legend: T frames, H height, W width. Pictures are RGB.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8

from stclip.mini.choreography import (
    NUM_ANGLES,
    Choreography,
    Joints,
    Movement,
    Prop,
    Repertoire,
    Scene,
    joints,
    pose,
)
from stclip.mini.drawing import Canvas, Look, Point, Rgb, draw_person, tight_box
from stclip.mini.props import BEHIND, HELD, PropLook, Stage
from stclip.mini.scenery import Sensor, Style, background, camera_path

HEIGHT, WIDTH = 96, 128
MARGIN = 12  # of the background around the picture, for the moving camera
SHIRTS: dict[str, Rgb] = {
    "red": (200, 50, 50),
    "blue": (50, 80, 200),
    "green": (50, 150, 70),
    "yellow": (225, 200, 60),
    "white": (235, 235, 235),
    "black": (35, 35, 40),
    "purple": (130, 60, 160),
    "orange": (235, 130, 40),
}
SKINS: tuple[Rgb, ...] = ((240, 200, 170), (220, 170, 130), (160, 110, 80), (110, 76, 55))
HAIRS: tuple[Rgb, ...] = ((30, 22, 18), (75, 50, 30), (120, 80, 45), (150, 115, 70))
BALLS: tuple[Rgb, ...] = ((245, 120, 20), (230, 60, 30))


@dataclass(frozen=True)
class SeenProp:
    """A prop of one frame, where it is seen: inside the picture and not behind anything."""

    kind: str
    box_xyxy: Float[np.ndarray, "4"]  # tight, inclusive corners


@dataclass(frozen=True)
class Video:
    """A rendered video (or a still, T = 1) and what is known about it."""

    frames: UInt8[np.ndarray, "T H W 3"]
    masks: UInt8[np.ndarray, "T H W"]  # 1 where the acting person is
    props: tuple[tuple[SeenProp, ...], ...]  # of each frame
    bystander_boxes: Float[np.ndarray, "N 4"]  # of frame 0
    scene: str
    shirt: str
    direction: int
    num_people: int
    noise: float


@dataclass(frozen=True)
class _Actor:
    """A person in motion: joints in body heights and in pixels, and how to draw it."""

    choreography: Choreography
    joints: Joints
    angles: Float[np.ndarray, "T A"]
    look: Look
    direction: int
    scale: float  # pixels per body height
    to_pixels: Callable[[np.ndarray], np.ndarray]  # without the camera's shift

    @cached_property
    def _pixels(self) -> Float[np.ndarray, "T J 2"]:
        return self.to_pixels(np.stack(list(self.joints.values()), 1))

    def at(self, index: int, camera: Point) -> dict[str, Point]:
        """Joints of a frame in pixels."""
        return dict(zip(self.joints, self._pixels[index] - camera, strict=True))

    def draw(
        self, canvas: Canvas, at: dict[str, Point], holding: Callable[[], None] | None = None
    ) -> None:
        """Draw the person of a frame."""
        front = self.choreography.facing == "front"
        draw_person(canvas, at, self.look, front=front, direction=self.direction, holding=holding)


def render(
    action: str,
    repertoire: Repertoire,
    *,
    style: Style,
    num_frames: int,
    rng: np.random.Generator,
    still: bool = False,
) -> Video:
    """Render `num_frames` frames of an action, or as a still the moment a photographer chooses."""
    choreography = repertoire.actions[action]
    if still:
        times = np.full(num_frames, rng.uniform(*choreography.photo))
    else:
        times = np.linspace(rng.uniform(0, 0.12), rng.uniform(0.88, 1), num_frames)
    own = rng.random() < style.own_scene
    scene_name = choreography.scene if own else str(rng.choice(list(repertoire.scenes)))
    scene = repertoire.scenes[scene_name]
    tint = light(rng, style)
    camera = camera_path(rng, num_frames, height=HEIGHT, limit=MARGIN - 1, style=style)
    back, horizon = backdrop(rng, scene, style)
    shirt = str(rng.choice(list(SHIRTS)))
    actor = _actor(rng, choreography, times, style, horizon=horizon, shirt=shirt, tint=tint)
    props = [prop for prop in choreography.props if rng.random() < style.props]
    prop_look = _prop_look(rng, tint, actor.scale)
    bystander = None
    if rng.random() < style.bystander:
        bystander = _bystander(rng, repertoire.bystander, times, style, tint, actor)
    sensor = Sensor.draw(rng, style)

    frames = np.empty((num_frames, HEIGHT, WIDTH, 3), np.uint8)
    masks = np.empty((num_frames, HEIGHT, WIDTH), np.uint8)
    seen: list[tuple[SeenProp, ...]] = []
    bystander_boxes: list[np.ndarray] = []
    for t in range(num_frames):
        x, y = (np.rint(camera[t]).astype(int) + MARGIN).tolist()
        image = np.ascontiguousarray(back[y : y + HEIGHT, x : x + WIDTH])
        if bystander is not None:
            behind = Canvas(image)
            bystander.draw(behind, bystander.at(t, camera[t]))
            box = tight_box(behind.mask)
            if t == 0 and box is not None:
                bystander_boxes.append(box)
        stage = _stage(Canvas(image), actor, times, t, camera[t], prop_look)
        empty = image.copy()
        _draw(stage, actor, props)
        seen.append(tuple(_seen(empty, stage, actor, props)))
        frames[t], masks[t] = sensor.expose(rng, image), stage.canvas.mask
    return Video(
        frames=frames,
        masks=masks,
        props=tuple(seen),
        bystander_boxes=np.array(bystander_boxes, np.float32).reshape(-1, 4),
        scene=scene_name,
        shirt=shirt,
        direction=actor.direction,
        num_people=1 + len(bystander_boxes),
        noise=sensor.noise,
    )


def _draw(stage: Stage, actor: _Actor, props: Sequence[Prop]) -> None:
    """The actor on a stage among the props; nothing here is left to chance."""
    for prop in props:
        if prop.kind in BEHIND:
            BEHIND[prop.kind](stage, prop)

    def holding() -> None:
        for prop in props:
            if prop.kind in HELD:
                HELD[prop.kind](stage, prop)

    actor.draw(stage.canvas, stage.at, holding)


def _seen(
    empty: UInt8[np.ndarray, "H W 3"], stage: Stage, actor: _Actor, props: Sequence[Prop]
) -> Iterator[SeenProp]:
    """The props that are seen on a drawn stage: there pixels differ from a drawing without one."""
    for prop in props:
        without = replace(stage, canvas=Canvas(empty.copy()))
        _draw(without, actor, [other for other in props if other is not prop])
        differs = (stage.canvas.image != without.canvas.image).any(-1)
        box = tight_box(differs.astype(np.uint8))
        if box is not None:
            yield SeenProp(prop.kind, box)


def light(rng: np.random.Generator, style: Style) -> Callable[[Rgb], Rgb]:
    """How this video's light changes the colours of persons and things."""
    gain, offset = rng.uniform(*style.colour_gain), rng.uniform(*style.colour_offset)
    return lambda colour: tuple(float(c) * gain + offset for c in colour)


def backdrop(
    rng: np.random.Generator,
    scene: Scene,
    style: Style,
    *,
    picture: tuple[int, int] = (HEIGHT, WIDTH),
) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
    """Background with the camera's margin, and its horizon in picture heights."""
    horizon = rng.uniform(0.5, 0.8)
    height, width = picture
    size = (height + 2 * MARGIN, width + 2 * MARGIN)
    line = (horizon * height + MARGIN) / size[0]
    return background(rng, size, scene, style, horizon=line), horizon


def _actor(
    rng: np.random.Generator,
    choreography: Choreography,
    times: Float[np.ndarray, " T"],
    style: Style,
    *,
    horizon: float,
    shirt: str,
    tint: Callable[[Rgb], Rgb],
) -> _Actor:
    scale = rng.uniform(*style.scale) * HEIGHT * choreography.size
    angles, moving = _movement(rng, choreography, times, style)
    ground = max(rng.uniform(*style.ground), horizon + 0.04) * HEIGHT
    if choreography.hangs:
        ground = max(ground, 0.97 * HEIGHT)
    ground = min(max(ground, scale * 1.03 + 0.02 * HEIGHT), 0.985 * HEIGHT)
    direction = -1 if rng.random() < 0.5 else 1
    roll = np.radians(rng.normal(0, style.roll))
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    all_x = np.stack([xy[:, 0] for xy in moving.values()])
    middle = (all_x.min() + all_x.max()) / 2 * scale * direction
    centre = WIDTH * (0.5 + rng.normal(0, style.off_centre)) - middle * style.follow
    hips = centre + moving["hip"][:, 0] * scale * direction
    low, high = 0.12 * WIDTH, 0.88 * WIDTH  # whoever leaves the picture has no box
    centre += max(0.0, low - hips.min()) - max(0.0, hips.max() - high)
    origin = np.array([centre, ground])

    def to_pixels(xy: np.ndarray) -> np.ndarray:
        return origin + (xy * [direction * scale, -scale]) @ turn.T

    look = person_look(rng, scale, shirt=tint(SHIRTS[shirt]), tint=tint)
    return _Actor(choreography, moving, angles, look, direction, scale, to_pixels)


def _movement(
    rng: np.random.Generator,
    choreography: Choreography,
    times: Float[np.ndarray, " T"],
    style: Style,
) -> tuple[Float[np.ndarray, "T A"], Joints]:
    """Angles and joints of one body in its own manner."""
    manner = Manner.draw(rng, choreography, style)
    angles = pose(
        choreography,
        times,
        num_cycles=manner.num_cycles,
        phase=manner.phase,
        amplitude=manner.amplitude,
        jitter=manner.jitter,
    )
    return angles, joints(choreography, angles, times, proportions=manner.proportions)


@dataclass(frozen=True)
class Manner:
    """One body's proportions, tempo and manner."""

    proportions: dict[str, float]
    num_cycles: float
    phase: float
    amplitude: float
    jitter: Float[np.ndarray, " A"]  # degrees; 0 for the lift

    @classmethod
    def draw(cls, rng: np.random.Generator, movement: Movement, style: Style) -> "Manner":
        """Draw a manner for one person."""
        parts = ("torso", "upper_arm", "forearm", "thigh", "shin", "head")
        torso, head, limbs = style.angles
        spread = np.array([torso, head, *[limbs] * (NUM_ANGLES - 2), 0.0])
        cycles = movement.cycles
        return cls(
            proportions={part: rng.normal(1, style.body) for part in parts},
            num_cycles=rng.uniform(*cycles) if cycles else 1.0,
            phase=rng.random() if cycles else 0.0,
            amplitude=rng.uniform(0.85, 1.12),
            jitter=rng.normal(0, 1, NUM_ANGLES + 1) * spread,
        )


def person_look(
    rng: np.random.Generator, scale: float, *, shirt: Rgb, tint: Callable[[Rgb], Rgb]
) -> Look:
    """Clothes, skin and build of one person; `shirt` is tinted already."""
    skin = np.array(SKINS[rng.integers(len(SKINS))]) + rng.normal(0, 6, 3)
    hair = np.array(HAIRS[rng.integers(len(HAIRS))]) + rng.normal(0, 4, 3)
    trousers = np.array((45, 60, 120)) + rng.normal(0, 12, 3)
    return Look(
        shirt=shirt,
        trousers=tint(tuple(trousers)),
        skin=tint(tuple(skin)),
        hair=tint(tuple(hair)),
        shoes=tint((40, 40, 45)),
        limb=max(1, round(scale * 0.075 * rng.uniform(0.75, 1.3))),
        torso=max(2, round(scale * 0.135 * rng.uniform(0.85, 1.25))),
        head=0.07 * scale * rng.uniform(0.9, 1.15),
    )


def _bystander(
    rng: np.random.Generator,
    choreography: Choreography,
    times: Float[np.ndarray, " T"],
    style: Style,
    tint: Callable[[Rgb], Rgb],
    actor: _Actor,
) -> _Actor:
    """A smaller person near the picture's edge, behind the acting one."""
    angles, moving = _movement(rng, choreography, times, style)
    scale = actor.scale / actor.choreography.size * rng.uniform(0.5, 0.85)
    side = rng.uniform(0.05, 0.16)
    x = (side if rng.random() < 0.5 else 1 - side) * WIDTH
    direction = -1 if rng.random() < 0.5 else 1
    foot = actor.to_pixels(np.zeros(2))[1] - rng.uniform(0.02, 0.08) * HEIGHT
    origin = np.array([x, foot])
    shirt = tint(list(SHIRTS.values())[rng.integers(len(SHIRTS))])

    def to_pixels(xy: np.ndarray) -> np.ndarray:
        return origin + xy * [direction * scale, -scale]

    look = person_look(rng, scale, shirt=shirt, tint=tint)
    return _Actor(choreography, moving, angles, look, direction, scale, to_pixels)


def _prop_look(rng: np.random.Generator, tint: Callable[[Rgb], Rgb], scale: float) -> PropLook:
    return PropLook(
        wood=tint((150, 100, 55)),
        dark=tint((40, 40, 45)),
        ball=tint(BALLS[rng.integers(len(BALLS))]),
        rim=tint((230, 70, 40)),
        tint=tint,
        ball_radius=max(1.3, scale * 0.035 * rng.uniform(0.9, 1.6)),
        flight=rng.uniform(1.2, 2.2),
        lob=rng.uniform(0.1, 0.5),
    )


def _stage(
    canvas: Canvas,
    actor: _Actor,
    times: Float[np.ndarray, " T"],
    index: int,
    camera: Point,
    look: PropLook,
) -> Stage:
    near_forearm = 3  # place in the pose: torso, head, then [upper, lower] of near arm, ...
    return Stage(
        canvas=canvas,
        joints=actor.joints,
        times=times,
        index=index,
        at=actor.at(index, camera),
        to_pixels=lambda xy: actor.to_pixels(xy) - camera,
        scale=actor.scale,
        direction=actor.direction,
        forearm_degrees=float(actor.angles[index, near_forearm]),
        line=actor.look.limb,
        look=look,
    )
