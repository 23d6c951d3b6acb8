"""Captions of stills, as web pictures have them: sentences, bare names, file names, alt texts."""

import numpy as np

from stclip.mini.stills import Still, Stills

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
NAMED = 0.5  # share of captions with the name
ATTRIBUTE = 0.4  # chance that a sentence tells the shirt, and that it tells the place


def caption(rng: np.random.Generator, action: str, still: Still, stills: Stills) -> str:
    """One caption for a still of an action."""
    if rng.random() < NAMED:
        name = spelt(stills.spellings[action], rng.random())
        return _one_of(rng, NAME_TEMPLATES).format(name)
    words = [_one_of(rng, SUBJECTS)] if rng.random() < 0.7 else []
    if words and rng.random() < ATTRIBUTE:
        words.append(SHIRT_PHRASE.format(still.shirt))
    words.append(_one_of(rng, stills.action_phrases[action]))
    if rng.random() < ATTRIBUTE:
        words.append(_one_of(rng, stills.scene_phrases[still.scene]))
    return " ".join(words)


def all_phrases(stills: Stills) -> list[str]:
    """Everything captions are made of: these texts have all the words that occur."""
    texts = [template.format("") for template in NAME_TEMPLATES]
    texts += [*SUBJECTS, *(SHIRT_PHRASE.format(colour) for colour in stills.shirts)]
    texts += [name for spellings in stills.spellings.values() for _, name in spellings]
    texts += [p for phrases in stills.action_phrases.values() for p in phrases]
    texts += [p for phrases in stills.scene_phrases.values() for p in phrases]
    return texts


def spelt(spellings: tuple[tuple[float, str], ...], chance: float) -> str:
    """The spelling whose share of 0..1 holds `chance`."""
    for share, name in spellings[:-1]:
        if chance < share:
            return name
        chance -= share
    return spellings[-1][1]


def _one_of(rng: np.random.Generator, texts: tuple[str, ...]) -> str:
    return texts[rng.integers(len(texts))]
