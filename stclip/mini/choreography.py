"""The choreographies of the 21 actions: loading, checking, and posing a body in time.

Legend: T times, K keys, A angles of a pose. Points are (x, y) in body heights, x forward, y up, the
ground at 0.
"""

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
from jaxtyping import Float
from pydantic import Field, ValidationError, field_validator, model_validator

from stclip.config import Strict, read_yaml
from stclip.errors import ConfigError

CHOREOGRAPHIES = Path(__file__).with_name("choreographies.yaml")
ACTIONS = tuple(
    [
        "brush_hair",
        "catch",
        "clap",
        "climb_stairs",
        "golf",
        "jump",
        "kick_ball",
        "pick",
        "pour",
        "pullup",
        "push",
        "run",
        "shoot_ball",
        "shoot_bow",
        "shoot_gun",
        "sit",
        "stand",
        "swing_baseball",
        "throw",
        "walk",
        "wave",
    ]
)  # the official names in the official order
LENGTHS = {"torso": 0.3, "head": 0.115, "upper_arm": 0.165, "forearm": 0.165} | {
    "thigh": 0.245,
    "shin": 0.235,
    "toe": 0.06,
}  # in body heights
BAR_HEIGHT = 1.16
SHOULDER_OFFSET, HIP_OFFSET = 0.07, 0.042  # half of what lies between the two, seen from the front
NUM_ANGLES = 10  # a pose is these angles and the lift

Colour = tuple[int, int, int]
Form = TypeVar("Form", bound=Strict)
Joints = dict[str, Float[np.ndarray, "T 2"]]


class Pose(Strict):
    """Limb angles in degrees and the lift in body heights; choreographies.yaml explains them."""

    torso: float
    head: float
    near_arm: tuple[float, float]
    far_arm: tuple[float, float]
    near_leg: tuple[float, float]
    far_leg: tuple[float, float]
    lift: float

    @property
    def numbers(self) -> list[float]:
        """All angles, then the lift."""
        limbs = (self.near_arm, self.far_arm, self.near_leg, self.far_leg)
        return [self.torso, self.head, *(angle for limb in limbs for angle in limb), self.lift]


class Key(Pose):
    """A pose at a time 0..1."""

    at: float = Field(ge=0, le=1)


class Prop(Strict):
    """A thing drawn with the person; `moment` is when it is let go."""

    kind: (
        Literal[
            "ball", "bar", "bat", "bottle", "bow", "brush", "chair", "club", "crate", "gun", "hoop"
        ]
        | Literal["item", "stairs", "table"]
    )
    motion: Literal["caught", "driven", "kicked", "pitched", "shot", "thrown"] | None = None
    moment: float = Field(default=0, ge=0, lt=1)
    size: float = Field(default=1, gt=0)
    colour: Colour = (30, 170, 60)

    @model_validator(mode="after")
    def _balls_move(self) -> "Prop":
        if (self.kind == "ball") != (self.motion is not None):
            raise ValueError(f"a ball needs a motion, nothing else has one; this is a {self.kind}")
        return self


class Scene(Strict):
    """A place: its two colours and what captions call it."""

    above: Colour
    below: Colour
    phrases: tuple[str, ...] = Field(min_length=1)


