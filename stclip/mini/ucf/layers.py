"""A frame of a film while it is drawn: persons and things in layers, and what is seen of each.

Legend: T frames, J joints, H height, W width. Pictures are RGB, boxes xyxy in pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from stclip.mini.drawing import Canvas, Look, Point, draw_person, tight_box
from stclip.mini.render import SeenProp
from stclip.mini.ucf.motion import Motion
from stclip.mini.ucf.things import PlacedThing

SLIVER = 24  # pixels; of less than this nobody would annotate a person
Mask = UInt8[np.ndarray, "H W"]


@dataclass(frozen=True)
class Person:
    """A person of a film and the things that go along, in pixels."""

    motion: Motion
    look: Look
    shirt: str  # name of its colour
    pixels: Float[np.ndarray, "T J 2"]
    facing: int
    things: tuple[PlacedThing, ...]
    acts: bool

    def draw(self, canvas: Canvas, index: int, camera: Point, holding: Callable[[], None]) -> None:
        """Draw the person of a frame; `holding` draws what is in the hands."""
        at = dict(zip(self.motion.names, self.pixels[index] - camera, strict=True))
        draw_person(
            canvas,
            at,
            self.look,
            front=self.motion.role.facing == "front",
            direction=self.facing,
            holding=holding,
        )


@dataclass(frozen=True)
class Sighting:
    """What is seen of a person."""

    box_xyxy: Float[np.ndarray, "4"]  # tight, inclusive corners; of what others cover too
    share: float  # of its pixels in the picture that nothing covers


class Layers:
    """A frame while it is drawn, from the back to the front, with the mask of all that is in it."""

    def __init__(self, image: UInt8[np.ndarray, "H W 3"], camera: Point) -> None:
        """Draw into `image`, in place, which the camera's shift (pixels) moves."""
        self.image, self.camera = image, camera
        self._drawn: list[tuple[PlacedThing | Person, Mask]] = []

    def draw(self, things: Sequence[PlacedThing], layer: str, index: int) -> None:
        """Draw the things of a layer as they are in the frame `index` of their motion."""
        for placed in things:
            if placed.thing.layer == layer:
                canvas = Canvas(self.image)
                placed.draw(canvas, index, self.camera)
                self._drawn.append((placed, canvas.mask))

    def add_person(self, person: Person, index: int) -> None:
        """Draw a person among their things, as they are in the frame `index` of their motion."""
        self.draw(person.things, "behind", index)
        canvas = Canvas(self.image)
        person.draw(
            canvas, index, self.camera, holding=lambda: self.draw(person.things, "held", index)
        )
        self._drawn.append((person, canvas.mask))
        self.draw(person.things, "front", index)
        self.draw(person.things, "hides", index)

    def persons(self) -> list[np.ndarray | None]:
        """Boxes of the persons; only what hides (water) takes from them, as annotators do."""
        return [None if seen is None else seen.box_xyxy for seen in self.sightings()]

    def sightings(self) -> list[Sighting | None]:
        """What is seen of each person, in the order in which they were added."""
        found: list[Sighting | None] = []
        for i, (owner, mask) in enumerate(self._drawn):
            if not isinstance(owner, Person):
                continue
            covered = np.zeros_like(mask)
            for other, above in self._drawn[i + 1 :]:
                if isinstance(other, PlacedThing) and other.thing.layer == "hides":
                    mask = mask & ~above & 1
                covered |= above
            num_pixels = int(np.count_nonzero(mask))
            box = tight_box(mask) if num_pixels >= SLIVER else None
            share = int(np.count_nonzero(mask & ~covered & 1)) / max(1, num_pixels)
            found.append(None if box is None else Sighting(box, share))
        return found

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
