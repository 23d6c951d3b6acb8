"""Draws a person: limbs with an outline, so that the figure stays legible on any ground.

Points are (x, y) in pixels, y down; pictures are RGB. Drawing is antialiased with 1/16 px.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SUBPIXEL_BITS = 4
OUTLINE = (15, 15, 15)
Rgb = tuple[float, ...]
Point = Float[np.ndarray, "2"]
Points = Float[np.ndarray, "P 2"]

cv2.setNumThreads(1)  # the same bytes everywhere; parallel work is over videos


def darker(colour: Rgb, factor: float = 0.68) -> Rgb:
    """The colour in shade."""
    return tuple(c * factor for c in colour)


class Canvas:
    """A picture to draw on, with or without the mask of a person."""

    def __init__(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Draw into `image`, in place; there is no mask until a person is drawn."""
        self.image = image
        self.mask = np.zeros(image.shape[:2], np.uint8)

    @staticmethod
    def _fixed(point: Point) -> tuple[int, int]:
        x, y = point.tolist()  # Python's numbers are quicker than numpy's
        return int(x * (1 << SUBPIXEL_BITS)), int(y * (1 << SUBPIXEL_BITS))

    @staticmethod
    def _all_fixed(points: Points) -> list[np.ndarray]:
        return [(points * (1 << SUBPIXEL_BITS)).astype(np.int32)]

    def line(self, a: Point, b: Point, colour: Rgb, width: float) -> None:
        """A line with round ends, at least 1 px wide."""
        width = max(1, int(width))
        ends = self._fixed(a), self._fixed(b)
        cv2.line(self.image, *ends, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def curve(self, points: Sequence[Point], colour: Rgb, width: float) -> None:
        """An open line through the points."""
        fixed = np.array([self._fixed(p) for p in points], np.int32)
        width = max(1, int(width))
        cv2.polylines(self.image, [fixed], False, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def disc(self, centre: Point, radius: float, colour: Rgb) -> None:
        """A filled circle, at least 1 px in radius."""
        fixed = int(max(1.0, radius) * (1 << SUBPIXEL_BITS))
        centre_fixed = self._fixed(centre)
        cv2.circle(self.image, centre_fixed, fixed, colour, -1, cv2.LINE_AA, SUBPIXEL_BITS)

    def polygon(self, points: Sequence[Point], colour: Rgb) -> None:
        """A filled convex polygon."""
        fixed = np.array([self._fixed(p) for p in points], np.int32)
        cv2.fillConvexPoly(self.image, fixed, colour, cv2.LINE_AA, SUBPIXEL_BITS)

    def limb(self, a: Point, b: Point, colour: Rgb, width: float) -> None:
        """A part of a person: a line with an outline, entered in the mask."""
        ends, width = (self._fixed(a), self._fixed(b)), int(width)
        cv2.line(self.image, *ends, OUTLINE, max(1, width + 2), cv2.LINE_AA, SUBPIXEL_BITS)
        width = max(1, width)
        cv2.line(self.image, *ends, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.line(self.mask, *ends, 1, width, cv2.LINE_8, SUBPIXEL_BITS)

    def ball_of_person(self, centre: Point, radius: float, colour: Rgb) -> None:
        """A round part of a person (head, hand), entered in the mask."""
        self.disc(centre, radius, colour)
        fixed = int(max(1.0, radius) * (1 << SUBPIXEL_BITS))
        cv2.circle(self.mask, self._fixed(centre), fixed, 1, -1, cv2.LINE_8, SUBPIXEL_BITS)

    def strip(self, points: Points, colour: Rgb, width: float, *, outline: bool) -> None:
        """A part of a thing: a line through the points, entered in the mask."""
        fixed, width = self._all_fixed(points), max(1, int(width))
        if outline:
            cv2.polylines(self.image, fixed, False, OUTLINE, width + 2, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.polylines(self.image, fixed, False, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.polylines(self.mask, fixed, False, 1, width, cv2.LINE_8, SUBPIXEL_BITS)

    def plate(self, points: Points, colour: Rgb, *, outline: bool) -> None:
        """A part of a thing: a filled polygon, entered in the mask."""
        fixed = self._all_fixed(points)
        cv2.fillPoly(self.image, fixed, colour, cv2.LINE_AA, SUBPIXEL_BITS)
        if outline:
            cv2.polylines(self.image, fixed, True, OUTLINE, 1, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.fillPoly(self.mask, fixed, 1, cv2.LINE_8, SUBPIXEL_BITS)

    def ring(self, centre: Point, radius: float, colour: Rgb, width: float) -> None:
        """A part of a thing: a circle, entered in the mask."""
        fixed = int(max(1.0, radius) * (1 << SUBPIXEL_BITS))
        where, width = self._fixed(centre), max(1, int(width))
        cv2.circle(self.image, where, fixed, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.circle(self.mask, where, fixed, 1, width, cv2.LINE_8, SUBPIXEL_BITS)


@dataclass(frozen=True)
class Look:
    """What a person looks like: colours, and widths in pixels."""

    shirt: Rgb
    trousers: Rgb
    skin: Rgb
    hair: Rgb
    shoes: Rgb
    limb: int
    torso: int
    head: float  # radius


def draw_person(
    canvas: Canvas,
    at: Mapping[str, Point],
    look: Look,
    *,
    front: bool,
    direction: int,
    holding: Callable[[], None] | None = None,
) -> None:
    """Draw a person from the far side to the near one.

    `at` names the joints as `choreography.joints` does; `direction` is 1 facing right and -1 facing
    left; `holding` draws what is in the near hand, behind that arm.
    """
    limbs = _Limbs(canvas, at, look, front)
    limbs.arm("far", shaded=not front)
    limbs.leg("far", shaded=not front)
    canvas.limb(at["hip"], at["neck"], look.shirt, look.torso)
    canvas.limb(at["neck"], at["head"], look.skin, look.limb * 0.8)
    canvas.disc(at["head"], look.head + 1, OUTLINE)
    canvas.ball_of_person(at["head"], look.head, look.skin)
    _hair(canvas, at, look, front=front, direction=direction)
    limbs.leg("near", shaded=False)
    if holding is not None:
        holding()
    limbs.arm("near", shaded=False)


@dataclass(frozen=True)
class _Limbs:
    canvas: Canvas
    at: Mapping[str, Point]
    look: Look
    front: bool

    def arm(self, side: str, *, shaded: bool) -> None:
        """Sleeve, forearm and hand."""
        sleeve, skin = self.look.shirt, self.look.skin
        if shaded:
            sleeve, skin = darker(sleeve), darker(skin)
        shoulder, elbow, hand = (self.at[f"{side}_{p}"] for p in ("shoulder", "elbow", "hand"))
        self.canvas.limb(shoulder, elbow, sleeve, self.look.limb)
        self.canvas.limb(elbow, hand, skin, self.look.limb * 0.85)
        self.canvas.ball_of_person(hand, self.look.limb * 0.5, self.look.skin)

    def leg(self, side: str, *, shaded: bool) -> None:
        """Thigh, shin and shoe; seen from the front a shoe is a dot."""
        colour = darker(self.look.trousers) if shaded else self.look.trousers
        groin, knee, foot, toe = (self.at[f"{side}_{p}"] for p in ("groin", "knee", "foot", "toe"))
        self.canvas.limb(groin, knee, colour, self.look.limb * 1.25)
        self.canvas.limb(knee, foot, colour, self.look.limb)
        self.canvas.limb(foot, foot if self.front else toe, self.look.shoes, self.look.limb * 0.8)


def _hair(
    canvas: Canvas, at: Mapping[str, Point], look: Look, *, front: bool, direction: int
) -> None:
    """Hair on top and, seen from the side, at the back of the head."""
    up = at["head"] - at["neck"]
    up = up / (np.linalg.norm(up) + 1e-6)
    back = np.array([0.0 if front else direction * look.head * 0.3, 0.0])
    canvas.disc(at["head"] + up * look.head * 0.35 - back, look.head * 0.8, look.hair)


def tight_box(mask: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "4"] | None:
    """Box xyxy of the non-zero pixels with 0-based inclusive corners, or None for an empty mask."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    return np.array([x, y, x + width - 1, y + height - 1], np.float32)