class Movement(Strict):
    """How one body moves: poses in time, once or repeated."""

    keys: tuple[Key, ...] = Field(min_length=2)
    facing: Literal["side", "front"] = "side"
    cycles: tuple[float, float] | None = None
    back_and_forth: bool = False

    @field_validator("keys")
    @classmethod
    def _in_order(cls, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        times = [key.at for key in keys]
        if times[0] != 0 or times[-1] != 1 or times != sorted(set(times)):
            raise ValueError(f"times must rise from 0 to 1, they are {times}")
        return keys

    @model_validator(mode="after")
    def _repeats(self) -> Self:
        if self.cycles is None:
            if self.back_and_forth:
                raise ValueError("back_and_forth needs cycles: [least, most]")
            return self
        if not self.back_and_forth and self.keys[0].numbers != self.keys[-1].numbers:
            raise ValueError("a cycle must end in the pose it began with")
        check_range("cycles", self.cycles)
        return self

    @cached_property
    def curve(self) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K A"]]:
        """Times and numbers of the keys."""
        return np.array([k.at for k in self.keys]), np.array([k.numbers for k in self.keys])


class Choreography(Movement):
    """One action as data."""

    scene: str
    phrases: tuple[str, ...] = ()
    props: tuple[Prop, ...] = ()
    travel: float = 0
    rise: float = 0
    hangs: bool = False
    size: float = Field(default=1, gt=0)
    photo: tuple[float, float] = (0, 1)

    @model_validator(mode="after")
    def _photo_in_order(self) -> Self:
        check_range("photo", self.photo)
        return self


def check_range(name: str, limits: tuple[float, float]) -> None:
    """Raise ValueError unless the two are least and most."""
    if not 0 <= limits[0] <= limits[1]:
        raise ValueError(f"{name} must be [least, most], it is {list(limits)}")


class Repertoire(Strict):
    """All that the renderer plays: actions in official order, the bystander, the scenes."""

    scenes: dict[str, Scene]
    bystander: Choreography
    actions: dict[str, Choreography]

    @model_validator(mode="after")
    def _complete(self) -> "Repertoire":
        if tuple(self.actions) != ACTIONS:
            missing = [a for a in ACTIONS if a not in self.actions]
            unknown = [a for a in self.actions if a not in ACTIONS]
            raise ValueError(
                "actions must be the 21 official names in alphabetical order; "
                f"missing {missing}, unknown {unknown}"
            )
        for name, choreography in {**self.actions, "bystander": self.bystander}.items():
            if choreography.scene not in self.scenes:
                raise ValueError(
                    f"{name}: unknown scene {choreography.scene!r}; known {sorted(self.scenes)}"
                )
        return self


@cache
def load_repertoire(path: Path = CHOREOGRAPHIES) -> Repertoire:
    """Read and check choreographies; what a key leaves out is filled in from `neutral`.

    Raises:
        ConfigError: the file is missing, damaged, incomplete or has an unknown key; says which.
    """
    content = read_yaml(path)
    neutral = content.pop("neutral", {})
    content["bystander"] = with_neutral(content.get("bystander"), neutral)
    if isinstance(actions := content.get("actions"), Mapping):
        content["actions"] = {n: with_neutral(a, neutral) for n, a in actions.items()}
    return checked(Repertoire, content, path)


def checked(form: type[Form], content: Any, path: Path) -> Form:
    """The content of a file in its form.

    Raises:
        ConfigError: the content is not of this form; names each wrong key.
    """
    try:
        return form.model_validate(content)
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def with_neutral(choreography: Any, neutral: Mapping[str, Any]) -> Any:
    """Complete the keys; what is not of the expected form stays for the validation to report."""
    if not isinstance(choreography, Mapping) or not isinstance(choreography.get("keys"), list):
        return choreography
    keys = [{**neutral, **k} if isinstance(k, Mapping) else k for k in choreography["keys"]]
    return {**choreography, "keys": keys}


def pose(
    choreography: Movement,
    times: Float[np.ndarray, " T"],
    *,
    num_cycles: float,
    phase: float,
    amplitude: float | Float[np.ndarray, " A"],
    jitter: Float[np.ndarray, " A"],
) -> Float[np.ndarray, "T A"]:
    """Angles and lift at `times` (0..1), eased between the keys.

    `amplitude` scales the movement about its mean pose, `jitter` (degrees) is added to the angles.
    """
    at, numbers = choreography.curve
    if choreography.cycles is not None:
        turns = times * num_cycles + phase
        forth = choreography.back_and_forth
        times = (1 - np.cos(2 * np.pi * turns)) / 2 if forth else turns % 1.0
    i = np.clip(np.searchsorted(at, times, side="right") - 1, 0, len(at) - 2)
    weight = np.clip((times - at[i]) / (at[i + 1] - at[i]), 0, 1)
    if not choreography.back_and_forth:  # the cosine has eased already
        weight = weight * weight * (3 - 2 * weight)
    angles = numbers[i] * (1 - weight)[:, None] + numbers[i + 1] * weight[:, None]  # (T, A)
    mean = numbers.mean(0)
    return mean + (angles - mean) * amplitude + jitter


def joints(
    choreography: Choreography,
    angles: Float[np.ndarray, "T A"],
    times: Float[np.ndarray, " T"],
    *,
    proportions: Mapping[str, float],
) -> Joints:
    """Where the joints are; `proportions` scales body parts of LENGTHS.

    The lower foot stands on the ground (or the hands hold the bar), then travel and rise are added.
    """
    at = skeleton(angles, front=choreography.facing == "front", proportions=proportions)
    if choreography.hangs:
        up = BAR_HEIGHT - np.maximum(at["near_hand"][:, 1], at["far_hand"][:, 1])
    else:
        up = angles[:, -1] - np.minimum(at["near_foot"][:, 1], at["far_foot"][:, 1])
    shift = np.stack([choreography.travel * (times - 0.5), up + choreography.rise * times], 1)
    return {part: points + shift for part, points in at.items()}


def skeleton(
    angles: Float[np.ndarray, "T A"], *, front: bool, proportions: Mapping[str, float]
) -> Joints:
    """Where the joints are from the hip, for angles of the first `NUM_ANGLES` columns."""
    length = {part: size * proportions.get(part, 1.0) for part, size in LENGTHS.items()}
    torso, head, *limbs = angles[:, :NUM_ANGLES].T
    hip = np.zeros((len(angles), 2))
    neck = hip + length["torso"] * _up(torso)
    at: Joints = {"hip": hip, "neck": neck, "head": neck + length["head"] * _up(head)}
    width = 1.0 if front else 0.0
    for i, (side, sign) in enumerate({"near": width, "far": -width}.items()):
        upper, lower = limbs[2 * i], limbs[2 * i + 1]
        shoulder = neck + np.array([sign * SHOULDER_OFFSET, 0.0])
        elbow = shoulder + length["upper_arm"] * _down(upper)
        hand = elbow + length["forearm"] * _down(lower)
        thigh, shin = limbs[4 + 2 * i], limbs[5 + 2 * i]
        groin = hip + np.array([sign * HIP_OFFSET, 0.0])
        knee = groin + length["thigh"] * _down(thigh)
        foot = knee + length["shin"] * _down(shin)
        toe = foot + length["toe"] * _down(shin + 80)
        parts = {"shoulder": shoulder, "elbow": elbow, "hand": hand}
        parts |= {"groin": groin, "knee": knee, "foot": foot, "toe": toe}
        at |= {f"{side}_{part}": points for part, points in parts.items()}
    return at


def _down(degrees: Float[np.ndarray, " T"]) -> Float[np.ndarray, "T 2"]:
    """Unit vectors of limb angles: 0 down, 90 forward."""
    return np.stack([np.sin(np.radians(degrees)), -np.cos(np.radians(degrees))], 1)


def _up(degrees: Float[np.ndarray, " T"]) -> Float[np.ndarray, "T 2"]:
    """Unit vectors of torso and head: 0 up, 90 forward."""
    return np.stack([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))], 1)
