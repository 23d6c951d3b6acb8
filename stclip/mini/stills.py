"""What the miniature's models learn from: drawn stills of the actions of one data set.

A data set gives a function that returns its `Stills`; the tiny CLIP's and the tiny detector's
recipes name it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from stclip.config.target import resolve_target
from stclip.errors import ConfigError


@dataclass(frozen=True)
class Still:
    """One picture and what captions and detectors are told about it."""

    picture: UInt8[np.ndarray, "H W 3"]  # RGB
    boxes_xyxy: Float[np.ndarray, "N 4"]  # of everybody, annotated or not; inclusive corners
    shirt: str
    scene: str


@dataclass(frozen=True)
class Stills:
    """The actions of a data set, how they are drawn and how captions put them."""

    actions: tuple[str, ...]
    spellings: Mapping[str, tuple[tuple[float, str], ...]]  # action -> shares, which add up to 1
    action_phrases: Mapping[str, tuple[str, ...]]
    scene_phrases: Mapping[str, tuple[str, ...]]
    shirts: tuple[str, ...]
    for_clip: Callable[[str, np.random.Generator], Still]
    for_detector: Callable[[str, np.random.Generator], Still]

    def draw_action(self, rng: np.random.Generator) -> str:
        """Any action; all are as likely."""
        return self.actions[rng.integers(len(self.actions))]


def load_stills(target: str, *, where: str) -> Stills:
    """What the function `module:name` of a recipe returns.

    Raises:
        ConfigError: there is no such function, or it returns something else.
    """
    stills = resolve_target(target)()
    if not isinstance(stills, Stills):
        raise ConfigError(
            f"{where}: {target} returns {type(stills).__name__}; it must return "
            f"{Stills.__module__}.Stills."
        )
    return stills
