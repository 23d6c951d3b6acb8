"""Where persons and things of a film are in the picture, so that what matters is seen.

Legend: T times. Scene points are (x, y) in body heights, y up; pixels have y down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stclip.mini.render import HEIGHT, WIDTH
from stclip.mini.scenery import Style
from stclip.mini.ucf.motion import Motion
from stclip.mini.ucf.repertoire import FilmAction

WIDE = 0.75  # chance that a still shows all that a film does, not the persons alone
HEADROOM = 0.1  # body heights above the head's centre
DEPTH = 0.86  # size of a group over the one before it
BYSTANDER = (0.25, 0.42)  # body height of a passer-by, picture heights
BACK = 0.07  # body heights by which a group stands higher in the picture than the one before it


@dataclass(frozen=True)
class Placement:
    """From scene points to pixels, without the camera's shift."""

    origin: Float[np.ndarray, "2"]
    scale: float  # pixels per body height
    direction: int  # 1: forward is to the right, -1: to the left
    roll: float = 0.0  # of the camera, radians

    def to_pixels(self, xy: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "... 2"]:
        """Scene points in pixels."""
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        turn = np.array([[cos, sin], [-sin, cos]])
        return self.origin + (xy * [self.direction * self.scale, -self.scale]) @ turn

    def moved(self, x: float, y: float, zoom: float) -> "Placement":
        """The placement of somebody who acts elsewhere: there is their origin."""
        there = self.to_pixels(np.array([x, y]))
        return Placement(there, self.scale * zoom, self.direction, self.roll)


def frame_cast(
    rng: np.random.Generator,
    action: FilmAction,
    groups: Sequence[Sequence[Motion]],
    style: Style,
    *,
    horizon: float,
    still: bool,
) -> list[Placement]:
    """A placement for each group, the nearest first."""
    homes = [_home(index, action.spacing) for index in range(len(groups))]
    cast = np.concatenate(
        [
            np.array([x, y]) + motion.body.reshape(-1, 2) * zoom
            for (x, y, zoom), group in zip(homes, groups, strict=True)
            for motion in group
        ]
    )
    low, high = cast.min(0) - [HEADROOM, 0], cast.max(0) + HEADROOM
    middle = (low[0] + high[0]) / 2
    if action.room is not None and (not still or rng.random() < WIDE):
        low, high = np.minimum(low, action.room[:2]), np.maximum(high, action.room[2:])
    width, height = high - low
    scale = rng.uniform(*style.scale) * HEIGHT
    scale = min(scale, 0.94 * HEIGHT / height, 0.97 * WIDTH / width)
    bottom = max(rng.uniform(*style.ground), horizon + 0.04) * HEIGHT
    if still:  # whoever flies or lies is in the middle of a photo, not at its edge
        bottom = min(bottom, HEIGHT / 2 + height * scale / 2 + 0.12 * HEIGHT)
    bottom = min(max(bottom, height * scale + 0.02 * HEIGHT), 0.985 * HEIGHT)
    direction = -1 if rng.random() < 0.5 else 1
    roll = float(np.radians(rng.normal(0, style.roll)))
    centre = WIDTH * (0.5 + rng.normal(0, style.off_centre)) - middle * scale * direction
    left, right = sorted((centre + np.array([low[0], high[0]]) * scale * direction).tolist())
    centre += max(0.0, 0.01 * WIDTH - left) - max(0.0, right - 0.99 * WIDTH)
    nearest = Placement(np.array([centre, bottom + low[1] * scale]), scale, direction, roll)
    return [nearest.moved(*home) for home in homes]


def frame_bystander(rng: np.random.Generator, nearest: Placement) -> Placement:
    """A smaller person near the picture's edge, behind the acting ones."""
    scale = rng.uniform(*BYSTANDER) * HEIGHT
    side = rng.uniform(0.05, 0.16)
    x = (side if rng.random() < 0.5 else 1 - side) * WIDTH
    foot = nearest.origin[1] - rng.uniform(0.02, 0.08) * HEIGHT
    return Placement(np.array([x, foot]), scale, -1 if rng.random() < 0.5 else 1)


def _home(index: int, spacing: float) -> tuple[float, float, float]:
    """Where a group's origin is, and its size: alternately to the right and left, farther back."""
    side = (index + 1) // 2 * (1 if index % 2 else -1)
    return side * spacing, index * BACK, DEPTH**index
