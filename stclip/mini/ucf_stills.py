"""Stills of the 24 actions of UCF101-24: one to several persons, with things and passers-by."""

import re
from dataclasses import replace

import numpy as np

from stclip.mini.render import SHIRTS
from stclip.mini.scenery import STILL, VIDEO, Style
from stclip.mini.stills import Still, Stills
from stclip.mini.ucf.film import Film, render_film
from stclip.mini.ucf.repertoire import UCF_ACTIONS, load_film_repertoire

RAW, SPACED = 0.5, 0.25  # shares of `IceDancing` and `Ice Dancing`; the others are `ice dancing`
# CLIP's own world: studio shots of whole persons, often without the thing and in another place.
# Nearer to the films it would know too much: something is to be left to learn.
CAPTIONED = replace(
    STILL,
    own_scene=0.4,
    plain=0.85,
    texture=(0, 4),
    clutter=(0, 1),
    scale=(0.65, 0.9),
    off_centre=0.03,
    props=0.7,
    noise=(0, 2),
)
FILMED = 0.65  # share of a detector's pictures that are frames of films, the others are stills
WITH_BYSTANDERS = replace(STILL, bystander=0.3)


def ucf_stills() -> Stills:
    """What the models of the mini UCF101-24 learn from."""
    repertoire = load_film_repertoire()
    return Stills(
        actions=UCF_ACTIONS,
        spellings={action: _spellings(action) for action in UCF_ACTIONS},
        action_phrases={name: action.phrases for name, action in repertoire.actions.items()},
        scene_phrases={name: scene.phrases for name, scene in repertoire.scenes.items()},
        shirts=tuple(SHIRTS),
        for_clip=lambda action, rng: _still(_draw(action, CAPTIONED, rng)),
        for_detector=_draw_for_detector,
    )


def _spellings(action: str) -> tuple[tuple[float, str], ...]:
    """The official name, its words, its words in small letters."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", action)
    return (RAW, action), (SPACED, words), (1 - RAW - SPACED, words.lower())


def _draw_for_detector(action: str, rng: np.random.Generator) -> Still:
    filmed = rng.random() < FILMED
    return _still(_draw(action, VIDEO if filmed else WITH_BYSTANDERS, rng, still=not filmed))


def _draw(action: str, style: Style, rng: np.random.Generator, *, still: bool = True) -> Film:
    repertoire = load_film_repertoire()
    return render_film(action, repertoire, style=style, num_frames=1, rng=rng, still=still)


def _still(film: Film) -> Still:
    boxes = np.concatenate([*(tube.boxes_xyxy for tube in film.tubes), film.bystanders[0]])
    return Still(film.frames[0], boxes, shirt=film.shirt, scene=film.scene)
