"""The looks of persons and the colours of things, in the light of one film."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stclip.mini.choreography import Colour
from stclip.mini.drawing import Look
from stclip.mini.render import SHIRTS, light, person_look
from stclip.mini.scenery import Style
from stclip.mini.ucf.framing import Placement
from stclip.mini.ucf.motion import Motion
from stclip.mini.ucf.repertoire import Outfit, Thing
from stclip.mini.ucf.things import PlacedThing, place_thing

LIMB = 0.075  # body heights; the usual width of a limb, in which things are measured


class Wardrobe:
    """Gives persons their looks and things their colours."""

    def __init__(
        self,
        rng: np.random.Generator,
        colours: Mapping[str, Colour | tuple[Colour, ...]],
        things: Mapping[str, Thing],
        style: Style,
    ) -> None:
        """Draw the film's light and, where a colour is one of several, which one it is."""
        self.rng, self.style, self._things = rng, style, things
        self.tint = light(rng, style)
        self.colours = {name: self.tint(self._one(rgb)) for name, rgb in colours.items()}

    def _one(self, colour: Colour | tuple[Colour, ...]) -> Colour:
        if isinstance(colour[0], tuple):
            return colour[self.rng.integers(len(colour))]
        return colour

    def look(self, outfit: Outfit, scale: float) -> tuple[Look, str]:
        """A person's look in an outfit (what it leaves open is anyone's), and the shirt's colour.

        `scale` is the body height in pixels.
        """
        shirt = outfit.shirt or str(self.rng.choice(list(SHIRTS)))
        look = person_look(self.rng, scale, shirt=self.tint(SHIRTS[shirt]), tint=self.tint)
        if outfit.trousers is not None:
            look = replace(look, trousers=self.tint(outfit.trousers))
        return look, shirt

    def things(
        self, names: Sequence[str], motion: Motion, place: Placement
    ) -> tuple[PlacedThing, ...]:
        """The things of these names; one that is optional may be missing."""
        chosen = [self._things[name] for name in names]
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
