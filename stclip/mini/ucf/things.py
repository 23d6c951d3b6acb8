"""Places and draws things: vehicles, animals, instruments, scenery.

Legend: T frames, P points of a part. Points are (x, y) in body heights until they are drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stclip.mini.drawing import Canvas, Point, Rgb
from stclip.mini.ucf.motion import Motion
from stclip.mini.ucf.repertoire import Part, PathKey, Thing

Points = Float[np.ndarray, "T P 2"]


@dataclass(frozen=True)
class PlacedThing:
    """A thing of one film: in pixels, without the camera's shift."""

    thing: Thing
    parts: tuple[tuple[Part, Rgb, Points], ...]
    scale: float  # pixels per body height
    line: float  # width of a limb, pixels

    def draw(self, canvas: Canvas, index: int, camera: Point) -> None:
        """Draw the thing of a frame."""
        for part, colour, points in self.parts:
            at, width = points[index] - camera, part.width * self.line
            if part.draw == "line":
                canvas.strip(at, colour, width, outline=part.outline)
            elif part.draw == "area":
                canvas.plate(at, colour, outline=part.outline)
            elif part.draw == "ring":
                canvas.ring(at[0], part.radius * self.scale, colour, width)
            else:
                canvas.ball_of_person(at[0], part.radius * self.scale, colour)


def place_thing(
    thing: Thing,
    motion: Motion,
    colours: Mapping[str, Rgb],
    *,
    scale: float,
    line: float,
    to_pixels: Callable[[np.ndarray], np.ndarray],
) -> PlacedThing:
    """Where a thing of a person is in each frame."""
    frame = _frame(thing, motion)
    parts = tuple(
        (part, colours[part.colour], to_pixels(_points(part, frame, motion)))
        for part in thing.parts
    )
    return PlacedThing(thing, parts, scale, line)


@dataclass(frozen=True)
class _Frame:
    """A thing's own frame in time."""

    origin: Float[np.ndarray, "T 2"]
    x: Float[np.ndarray, "T 2"]  # unit vectors
    y: Float[np.ndarray, "T 2"]

    def place(self, xy: Float[np.ndarray, "#T P 2"]) -> Points:
        """Points of the frame in the scene."""
        x, y = xy[..., :1] * self.x[:, None], xy[..., 1:] * self.y[:, None]
        return self.origin[:, None] + x + y


def _frame(thing: Thing, motion: Motion) -> _Frame:
    """A hand's x runs along the forearm, y of head and hip along the torso."""
    at, ones = motion.joints, np.ones((len(motion.track), 1))
    level = ones * [motion.sign, 0.0], ones * [0.0, 1.0]
    if thing.path:
        return _Frame(_flight(thing.path, motion), *level)
    if thing.frame == "track":
        return _Frame(motion.track, *level)
    if thing.frame == "scene":
        return _Frame(np.zeros_like(motion.track), ones * [1.0, 0.0], level[1])
    if thing.frame in ("head", "hip"):
        up = _unit(at["neck"] - at["hip"])
        return _Frame(at[thing.frame], motion.sign * up[:, ::-1] * [1, -1], up)
    side = thing.frame.removesuffix("_hand")
    along = _unit(at[f"{side}_hand"] - at[f"{side}_elbow"])
    return _Frame(at[f"{side}_hand"], along, motion.sign * along[:, ::-1] * [-1, 1])


def _unit(vectors: Float[np.ndarray, "T 2"]) -> Float[np.ndarray, "T 2"]:
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6)


def _points(part: Part, frame: _Frame, motion: Motion) -> Points:
    joints = {i: place for i, place in enumerate(part.points) if isinstance(place, str)}
    places = [(0.0, 0.0) if isinstance(place, str) else place for place in part.points]
    xy = np.array(places)[None]  # (1, P, 2)
    if part.swing:
        angle = np.radians(part.swing) * np.sin(2 * np.pi * (motion.turns + part.phase))
        (x, y), cos, sin = (xy - xy[:, :1]).T, np.cos(angle), np.sin(angle)
        xy = xy[:, :1] + np.stack([x * cos - y * sin, x * sin + y * cos], -1).swapaxes(0, 1)
    points = frame.place(xy)
    for i, joint in joints.items():
        points[:, i] = motion.joints[joint]
    return points


def _flight(path: tuple[PathKey, ...], motion: Motion) -> Float[np.ndarray, "T 2"]:
    """Where a flying thing is: between where its keys are in the same frame."""
    cyclic = motion.role.cycles is not None
    times = motion.turns % 1.0 if cyclic else motion.clock.times
    at = np.array([key.at for key in path])
    spots = np.stack([_spot(key, motion) for key in path])  # (K, T, 2)
    i = np.clip(np.searchsorted(at, times, side="right") - 1, 0, len(at) - 2)
    weight = np.clip((times - at[i]) / (at[i + 1] - at[i]), 0, 1)
    frames = np.arange(len(times))
    way = spots[i, frames] * (1 - weight)[:, None] + spots[i + 1, frames] * weight[:, None]
    way[:, 1] += np.array([key.arc for key in path])[i + 1] * 4 * weight * (1 - weight)
    return way


def _spot(key: PathKey, motion: Motion) -> Float[np.ndarray, "T 2"]:
    if key.joint is None:
        start = np.array([motion.role.place, 0.0])
        return np.ones((len(motion.track), 1)) * (start + np.multiply(key.xy, [motion.sign, 1]))
    return motion.joints[key.joint] + np.multiply(key.xy, [motion.sign, 1])
