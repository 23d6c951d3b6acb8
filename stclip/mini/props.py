"""Draws what the actions are done with: things that stand about, and things in the near hand."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stclip.mini.choreography import BAR_HEIGHT, Joints, Prop
from stclip.mini.drawing import Canvas, Point, Rgb, darker

STEEL, STRING, GLASS, WATER = (190, 190, 195), (230, 230, 230), (205, 225, 235), (120, 170, 230)


@dataclass(frozen=True)
class PropLook:
    """What the props of one video look like."""

    wood: Rgb
    dark: Rgb
    ball: Rgb
    rim: Rgb
    tint: Callable[[Rgb], Rgb]  # colours as this video's camera shows them
    ball_radius: float  # pixels
    flight: float  # how far a ball flies, body heights
    lob: float  # how high it rises, body heights


@dataclass(frozen=True)
class Stage:
    """A frame while it is drawn: where the person is, in body heights and in pixels."""

    canvas: Canvas
    joints: Joints  # all times, body heights
    times: Float[np.ndarray, " T"]
    index: int  # the frame's place in `times`
    at: dict[str, Point]  # this frame's joints in pixels
    to_pixels: Callable[[Point], Point]
    scale: float  # pixels per body height
    direction: int  # 1 facing right, -1 facing left
    forearm_degrees: float
    line: int  # width of a limb, pixels
    look: PropLook

    @property
    def time(self) -> float:
        """Time of the frame, 0..1."""
        return float(self.times[self.index])

    def point(self, x: float, y: float) -> Point:
        """Body heights to pixels."""
        return self.to_pixels(np.array([x, y]))

    def hand_at(self, moment: float) -> Point:
        """Near hand (body heights) in the frame closest to a moment."""
        return self.joints["near_hand"][int(np.argmin(np.abs(self.times - moment)))]

    def stroke(
        self, a: tuple[float, float], b: tuple[float, float], colour: Rgb, width: float
    ) -> None:
        """A line between points in body heights; `width` in limbs."""
        self.canvas.line(self.point(*a), self.point(*b), colour, self.line * width)

    def along_forearm(self, turned_degrees: float) -> Point:
        """Unit vector in pixels of what the hand holds at an angle to the forearm."""
        angle = np.radians(self.forearm_degrees + turned_degrees)
        return np.array([self.direction * np.sin(angle), np.cos(angle)])


def _bar(stage: Stage, prop: Prop) -> None:
    dark = stage.look.dark
    stage.stroke((-0.6, BAR_HEIGHT), (0.6, BAR_HEIGHT), dark, 0.5)
    for x in (-0.6, 0.6):
        stage.stroke((x, BAR_HEIGHT), (x, 0.0), dark, 0.5)


def _stairs(stage: Stage, prop: Prop) -> None:
    for step in range(7):
        x, y = -0.55 + step * 0.2, step * 0.13 - 0.03
        corners = [(x, y), (x + 1.6, y), (x + 1.6, y - 0.13), (x, y - 0.13)]
        colour = stage.look.wood if step % 2 else darker(stage.look.wood)
        stage.canvas.polygon([stage.point(*c) for c in corners], colour)


def _chair(stage: Stage, prop: Prop) -> None:
    wood, seat = stage.look.wood, 0.245
    stage.stroke((-0.24, seat - 0.02), (0.1, seat - 0.02), wood, 0.8)
    stage.stroke((-0.24, seat - 0.02), (-0.27, seat + 0.38), wood, 0.8)
    stage.stroke((-0.22, seat), (-0.24, 0.0), wood, 0.6)
    stage.stroke((0.08, seat), (0.1, 0.0), wood, 0.6)


def _table(stage: Stage, prop: Prop) -> None:
    wood, top = stage.look.wood, 0.4
    stage.stroke((0.2, top), (0.85, top), wood, 1.0)
    stage.stroke((0.27, top), (0.27, 0.0), wood, 0.6)
    stage.stroke((0.8, top), (0.8, 0.0), wood, 0.6)
    glass = [(0.42, top + 0.03), (0.52, top + 0.03), (0.53, top + 0.16), (0.41, top + 0.16)]
    stage.canvas.polygon([stage.point(*c) for c in glass], GLASS)


def _crate(stage: Stage, prop: Prop) -> None:
    hands = (stage.joints["near_hand"][stage.index] + stage.joints["far_hand"][stage.index]) / 2
    x = float(hands[0])
    corners = [(x, 0.0), (x + 0.5, 0.0), (x + 0.5, 0.72), (x, 0.72)]
    stage.canvas.polygon([stage.point(*c) for c in corners], stage.look.wood)
    stage.stroke((x + 0.04, 0.68), (x + 0.46, 0.04), darker(stage.look.wood), 0.4)


def _hoop(stage: Stage, prop: Prop) -> None:
    stage.stroke((1.0, 0.0), (1.0, 1.45), stage.look.dark, 0.5)
    stage.stroke((0.78, 1.2), (1.0, 1.2), stage.look.rim, 0.5)
    stage.stroke((0.95, 1.1), (0.95, 1.5), (235, 235, 235), 0.6)


def _item(stage: Stage, prop: Prop) -> None:
    """Lies where the near hand will reach the ground, then goes with the hand."""
    hands = stage.joints["near_hand"]
    lying = np.array([hands[int(np.argmin(hands[:, 1])), 0], 0.03])
    held = stage.time > prop.moment
    centre = stage.to_pixels(hands[stage.index] if held else lying)
    half = stage.look.ball_radius * np.array([1.3, 1.0])
    corners = [centre + half * sign for sign in ([-1, -1], [1, -1], [1, 1], [-1, 1])]
    stage.canvas.polygon(corners, stage.look.tint(prop.colour))


def _brush(stage: Stage, prop: Prop) -> None:
    along = stage.along_forearm(0) * stage.scale
    side = np.array([-along[1], along[0]]) * stage.direction
    grip = stage.at["near_hand"] + along * 0.05
    colour = stage.look.tint(prop.colour)
    stage.canvas.line(grip, grip - side * 0.02 + along * 0.09, colour, stage.line * 0.9)


def _bat(stage: Stage, prop: Prop) -> None:
    hand, along = stage.at["near_hand"], stage.along_forearm(35) * stage.scale
    stage.canvas.line(hand, hand + along * 0.2, stage.look.wood, stage.line * 0.5)
    thick = hand + along * 0.16, hand + along * 0.42
    stage.canvas.line(*thick, stage.look.wood, stage.line * 0.9)


def _club(stage: Stage, prop: Prop) -> None:
    hand, along = stage.at["near_hand"], stage.along_forearm(4) * stage.scale
    stage.canvas.line(hand, hand + along * 0.42, STEEL, stage.line * 0.3)
    stage.canvas.disc(hand + along * 0.43, stage.line * 0.55, stage.look.dark)


def _gun(stage: Stage, prop: Prop) -> None:
    hand, along = stage.at["near_hand"], stage.along_forearm(0) * stage.scale
    grip = np.array([-along[1], along[0]]) * stage.direction * 0.05
    stage.canvas.line(hand, hand + along * 0.15, stage.look.dark, stage.line * 0.7)
    stage.canvas.line(hand, hand + grip, stage.look.dark, stage.line * 0.6)


def _bow(stage: Stage, prop: Prop) -> None:
    hand, along = stage.at["near_hand"], stage.along_forearm(0) * stage.scale
    side = np.array([-along[1], along[0]])
    bends = np.linspace(-1.3, 1.3, 9)
    wood = [hand + side * np.sin(b) * 0.36 + along * (np.cos(b) - 0.75) * 0.22 for b in bends]
    stage.canvas.curve(wood, stage.look.wood, stage.line * 0.45)
    drawn = stage.time < prop.moment
    nock = stage.at["far_hand"] if drawn else (wood[0] + wood[-1]) / 2
    stage.canvas.curve([wood[0], nock, wood[-1]], STRING, 1)
    if drawn:
        stage.canvas.line(nock, hand + along * 0.08, stage.look.dark, 1)


def _bottle(stage: Stage, prop: Prop) -> None:
    """Tipped from its moment on until shortly before the end."""
    pours = prop.moment < stage.time < 0.83
    tipped = 10 if 0.3 <= stage.time <= 0.85 else 75
    hand, along = stage.at["near_hand"], stage.along_forearm(tipped) * stage.scale
    colour = stage.look.tint(prop.colour)
    stage.canvas.line(hand - along * 0.02, hand + along * 0.11, colour, stage.line * 1.1)
    stage.canvas.line(hand + along * 0.1, hand + along * 0.18, colour, stage.line * 0.5)
    if pours:
        mouth = hand + along * 0.18
        stage.canvas.line(mouth, mouth + np.array([0.0, 0.14 * stage.scale]), WATER, 1)


def _ball(stage: Stage, prop: Prop) -> None:
    assert prop.motion is not None, "checked by Prop"
    where = BALL_PATHS[prop.motion](stage, prop.moment)
    radius = stage.look.ball_radius * prop.size
    stage.canvas.disc(stage.to_pixels(where), radius, stage.look.ball)


def _after(stage: Stage, moment: float) -> float:
    """How much of the time after the moment has gone by, 0..1; negative before it."""
    return (stage.time - moment) / (1 - moment)


def _thrown(stage: Stage, moment: float) -> Point:
    return _leaves_hand(stage, moment, rise=stage.look.lob, fall=0.4)


def _shot(stage: Stage, moment: float) -> Point:
    return _leaves_hand(stage, moment, rise=0.9, fall=0.9)


def _leaves_hand(stage: Stage, moment: float, *, rise: float, fall: float) -> Point:
    s = _after(stage, moment)
    if s < 0:
        return stage.joints["near_hand"][stage.index] + 0.03
    path = np.array([stage.look.flight * s * 1.1, rise * s - fall * s * s])
    return stage.hand_at(moment) + path


def _caught(stage: Stage, moment: float) -> Point:
    if stage.time >= moment:
        return stage.joints["near_hand"][stage.index] + np.array([0.03, 0.0])
    s = (moment - stage.time) / moment
    path = np.array([stage.look.flight * s * 1.1, stage.look.lob * s - 0.4 * s * s])
    return stage.hand_at(moment) + path


def _kicked(stage: Stage, moment: float) -> Point:
    s = max(0.0, _after(stage, moment))
    return np.array([0.3 + stage.look.flight * s * 1.3, 0.05 + stage.look.lob * s])


def _driven(stage: Stage, moment: float) -> Point:
    s = max(0.0, _after(stage, moment))
    return np.array([0.42 + stage.look.flight * s * 2, 0.03 + stage.look.lob * s * 2])


def _pitched(stage: Stage, moment: float) -> Point:
    """Comes in until the moment, is hit back from there."""
    s = _after(stage, moment)
    s = s if s >= 0 else (moment - stage.time) / moment
    return np.array([0.5 + stage.look.flight * 1.4 * s, 0.55 + stage.look.lob * s])


BALL_PATHS: dict[str, Callable[[Stage, float], Point]] = {
    "thrown": _thrown,
    "shot": _shot,
    "caught": _caught,
    "kicked": _kicked,
    "driven": _driven,
    "pitched": _pitched,
}
BEHIND: dict[str, Callable[[Stage, Prop], None]] = {
    "bar": _bar,
    "stairs": _stairs,
    "chair": _chair,
    "table": _table,
    "crate": _crate,
    "hoop": _hoop,
    "item": _item,
}
HELD: dict[str, Callable[[Stage, Prop], None]] = {
    "brush": _brush,
    "bat": _bat,
    "club": _club,
    "gun": _gun,
    "bow": _bow,
    "bottle": _bottle,
    "ball": _ball,
}
