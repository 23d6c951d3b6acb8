"""The actions of mini AVA as data: loading and checking of bodies, arms, activities, themes.

A person's pose comes from a body, which may lend its arms to something else: somebody sits and
drinks, stands and drinks. An activity says who does what at the same time, a theme which activities
a film may show.
"""

from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from stclip.config import Strict, read_yaml
from stclip.mini.choreography import Colour, Movement, Scene, check_range, checked, with_neutral
from stclip.mini.ucf.repertoire import FilmKey, Role, Span, Thing

FOLDER = Path(__file__).parent
MAX_OTHERS = 2  # labels of a person beside the pose
Names = tuple[str, ...]


class ActionList(Strict):
    """The official classes by type, in the order of their numbers."""

    PERSON_MOVEMENT: Names
    OBJECT_MANIPULATION: Names
    PERSON_INTERACTION: Names

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each class."""
        return {name: number for number, (name, _) in enumerate(self.classes, start=1)}

    @cached_property
    def classes(self) -> tuple[tuple[str, str], ...]:
        """Name and type of each class, in order."""
        by_type: dict[str, Names] = self.model_dump()
        return tuple((name, kind) for kind, names in by_type.items() for name in names)


class Body(Role):
    """How a body moves, and the pose that this is."""

    pose: str  # its class
    labels: Names = ()  # other classes that it shows
    cycles: Span  # a second
    speed: float = Field(default=0, ge=0)  # along the ground, body heights a second


class Arms(Movement):
    """What arms and head do while the body does something else."""

    labels: Names = ()
    keys: tuple[FilmKey, ...] = Field(min_length=2)
    cycles: Span  # a second
    things: Names = ()


class Player(Strict):
    """What one person of an activity does."""

    bodies: Names = Field(min_length=1)  # any of them
    arms: Names = ()  # any of them; none: the body's own
    labels: Names = ()  # beside those of body and arms


class Activity(Strict):
    """What one person does, or two do together, facing each other."""

    players: tuple[Player, ...] = Field(min_length=1, max_length=2)
    gap: float = Field(default=0.75, gt=0)  # between two, body heights
    seconds: tuple[int, int] = (3, 6)

    @model_validator(mode="after")
    def _seconds(self) -> Self:
        check_range("seconds", self.seconds)
        return self


class Theme(Strict):
    """A kind of film."""

    scenes: Names = Field(min_length=1)
    featured: Names = ()  # activities that each film shows, beside those of every film
    train: int = Field(ge=0)  # share of the training films
    val: int = Field(ge=0)  # share of the validation films


class AvaRepertoire(Strict):
    """All that is played."""

    action_list: ActionList
    colours: dict[str, Colour | tuple[Colour, ...]]  # of several a film has one
    scenes: dict[str, Scene]
    things: dict[str, Thing]
    bodies: dict[str, Body]
    arms: dict[str, Arms]
    activities: dict[str, Activity]
    everywhere: Names = Field(min_length=1)  # activities of every film
    themes: dict[str, Theme] = Field(min_length=1)
    phrases: dict[str, Names]  # of each class that is played, as captions put it

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, thing in self.things.items():
            _known(name, "colour", [part.colour for part in thing.parts], self.colours)
        for name, names in [
            *((name, body.things) for name, body in self.bodies.items()),
            *((name, arms.things) for name, arms in self.arms.items()),
        ]:
            _known(name, "thing", names, self.things)
        for name, activity in self.activities.items():
            for player in activity.players:
                _known(name, "body", player.bodies, self.bodies)
                _known(name, "arms", player.arms, self.arms)
        _known("everywhere", "activity", self.everywhere, self.activities)
        for name, theme in self.themes.items():
            _known(name, "scene", theme.scenes, self.scenes)
            _known(name, "activity", theme.featured, self.activities)
        return self

    @model_validator(mode="after")
    def _labels(self) -> Self:
        poses = self.action_list.PERSON_MOVEMENT
        for name, body in self.bodies.items():
            _known(name, "pose", [body.pose], poses)
        for name, activity in self.activities.items():
            for labels in (each for p in activity.players for each in self.all_labels(p)):
                others = labels[1:]
                _known(name, "class", others, self.action_list.numbers.keys() - {*poses})
                if len({*others}) != len(others) or len(others) > MAX_OTHERS:
                    raise ValueError(
                        f"{name}: beside a pose there are up to {MAX_OTHERS} classes, each once; "
                        f"it has {list(others)}"
                    )
        if self.phrases.keys() != {*self.played}:
            raise ValueError(
                f"phrases must be of the classes that are played, {sorted(self.played)}; "
                f"they are of {sorted(self.phrases)}"
            )
        return self

    def labels(self, body: str, arms: str | None, player: Player) -> Names:
        """The classes that a player shows with a body and arms, the pose first."""
        lent = () if arms is None else self.arms[arms].labels
        moved = self.bodies[body]
        return (moved.pose, *moved.labels, *lent, *player.labels)

    def all_labels(self, player: Player) -> list[Names]:
        """Of each body and arms that a player may have."""
        return [
            self.labels(body, arms, player)
            for body in player.bodies
            for arms in (player.arms or (None,))
        ]

    @cached_property
    def played(self) -> Names:
        """The classes that occur, in the order of their numbers."""
        occur = {
            label
            for activity in self.activities.values()
            for player in activity.players
            for labels in self.all_labels(player)
            for label in labels
        }
        return tuple(name for name, _ in self.action_list.classes if name in occur)


def _known(where: str, what: str, names: Iterable[str], known: Iterable[str]) -> None:
    if unknown := [name for name in names if name not in {*known}]:
        raise ValueError(f"{where}: unknown {what} {unknown}; known {sorted(known)}")


@cache
def load_ava_repertoire(folder: Path = FOLDER) -> AvaRepertoire:
    """Read and check the files of a folder: action_list, things, choreographies, themes.

    Raises:
        ConfigError: a file is missing, damaged, incomplete or has an unknown key; says which.
    """
    plays = folder / "choreographies.yaml"
    content = read_yaml(plays) | read_yaml(folder / "things.yaml")
    content |= read_yaml(folder / "themes.yaml")
    return ava_repertoire(content | {"action_list": read_yaml(folder / "action_list.yaml")}, plays)


def ava_repertoire(content: dict[str, Any], path: Path) -> AvaRepertoire:
    """Check the content of the files; what a key leaves out is filled in from `neutral`.

    Raises:
        ConfigError: it is incomplete or has an unknown key; says which, and names `path`.
    """
    neutral = content.pop("neutral", {})
    for kind in ("bodies", "arms"):
        if isinstance(moved := content.get(kind), Mapping):
            content[kind] = {name: with_neutral(m, neutral) for name, m in moved.items()}
    return checked(AvaRepertoire, content, path)
