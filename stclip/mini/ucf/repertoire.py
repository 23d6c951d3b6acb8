"""The 24 actions of UCF101-24 as data: loading and checking of choreographies and things.

Legend: K keys, A numbers of a pose. Lengths are in body heights, x forward, y up, the ground at 0.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stclip.config import Strict, read_yaml
from stclip.mini.choreography import (
    Colour,
    Key,
    Movement,
    Pose,
    Scene,
    check_range,
    checked,
    with_neutral,
)
from stclip.mini.render import SHIRTS

FOLDER = Path(__file__).parent
UCF_ACTIONS = (  # the official names in alphabetical order
    *("Basketball", "BasketballDunk", "Biking", "CliffDiving", "CricketBowling", "Diving"),
    *("Fencing", "FloorGymnastics", "GolfSwing", "HorseRiding", "IceDancing", "LongJump"),
    *("PoleVault", "RopeClimbing", "SalsaSpin", "SkateBoarding", "Skiing", "Skijet"),
    *("SoccerJuggling", "Surfing", "TennisSwing", "TrampolineJumping", "VolleyballSpiking"),
    "WalkingWithDog",
)
JOINTS = (
    *("hip", "neck", "head"),
    *(f"{side}_{part}" for side in ("near", "far") for part in ("elbow", "hand", "knee", "foot")),
)
EXTRAS = 3  # numbers of a pose between the angles and the lift: turn, yaw, x
Span = tuple[float, float]
Place = Span | str  # a point, or the name of a joint


class FilmKey(Key):
    """A pose at a time, turned as a whole and moved along the ground."""

    turn: float = 0  # degrees about the hip, forward: 90 lies on the front, 180 is upside down
    yaw: float = 0  # degrees about the vertical
    x: float = 0  # along the ground

    @property
    def numbers(self) -> list[float]:
        """All angles; turn, yaw and x; the lift."""
        *angles, lift = super().numbers
        return [*angles, self.turn, self.yaw, self.x, lift]


class Outfit(Strict):
    """Clothes of a role; what is None differs from film to film."""

    shirt: str | None = None
    trousers: Colour | None = None

    @field_validator("shirt")
    @classmethod
    def _shirt(cls, shirt: str | None) -> str | None:
        if shirt is not None and shirt not in SHIRTS:
            raise ValueError(f"unknown shirt {shirt!r}; known {sorted(SHIRTS)}")
        return shirt


class Role(Movement):
    """What one person of an action does."""

    keys: tuple[FilmKey, ...] = Field(min_length=2)
    place: float = 0  # x where the role begins
    mirrored: bool = False  # faces backward
    anchor: Literal["lowest", "feet", "hands", "hip"] = "lowest"
    height: float = 0  # of the anchor above the ground
    travel: float = 0
    rise: float = 0
    outfit: Outfit = Outfit()
    things: tuple[str, ...] = ()
    idle: Pose | None = None  # outside the action; without it the pose is held


class Window(Strict):
    """When an action takes place in a film."""

    chance: float = Field(ge=0, le=1)  # that the action does not fill the film
    share: Span  # of the frames that belong to the action
    twice: float = Field(default=0, ge=0, le=1)  # chance of a second time, after a gap

    @model_validator(mode="after")
    def _share(self) -> Self:
        check_range("share", self.share)
        if self.share[1] > 1:
            raise ValueError(f"share must be at most 1, it is {list(self.share)}")
        return self


class FilmAction(Strict):
    """One action as data: who takes part, where, when, with what."""

    phrases: tuple[str, ...] = Field(min_length=3)
    scene: str
    roles: tuple[Role, ...] = Field(min_length=1)
    set: tuple[str, ...] = ()  # things that belong to the place
    groups: tuple[float, ...] = (1,)  # chances that the roles are there once, twice, ...
    spacing: float = 1  # between groups
    window: Window = Window(chance=0.1, share=(0.7, 0.9))
    photo: Span = (0, 1)
    room: tuple[float, float, float, float] | None = None  # x, y, x, y that a film must show

    @model_validator(mode="after")
    def _times(self) -> Self:
        check_range("photo", self.photo)
        if abs(sum(self.groups) - 1) > 1e-6:
            raise ValueError(f"the chances in groups must sum to 1, they are {list(self.groups)}")
        for role in self.roles:
            first, last = role.keys[0], role.keys[-1]
            apart = (first.x, first.lift) != (last.x, last.lift) or role.travel or role.rise
            if self.window.twice and apart:
                raise ValueError("what happens twice must end where it began")
        return self


class Part(Strict):
    """A shape of a thing, in `points` of the thing's own frame or at joints."""

    draw: Literal["line", "area", "disc", "ring"]
    points: tuple[Place, ...] = Field(min_length=1)
    colour: str
    width: float = Field(default=0.5, gt=0)  # limbs
    radius: float = Field(default=0.1, gt=0)
    outline: bool = True
    swing: float = 0  # degrees to and fro about the first point, once a cycle
    phase: float = 0  # cycles

    @model_validator(mode="after")
    def _pivot(self) -> Self:
        if self.swing and isinstance(self.points[0], str):
            raise ValueError("a part swings about a point, its first one is a joint")
        return self

    @field_validator("points")
    @classmethod
    def _joints(cls, points: tuple[Place, ...]) -> tuple[Place, ...]:
        _known_joints([place for place in points if isinstance(place, str)])
        return points


