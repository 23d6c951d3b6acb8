"""Persons in motion: when an action takes place in a film, and where each body is.

Legend: T frames, A numbers of a pose, J joints. Points are (x, y) in body heights, y up, the ground
at 0.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from stclip.mini.choreography import NUM_ANGLES, Joints, Movement, pose, skeleton
from stclip.mini.render import Manner
from stclip.mini.scenery import Style
from stclip.mini.ucf.repertoire import EXTRAS, FilmAction, Role, Window

TURN, YAW, X, LIFT = range(NUM_ANGLES, NUM_ANGLES + EXTRAS + 1)
HEAD, ARMS = 1, slice(2, 6)  # places of head and arms in a pose
SHORTEST = 6  # frames of an action
SWAY_DEGREES, SWAY_CYCLES = 4.0, 0.03  # of the arms of who stands idle; cycles a frame


@dataclass(frozen=True)
class Clock:
    """The action's time in each frame, 0..1, and whether it takes place."""

    times: Float[np.ndarray, " T"]
    active: Bool[np.ndarray, " T"]

    @classmethod
    def of_film(cls, rng: np.random.Generator, window: Window, num_frames: int) -> "Clock":
        """Draw a window, or two with a gap; the action is at its start before and its end after.

        A film too short for idle frames has none.
        """
        if rng.random() >= window.chance or num_frames < 4 * SHORTEST:
            times = np.linspace(rng.uniform(0, 0.12), rng.uniform(0.88, 1), num_frames)
            return cls(times, np.ones(num_frames, bool))
        num_windows = 2 if rng.random() < window.twice else 1
        length = round(rng.uniform(*window.share) * num_frames / num_windows)
        length = min(max(length, SHORTEST), num_frames // num_windows - SHORTEST // 2)
        idle = num_frames - num_windows * length
        shares = rng.dirichlet(np.full(num_windows + 1, 3.0))
        starts = [int(shares[0] * idle)]
        if num_windows == 2:
            gap = max(SHORTEST // 2, int(shares[1] * idle))
            starts.append(min(starts[0] + length + gap, num_frames - length))
        times, active = np.zeros(num_frames), np.zeros(num_frames, bool)
        for start in starts:
            times[start : start + length] = np.linspace(0, 1, length)
            times[start + length :] = 1
            active[start : start + length] = True
        if num_windows == 2:  # between the two the person gets ready again
            times[(starts[0] + length + starts[1]) // 2 : starts[1]] = 0
        return cls(times, active)

    @classmethod
    def of_still(cls, rng: np.random.Generator, action: FilmAction, num_frames: int) -> "Clock":
        """The moment a photographer chooses."""
        times = np.full(num_frames, rng.uniform(*action.photo))
        return cls(times, np.ones(num_frames, bool))


@dataclass(frozen=True)
class Motion:
    """One person in time."""

    role: Role
    names: tuple[str, ...]  # of the joints
    body: Float[np.ndarray, "T J 2"]
    track: Float[np.ndarray, "T 2"]  # where the person is along and above the ground
    clock: Clock
    turns: Float[np.ndarray, " T"]  # cycles gone by
    sign: int  # 1 faces forward, -1 backward

    @cached_property
    def joints(self) -> Joints:
        """The body's joints by name."""
        return dict(zip(self.names, self.body.swapaxes(0, 1), strict=True))


def move_together(
    rng: np.random.Generator, action: FilmAction, clock: Clock, style: Style, *, still: bool
) -> list[Motion]:
    """The roles of an action, in step with each other."""
    manners = [Manner.draw(rng, role, style) for role in action.roles]
    tempo = (1.0, 0.0) if still else (manners[0].num_cycles, manners[0].phase)
    return [
        move(role, clock, replace(manner, num_cycles=tempo[0], phase=tempo[1]))
        for role, manner in zip(action.roles, manners, strict=True)
    ]


def move(role: Role, clock: Clock, manner: Manner) -> Motion:
    """Where a person's joints are in each frame."""
    numbers = numbers_in_time(role, clock.times, manner)
    return placed(role, clock, manner, _idle(role, clock, numbers, _jitter(manner)))


def numbers_in_time(
    movement: Movement, times: Float[np.ndarray, " T"], manner: Manner
) -> Float[np.ndarray, "T A"]:
    """The numbers of the pose of a body that moves in its own manner; keys are `FilmKey`s."""
    return pose(
        movement,
        times,
        num_cycles=manner.num_cycles,
        phase=manner.phase,
        amplitude=np.append(np.full(NUM_ANGLES, manner.amplitude), np.ones(EXTRAS + 1)),
        jitter=_jitter(manner),
    )


def placed(role: Role, clock: Clock, manner: Manner, numbers: Float[np.ndarray, "T A"]) -> Motion:
    """Where the joints are in poses of these numbers."""
    at = skeleton(numbers, front=role.facing == "front", proportions=manner.proportions)
    body = _turned(np.stack(list(at.values()), 1), numbers)
    sign = -1 if role.mirrored else 1
    travelled = role.travel * (clock.times - 0.5) + numbers[:, X]
    above = numbers[:, LIFT] + role.rise * clock.times
    track = np.stack([role.place + sign * travelled, above], 1)
    up = above + role.height - _anchor(role, dict(zip(at, body[:, :, 1].T, strict=True)))
    body = body * [sign, 1] + np.stack([track[:, 0], up], 1)[:, None]
    turns = clock.times * manner.num_cycles + manner.phase
    return Motion(role, tuple(at), body, track, clock, turns, sign)


def _jitter(manner: Manner) -> Float[np.ndarray, " A"]:
    """Of the angles; the other numbers have none."""
    return np.append(manner.jitter[:NUM_ANGLES], np.zeros(EXTRAS + 1))


def _idle(
    role: Role,
    clock: Clock,
    numbers: Float[np.ndarray, "T A"],
    jitter: Float[np.ndarray, " A"],
) -> Float[np.ndarray, "T A"]:
    """Outside the action: the idle pose or the held one, with arms that sway a little."""
    if clock.active.all():
        return numbers
    resting = numbers.copy()
    if role.idle is not None:
        resting[:, :NUM_ANGLES] = role.idle.numbers[:NUM_ANGLES]
        resting[:, :NUM_ANGLES] += jitter[:NUM_ANGLES]
        resting[:, [TURN, YAW]] = 0
    sway = np.sin(2 * np.pi * SWAY_CYCLES * np.arange(len(numbers)))
    resting[:, ARMS] += SWAY_DEGREES * sway[:, None]
    return np.where(clock.active[:, None], numbers, resting)


def _turned(
    xy: Float[np.ndarray, "T J 2"], numbers: Float[np.ndarray, "T A"]
) -> Float[np.ndarray, "T J 2"]:
    """Joints seen from the hip after the whole body has turned forward, then about its height."""
    turn, yaw = np.radians(numbers[:, [TURN, YAW]]).T[:, :, None]
    (x, y), cos, sin = np.moveaxis(xy, -1, 0), np.cos(turn), np.sin(turn)
    return np.stack([(x * cos + y * sin) * np.cos(yaw), y * cos - x * sin], -1)


def _anchor(role: Role, heights: dict[str, Float[np.ndarray, " T"]]) -> Float[np.ndarray, " T"]:
    """Height above the hip of what stands, hangs or sits."""
    if role.anchor == "hip":
        return heights["hip"]
    if role.anchor == "hands":
        return np.maximum(heights["near_hand"], heights["far_hand"])
    if role.anchor == "feet":
        return np.minimum(heights["near_foot"], heights["far_foot"])
    return np.min([y for part, y in heights.items() if not part.endswith("toe")], axis=0)
