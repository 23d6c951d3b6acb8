"""Stills of the classes of AVA that the miniature plays: one person, or two who do it together.

A class is shown by any body and arms that have it: somebody drinks standing, sitting or crouching.
For the detector there are moments of films, with all who are in them.
"""

from dataclasses import replace

import numpy as np

from stclip.mini.ava.acting import Actor
from stclip.mini.ava.film import render_moment
from stclip.mini.ava.repertoire import Activity, AvaRepertoire, Player, load_ava_repertoire
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


def ava_stills() -> Stills:
    """What the models of the mini AVA learn from."""
    repertoire = load_ava_repertoire()
    return Stills(
        actions=repertoire.played,
        spellings={action: ((1.0, action),) for action in repertoire.played},
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
    activity, shown = _shows(action, repertoire, rng)
    moment = rng.uniform(0, LONG_S)
    signs = [1, -1] if rng.random() < 0.5 else [-1, 1]
    tempo = (float(rng.random()), float(rng.random()))
    scene = str(rng.choice(list(repertoire.scenes)))
    back, horizon = backdrop(rng, repertoire.scenes[scene], STUDIO)
    wardrobe = Wardrobe(rng, repertoire.colours, repertoire.things, STUDIO)
    scale = rng.uniform(*STUDIO.scale) * HEIGHT / (1 if len(activity.players) == 1 else 1.15)
    bottom = max(rng.uniform(*STUDIO.ground), horizon + 0.04) * HEIGHT
    place = Placement(np.array([WIDTH / 2, bottom]), scale, direction=1)
    layers = Layers(np.ascontiguousarray(back[MARGIN:-MARGIN, MARGIN:-MARGIN]), np.zeros(2))
    shirt = ""
    for player, sign in zip(activity.players, signs, strict=False):
        body, arms = shown if player is activity.players[0] else _any(player, rng)
        labels = repertoire.labels(body, arms, player)
        at = -sign * activity.gap / 2 if len(activity.players) == 2 else 0.0
        segment = Segment(0, LONG_S, body, arms, labels, (at, at), sign, tempo)
        actor = Actor(rng, repertoire, wardrobe, STUDIO, place, number=0)
        (act,) = actor.acts([segment], np.array([moment]))
        layers.add_person(act.person, 0)
        shirt = shirt or act.person.shirt
    boxes = [seen.box_xyxy for seen in layers.sightings() if seen is not None]
    picture = Sensor.draw(rng, STUDIO).expose(rng, layers.image)
    return Still(picture, np.stack(boxes), shirt=shirt, scene=scene)


def _shows(
    action: str, repertoire: AvaRepertoire, rng: np.random.Generator
) -> tuple[Activity, tuple[str, str | None]]:
    """An activity whose first player shows the class with a body and arms; others come second."""
    found = [
        (Activity(players=(player, *others), gap=activity.gap), (body, arms))
        for activity in repertoire.activities.values()
        for i, player in enumerate(activity.players)
        for others in [activity.players[:i] + activity.players[i + 1 :]]
        for body in player.bodies
        for arms in (player.arms or (None,))
        if action in repertoire.labels(body, arms, player)
    ]
    return found[rng.integers(len(found))]


def _any(player: Player, rng: np.random.Generator) -> tuple[str, str | None]:
    """A body and arms of a player."""
    body = player.bodies[rng.integers(len(player.bodies))]
    return body, player.arms[rng.integers(len(player.arms))] if player.arms else None