def _known_joints(names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in JOINTS]:
        raise ValueError(f"unknown joints {unknown}; known {list(JOINTS)}")


class PathKey(Strict):
    """Where a thing that flies is at a time."""

    at: float = Field(ge=0, le=1)
    joint: str | None = None  # None: where the role begins
    xy: Span = (0, 0)  # from there
    arc: float = 0  # rises and falls by this on the way here

    @field_validator("joint")
    @classmethod
    def _joint(cls, joint: str | None) -> str | None:
        _known_joints([joint] if joint else [])
        return joint


class Thing(Strict):
    """A vehicle, an animal, an instrument, a piece of scenery."""

    kind: str | None = None  # what an object detector calls it; None is scenery
    frame: Literal["scene", "track", "near_hand", "far_hand", "head", "hip"] = "track"
    layer: Literal["behind", "held", "front", "hides"] = "behind"
    optional: bool = False
    path: tuple[PathKey, ...] = ()
    parts: tuple[Part, ...] = Field(min_length=1)

    @field_validator("path")
    @classmethod
    def _in_order(cls, path: tuple[PathKey, ...]) -> tuple[PathKey, ...]:
        times = [key.at for key in path]
        if path and (times[0] != 0 or times[-1] != 1 or times != sorted(set(times))):
            raise ValueError(f"times must rise from 0 to 1, they are {times}")
        return path


class FilmRepertoire(Strict):
    """All that is played: actions in official order, passers-by, scenes, things, colours."""

    colours: dict[str, Colour | tuple[Colour, ...]]  # of several a film has one
    scenes: dict[str, Scene]
    things: dict[str, Thing]
    bystander: Role
    actions: dict[str, FilmAction]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if tuple(self.actions) != UCF_ACTIONS:
            missing = [a for a in UCF_ACTIONS if a not in self.actions]
            unknown = [a for a in self.actions if a not in UCF_ACTIONS]
            raise ValueError(
                "actions must be the 24 official names in alphabetical order; "
                f"missing {missing}, unknown {unknown}"
            )
        for name, action in self.actions.items():
            _known(name, "scene", [action.scene], self.scenes)
            _known(name, "thing", action.set, self.things)
            for role in action.roles:
                _known(name, "thing", role.things, self.things)
        for name, thing in self.things.items():
            _known(name, "colour", [part.colour for part in thing.parts], self.colours)
        return self


def _known(where: str, what: str, names: Any, known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: unknown {what} {name!r}; known {sorted(known)}")


@cache
def load_film_repertoire(folder: Path = FOLDER) -> FilmRepertoire:
    """Read and check choreographies.yaml and things.yaml of a folder.

    Raises:
        ConfigError: a file is missing, damaged, incomplete or has an unknown key; says which.
    """
    plays, things = folder / "choreographies.yaml", folder / "things.yaml"
    return film_repertoire(read_yaml(plays) | read_yaml(things), plays)


def film_repertoire(content: dict[str, Any], path: Path) -> FilmRepertoire:
    """Check the content of the two files; what a key leaves out is filled in from `neutral`.

    Raises:
        ConfigError: it is incomplete or has an unknown key; says which, and names `path`.
    """
    neutral = content.pop("neutral", {})
    content["bystander"] = _role(content.get("bystander"), neutral)
    if isinstance(actions := content.get("actions"), Mapping):
        content["actions"] = {name: _action(a, neutral) for name, a in actions.items()}
    return checked(FilmRepertoire, content, path)


def _action(action: Any, neutral: Mapping[str, Any]) -> Any:
    """Complete the roles; what is not of the expected form stays for the validation to report."""
    if not isinstance(action, Mapping) or not isinstance(action.get("roles"), list):
        return action
    return {**action, "roles": [_role(role, neutral) for role in action["roles"]]}


def _role(role: Any, neutral: Mapping[str, Any]) -> Any:
    role = with_neutral(role, neutral)
    if isinstance(role, Mapping) and isinstance(role.get("idle"), Mapping):
        return {**role, "idle": {**neutral, **role["idle"]}}
    return role
