"""Stills of the 21 J-HMDB actions: one acting person, sometimes a bystander."""

from dataclasses import replace

import numpy as np

from stclip.mini.choreography import ACTIONS, load_repertoire
from stclip.mini.drawing import tight_box
from stclip.mini.render import SHIRTS, render
from stclip.mini.scenery import STILL, VIDEO, Style
from stclip.mini.stills import Still, Stills

UNDERSCORED = 0.7  # share of names that captions write with underscores
CLUTTERED = 0.35  # share of a detector's pictures drawn like the videos, the others like stills
WITH_BYSTANDERS = replace(STILL, bystander=0.3)


def jhmdb_stills() -> Stills:
    """What the models of the mini J-HMDB learn from."""
    repertoire = load_repertoire()
    return Stills(
        actions=ACTIONS,
        spellings={
            action: ((UNDERSCORED, action), (1 - UNDERSCORED, action.replace("_", " ")))
            for action in ACTIONS
        },
        action_phrases={name: action.phrases for name, action in repertoire.actions.items()},
        scene_phrases={name: scene.phrases for name, scene in repertoire.scenes.items()},
        shirts=tuple(SHIRTS),
        for_clip=lambda action, rng: _draw(action, STILL, rng),
        for_detector=_draw_for_detector,
    )


def _draw_for_detector(action: str, rng: np.random.Generator) -> Still:
    style = VIDEO if rng.random() < CLUTTERED else WITH_BYSTANDERS
    return _draw(action, style, rng)


def _draw(action: str, style: Style, rng: np.random.Generator) -> Still:
    video = render(action, load_repertoire(), style=style, num_frames=1, rng=rng, still=True)
    box = tight_box(video.masks[0])
    assert box is not None, "the renderer keeps the hips in the picture"
    boxes = np.stack([box, *video.bystander_boxes])
    return Still(video.frames[0], boxes, shirt=video.shirt, scene=video.scene)
