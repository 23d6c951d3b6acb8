"""Who is in a film of mini AVA, where, and what each person does when.

A cast is made of groups: one person who keeps to a place, or two who meet. Between activities
people walk where they are needed. An activity begins and ends about half a second off a whole
second, so that what a key frame shows is never in doubt.

Legend: seconds count from the film's start; places are along the ground, in body heights of whoever
stands there, from the picture's left edge.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from stclip.mini.ava.repertoire import Activity, AvaRepertoire, Names, Player, Theme

GROUPS = {3: ((1, 2),), 4: ((2, 2), (1, 1, 2)), 5: ((1, 2, 2),)}  # persons -> sizes of groups
DEPTHS = (1.0, 0.93, 0.86)  # size of a group in the front, in the middle, at the back
APART = 0.9  # between two of a group who each do something else
FEATURED = 0.45  # chance of what the theme features, once all of it was shown
TOGETHER = 0.6  # chance that two of a group do something together
ENTERS, LEAVES, RUNS = 0.4, 0.35, 0.2  # chances that a group comes later, goes earlier, runs
LATE = 0.1  # chance of a film that nobody is in at first
COMES, COMES_LATE, GOES = (0.03, 0.25), (0.14, 0.26), (0.65, 0.88)  # when; shares of the film
LONGEST_WAY = 1.3  # body heights before somebody turns round
STEP = 0.08  # body heights; for less than this nobody walks
HASTE = 1.6  # seconds that it takes at most to get where the next activity is
BODY = 0.5  # body heights of room that a person needs to each side
WALK, RUN = "walk", "run"  # bodies


@dataclass(frozen=True)
class Segment:
    """What one person does without a break, and where."""

    start_s: float
    end_s: float
    body: str
    arms: str | None
    labels: Names  # the pose first
    way: tuple[float, float]  # places at the start and the end
    sign: int  # 1 faces right, -1 left
    tempo: tuple[float, float]  # of 0..1: how fast, and where in the cycle; two may share it

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Part:
    """One person of a film."""

    depth: float  # size against somebody in the front
    back: float  # how far back the ground is where the person stands, 0 (front) to 1
    segments: tuple[Segment, ...]


@dataclass
class _Deck:
    """Activities of one size: what is featured comes up first, all of it, then by chance."""

    rng: np.random.Generator
    featured: list[Activity]
    others: list[Activity]
    due: list[Activity] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.due = [self.featured[i] for i in self.rng.permutation(len(self.featured))]

    def draw(self) -> Activity:
        """The next activity."""
        if self.due:
            return self.due.pop()
        of = self.featured if self.featured and self.rng.random() < FEATURED else self.others
        return of[self.rng.integers(len(of))]


def schedule(
    rng: np.random.Generator,
    repertoire: AvaRepertoire,
    theme: Theme,
    *,
    seconds: float,
    stage: float,
) -> list[Part]:
    """Draw the cast of a film, from the back to the front; `stage` is the picture's width."""
    num_people = int(rng.integers(min(GROUPS), max(GROUPS), endpoint=True))
    forms = GROUPS[num_people]
    sizes = rng.permutation(forms[rng.integers(len(forms))]).tolist()
    depths = rng.permutation(len(DEPTHS))[: len(sizes)]
    decks = {
        size: _Deck(
            rng,
            _of_size(repertoire, theme.featured, size),
            _of_size(repertoire, repertoire.everywhere, size),
        )
        for size in (1, 2)
    }
    late = rng.random() < LATE
    share = 1 / num_people
    parts: list[Part] = []
    begun = 0
    for size, row in zip(sizes, depths.tolist(), strict=True):
        middle = (begun + size / 2) * share + rng.normal(0, 0.02)
        begun += size
        wide = stage / DEPTHS[row]
        group = _Group(rng, repertoire, decks, wide, middle * wide, size)
        arrives: float | None = None
        if late or (parts and rng.random() < ENTERS):
            arrives = float(rng.uniform(*(COMES_LATE if late else COMES))) * seconds
        ways = group.play(arrives, seconds)
        back = row / (len(DEPTHS) - 1)
        parts += [Part(DEPTHS[row], back, tuple(segments)) for segments in ways]
    return sorted(parts, key=lambda part: -part.back)


def _of_size(repertoire: AvaRepertoire, names: Sequence[str], size: int) -> list[Activity]:
    activities = [repertoire.activities[name] for name in names]
    return [activity for activity in activities if len(activity.players) == size]


