"""Stills of the classes of AVA that the miniature plays: one person, or two who do it together.

A class is shown by any body and arms that have it: somebody drinks standing, sitting or crouching.
For the detector there are moments of films, with all who are in them.
"""

from dataclasses import replace

import numpy as np

from stclip.mini.ava.acting import Act, Actor
from stclip.mini.ava.film import render_moment
from stclip.mini.ava.repertoire import AvaRepertoire, Player, load_ava_repertoire
from stclip.mini.ava.schedule import Segment
from stclip.mini.render import HEIGHT, MARGIN, SHIRTS, WIDTH, backdrop
from stclip.mini.scenery import Sensor
from stclip.mini.stills import Still, Stills
from stclip.mini.ucf.framing import Placement
from stclip.mini.ucf.layers import Layers
from stclip.mini.ucf.wardrobe import Wardrobe
from stclip.mini.ucf_stills import CAPTIONED

STUDIO = replace(CAPTIONED, roll=0)
SECONDS = 30  # of the films of which the detector sees moments
LONG_S = 10.0  # in which a still's moment lies
FILLED, HEADROOM = 0.94, 0.1  # of the picture, at most; body heights above the head's centre


def ava_stills() -> Stills:
    """What the models of the mini AVA learn from."""
    repertoire = load_ava_repertoire()
    return Stills(
        actions=repertoire.played,
        # of all classes, so that the text tower has the words of those that nobody plays
        spellings={name: ((1.0, name),) for name, _ in repertoire.action_list.classes},
        action_phrases=repertoire.phrases,
        scene_phrases={name: scene.phrases for name, scene in repertoire.scenes.items()},
        shirts=tuple(SHIRTS),
        for_clip=_draw,
        for_detector=_draw_for_detector,
    )


def _draw_for_detector(action: str, rng: np.random.Generator) -> Still:
    """A moment of a film of any theme; which class is asked for does not matter."""
    repertoire = load_ava_repertoire()
    theme = str(rng.choice(list(repertoire.themes)))
    picture, boxes = render_moment(theme, repertoire, seconds=SECONDS, rng=rng)
    return Still(picture, boxes, shirt="", scene="")


def _draw(action: str, rng: np.random.Generator) -> Still:
    """A studio shot of who shows the class, in the middle, and of the partner if there is one."""
    repertoire = load_ava_repertoire()
    segments = _segments(action, repertoire, rng)
    moment = rng.uniform(0, LONG_S, 1)
    scene = str(rng.choice(list(repertoire.scenes)))
    back, horizon = backdrop(rng, repertoire.scenes[scene], STUDIO)
    wardrobe = Wardrobe(rng, repertoire.colours, repertoire.things, STUDIO)

    def acts(place: Placement) -> list[Act]:
        actors = [Actor(rng, repertoire, wardrobe, STUDIO, place, n) for n in range(len(segments))]
        return [
            act
            for actor, segment in zip(actors, segments, strict=True)
            for act in actor.acts([segment], moment)
        ]

    alike = acts(Placement(np.zeros(2), 1.0, direction=1))  # in body heights, y down
    points = np.concatenate([act.person.pixels.reshape(-1, 2) for act in alike])
    (left, top), (right, bottom) = points.min(0), points.max(0)
    scale = min(
        rng.uniform(*STUDIO.scale) * HEIGHT,
        FILLED * HEIGHT / (HEADROOM - min(top, -1.0)),
        FILLED * WIDTH / (right - left + 2 * HEADROOM),
    )
    ground = max(rng.uniform(*STUDIO.ground), horizon + 0.04) * HEIGHT
    ground = min(max(ground, (HEADROOM - top) * scale), FILLED * HEIGHT - max(bottom, 0) * scale)
    middle = WIDTH / 2 - (left + right) / 2 * scale
    layers = Layers(np.ascontiguousarray(back[MARGIN:-MARGIN, MARGIN:-MARGIN]), np.zeros(2))
    drawn = acts(Placement(np.array([middle, ground]), scale, direction=1))
    for act in drawn:
        layers.add_person(act.person, 0)
    boxes = [seen.box_xyxy for seen in layers.sightings() if seen is not None]
    picture = Sensor.draw(rng, STUDIO).expose(rng, layers.image)
    return Still(picture, np.stack(boxes), shirt=drawn[0].person.shirt, scene=scene)


def _segments(action: str, repertoire: AvaRepertoire, rng: np.random.Generator) -> list[Segment]:
    """What each of one or two persons does; the first shows the class."""
    found = [
        (activity, i, (body, arms))
        for activity in repertoire.activities.values()
        for i, player in enumerate(activity.players)
        for body in player.bodies
        for arms in (player.arms or (None,))
        if action in repertoire.labels(body, arms, player)
    ]
    activity, first, shown = found[rng.integers(len(found))]
    tempo = (float(rng.random()), float(rng.random()))
    sign = 1 if rng.random() < 0.5 else -1
    segments = []
    for i, player in sorted(enumerate(activity.players), key=lambda each: each[0] != first):
        body, arms = shown if i == first else _any(player, rng)
        at = -sign * activity.gap / 2 if len(activity.players) == 2 else 0.0
        labels = repertoire.labels(body, arms, player)
        segments.append(Segment(0, LONG_S, body, arms, labels, (at, at), sign, tempo))
        sign = -sign
    return segments


def _any(player: Player, rng: np.random.Generator) -> tuple[str, str | None]:
    """A body and arms of a player."""
    body = player.bodies[rng.integers(len(player.bodies))]
    return body, player.arms[rng.integers(len(player.arms))] if player.arms else None
