"""One person of mini AVA in motion: the same body and clothes, whatever is done.

Legend: T frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from stclip.mini.ava.repertoire import Arms, AvaRepertoire, Body, Names
from stclip.mini.ava.schedule import Segment
from stclip.mini.render import Manner
from stclip.mini.scenery import Style
from stclip.mini.ucf.framing import Placement
from stclip.mini.ucf.layers import Person
from stclip.mini.ucf.motion import ARMS, HEAD, Clock, Motion, numbers_in_time, placed
from stclip.mini.ucf.repertoire import Outfit
from stclip.mini.ucf.wardrobe import Wardrobe

CHANGE_S = 0.3  # in which a body goes over from what it did before


@dataclass(frozen=True)
class Act:
    """A segment of one person, ready to be drawn."""

    number: int  # of the person
    first: int  # frame
    last: int  # the frame after the last
    labels: Names
    person: Person


@dataclass
class Actor:
    """One person at a place; body and clothes stay the same for the whole film."""

    rng: np.random.Generator
    repertoire: AvaRepertoire
    wardrobe: Wardrobe
    style: Style
    place: Placement
    number: int

    def __post_init__(self) -> None:
        self.look, self.shirt = self.wardrobe.look(Outfit(), self.place.scale)
        self.proportions = Manner.draw(
            self.rng, next(iter(self.repertoire.bodies.values())), self.style
        ).proportions

    def acts(self, segments: Iterable[Segment], times: Float[np.ndarray, " T"]) -> Iterator[Act]:
        """The person's segments in the film's frames."""
        before: Motion | None = None
        for segment in segments:
            first, last = np.searchsorted(times, (segment.start_s, segment.end_s)).tolist()
            if first == last:
                continue
            since = times[first:last] - segment.start_s
            motion = self._moved(segment, since)
            if before is not None:
                motion = _gone_over(before, motion, since)
            before = motion
            person = self._person(segment, motion)
            yield Act(self.number, first, last, segment.labels, person)

    def _moved(self, segment: Segment, since: Float[np.ndarray, " T"]) -> Motion:
        """Where the joints are, of the body with arms that it may lend."""
        body = self.repertoire.bodies[segment.body]
        role = body.model_copy(update={"place": segment.way[0], "mirrored": segment.sign < 0})
        manner = self._manner(body, segment)
        numbers = numbers_in_time(role, since, manner)
        if segment.arms is not None:
            arms = self.repertoire.arms[segment.arms]
            lent = numbers_in_time(arms, since, self._manner(arms, segment))
            lent_parts = slice(HEAD, ARMS.stop)
            numbers[:, lent_parts] = lent[:, lent_parts]
        motion = placed(role, Clock(since, np.ones(len(since), bool)), manner, numbers)
        gone = (segment.way[1] - segment.way[0]) * since / segment.seconds
        shift = np.stack([gone, np.zeros_like(gone)], 1)
        return replace(motion, body=motion.body + shift[:, None], track=motion.track + shift)

    def _manner(self, movement: Body | Arms, segment: Segment) -> Manner:
        fast, phase = segment.tempo
        least, most = movement.cycles
        return replace(
            Manner.draw(self.rng, movement, self.style),
            proportions=self.proportions,
            num_cycles=least + fast * (most - least),
            phase=phase,
            amplitude=1.0,
        )

    def _person(self, segment: Segment, motion: Motion) -> Person:
        names = self.repertoire.bodies[segment.body].things
        if segment.arms is not None:
            names += self.repertoire.arms[segment.arms].things
        things = self.wardrobe.things(names, motion, self.place)
        pixels = self.place.to_pixels(motion.body)
        return Person(motion, self.look, self.shirt, pixels, motion.sign, things, acts=True)


def _gone_over(before: Motion, motion: Motion, since: Float[np.ndarray, " T"]) -> Motion:
    """The motion, whose first moments lead over from where the body was before."""
    weight = np.clip(since / CHANGE_S, 0, 1)[:, None, None]
    return replace(motion, body=before.body[-1] * (1 - weight) + motion.body * weight)