class _Group:
    """One person or two, from when they come to when they go."""

    def __init__(
        self,
        rng: np.random.Generator,
        repertoire: AvaRepertoire,
        decks: dict[int, _Deck],
        stage: float,
        middle: float,
        size: int,
    ) -> None:
        self.rng, self.repertoire, self.decks, self.stage = rng, repertoire, decks, stage
        reach = BODY + (size - 1) * APART / 2
        self.middle = float(np.clip(middle, min(reach, stage / 2), max(stage - reach, stage / 2)))
        self.size = size
        self.ways: list[list[Segment]] = [[] for _ in range(size)]
        self.at = self._places(APART)

    def _places(self, gap: float) -> list[float]:
        if self.size == 1:
            return [self.middle]
        return [self.middle - gap / 2, self.middle + gap / 2]

    def play(self, arrives: float | None, seconds: float) -> list[list[Segment]]:
        """The segments of each person until the film's end."""
        rng = self.rng
        outside = -BODY if self.middle < self.stage / 2 else self.stage + BODY
        time = 0.0
        if arrives is not None:
            body = RUN if rng.random() < RUNS else WALK
            inward = 1 if outside < 0 else -1
            goals, self.at = self.at, [outside - inward * APART * i for i in range(self.size)]
            if inward > 0:
                self.at.reverse()  # the one whose place is farther is ahead
            time = self._go(arrives, goals, body)
        goes = float(rng.uniform(*GOES)) * seconds if rng.random() < LEAVES else math.inf
        end = min(goes, seconds)
        while time < end - 1:
            time = self._act(time, end)
        if goes < seconds:
            body = RUN if rng.random() < RUNS else WALK
            self._go(time, [outside] * self.size, body)
        return self.ways

    def _act(self, time: float, end: float) -> float:
        """One activity of all, or one each; the time when it ends."""
        rng = self.rng
        pairs = self.decks[2]
        if self.size == 2 and (pairs.due or rng.random() < TOGETHER):
            activity = pairs.draw()
            acts = [(activity, player) for player in activity.players]
            if rng.random() < 0.5:
                acts.reverse()
            goals, signs, shared = self._places(activity.gap), [1, -1], self._tempo()
        else:
            drawn = [self.decks[1].draw() for _ in range(self.size)]
            acts = [(activity, activity.players[0]) for activity in drawn]
            goals, signs, shared = self._places(APART), [0, 0], None
        least = max(activity.seconds[0] for activity, _ in acts)
        most = max(activity.seconds[1] for activity, _ in acts)
        length = int(rng.integers(least, most, endpoint=True))
        begins = self._go(time, goals, WALK)
        until = math.floor(begins) + length + 0.5 + rng.uniform(-0.12, 0.12)
        if end - until < 2:
            until = end
        for i, (_, player) in enumerate(acts):
            tempo = shared or self._tempo()
            sign = signs[i] or self._sign(self.at[i])
            self.ways[i] += self._played(i, player, begins, until, sign, tempo)
        return until

    def _tempo(self) -> tuple[float, float]:
        return float(self.rng.random()), float(self.rng.random())

    def _sign(self, place: float) -> int:
        """Which way to face: where there is room for what is in front."""
        if place < 1.1:
            return 1
        if self.stage - place < 1.1:
            return -1
        return 1 if self.rng.random() < 0.5 else -1

    def _go(self, time: float, goals: Sequence[float], body: str) -> float:
        """Everybody goes to a place; the time when all are there, and those before them wait."""
        moved = self.repertoire.bodies[body]
        far = [abs(goal - at) for goal, at in zip(goals, self.at, strict=True)]
        if max(far) < STEP:
            self.at = list(goals)
            return time
        takes = max(far) / moved.speed
        inside = all(0 <= at <= self.stage for at in [*goals, *self.at])
        if inside:
            takes = min(takes, HASTE)
        for i, (goal, way) in enumerate(zip(goals, far, strict=True)):
            went, waits = (body, None) if way >= STEP else ("stand", None)
            sign = 1 if goal > self.at[i] else -1
            labels = self.repertoire.labels(went, waits, Player(bodies=(went,)))
            places = (self.at[i], goal)
            self.ways[i].append(
                Segment(time, time + takes, went, None, labels, places, sign, self._tempo())
            )
        self.at = list(goals)
        return time + takes

    def _played(
        self,
        i: int,
        player: Player,
        begins: float,
        until: float,
        sign: int,
        tempo: tuple[float, float],
    ) -> Iterator[Segment]:
        """What a person does from one time to another; on a way there and back in turns."""
        rng = self.rng
        body = player.bodies[rng.integers(len(player.bodies))]
        arms = player.arms[rng.integers(len(player.arms))] if player.arms else None
        labels = self.repertoire.labels(body, arms, player)
        total = self.repertoire.bodies[body].speed * (until - begins)
        legs = 2 * max(1, round(total / 2 / LONGEST_WAY)) if total else 1
        if total:
            sign = 1 if self.at[i] < self.stage / 2 else -1
        here = self.at[i]
        there = here + sign * total / legs
        times = np.linspace(begins, until, legs + 1).tolist()
        for leg, (start, end) in enumerate(pairwise(times)):
            way = (here, there) if leg % 2 == 0 else (there, here)
            facing = sign if leg % 2 == 0 else -sign
            yield Segment(start, end, body, arms, labels, way, facing, tempo)
