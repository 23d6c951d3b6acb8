"""Captions of stills, as web pictures have them: sentences, bare names, file names, alt texts."""

import numpy as np

from stclip.mini.choreography import ACTIONS, Repertoire
from stclip.mini.render import SHIRTS, Video

NAME_TEMPLATES = (
    "{}",
    "{}",
    "{}",
    "{}.",
    "a photo of {}",
    "a photo of a person {}",
    "a photo of action {}",
    "a picture of action {}",
    "human action of {}",
    "{}, an action",
    "{} this is an action",
    "{}, a video of action",
    "playing action of {}",
    "playing a kind of action, {}",
    "doing a kind of action, {}",
    "look, the human is {}",
    "can you recognize the action of {}?",
    "video classification of {}",
    "a video of {}",
    "the man is {}",
    "the woman is {}",
)
SUBJECTS = ("a person", "someone", "a man", "a woman", "a photo of a person", "people")
SHIRT_PHRASE = "in a {} shirt"
NAMED, UNDERSCORED = 0.5, 0.7  # share of captions with the name; of these, with underscores
ATTRIBUTE = 0.4  # chance that a sentence tells the shirt, and that it tells the place


def caption(rng: np.random.Generator, action: str, still: Video, repertoire: Repertoire) -> str:
    """One caption for a still of an action."""
    if rng.random() < NAMED:
        name = action if rng.random() < UNDERSCORED else action.replace("_", " ")
        return _one_of(rng, NAME_TEMPLATES).format(name)
    words = [_one_of(rng, SUBJECTS)] if rng.random() < 0.7 else []
    if words and rng.random() < ATTRIBUTE:
        words.append(SHIRT_PHRASE.format(still.shirt))
    words.append(_one_of(rng, repertoire.actions[action].phrases))
    if rng.random() < ATTRIBUTE:
        words.append(_one_of(rng, repertoire.scenes[still.scene].phrases))
    return " ".join(words)


def all_phrases(repertoire: Repertoire) -> list[str]:
    """Everything captions are made of: these texts have all the words that occur."""
    texts = [template.format("") for template in NAME_TEMPLATES]
    texts += [*SUBJECTS, *(SHIRT_PHRASE.format(colour) for colour in SHIRTS)]
    texts += [*ACTIONS, *(action.replace("_", " ") for action in ACTIONS)]
    texts += [p for action in repertoire.actions.values() for p in action.phrases]
    texts += [p for scene in repertoire.scenes.values() for p in scene.phrases]
    return texts


def _one_of(rng: np.random.Generator, texts: tuple[str, ...]) -> str:
    return texts[rng.integers(len(texts))]
