"""The order of the package's rooms: what a room may use, and what the modules are called."""

import ast
from collections import defaultdict

from conftest import ROOT

FLOORS = [  # from the ground up; a room uses those below it, never one beside or above it
    {"errors", "progress"},
    {"config", "storage"},
    {"checkpoints", "download", "records"},
    {"boxes", "runtime", "splits"},
    {"inputs", "mini", "prepare"},
    {"evaluate", "methods"},
    {"baselines", "features", "tracking", "train"},
    {"detect", "score"},
    {"costs"},
    {"doctor", "tables"},
    {"report"},
    {"own_videos"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for top in ("stclip", "baselines")
    for path in (ROOT / top).rglob("*.py")
}


def room_of(module: str) -> str:
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] if top == "stclip" else top


def imports_of(module: str) -> set[str]:
    """The package's modules that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & MODULES.keys()) - {module, "stclip"}


IMPORTS = {module: imports_of(module) for module in MODULES}


def test_every_room_has_a_floor() -> None:
    assert {room_of(module) for module in MODULES} - {""} == set(FLOOR)


def test_a_room_uses_only_those_below_it() -> None:
    wrong = [
        f"{module} (floor {FLOOR[room_of(module)]}) uses {used} (floor {FLOOR[room_of(used)]})"
        for module, all_used in IMPORTS.items()
        for used in all_used
        if module != "stclip"
        and room_of(module) != room_of(used)
        and FLOOR[room_of(used)] >= FLOOR[room_of(module)]
    ]
    assert wrong == []


def test_no_modules_import_each_other() -> None:
    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for used in IMPORTS[module]:
                walk(used, (*way, module))
            done.add(module)

    done: set[str] = set()
    for module in MODULES:
        walk(module, ())


def test_a_name_of_a_module_stands_for_one_thing() -> None:
    """`prepare.jhmdb` and `mini.jhmdb` would be two; so would a room and a module in another."""
    places = defaultdict(set)
    for module, path in MODULES.items():
        if path.name != "__init__.py" and not module.startswith("stclip.cli."):
            places[path.stem].add(room_of(module))
    for room in FLOOR:
        places[room].add(room)
    assert {name: sorted(rooms) for name, rooms in places.items() if len(rooms) > 1} == {}


def test_a_module_is_one_idea() -> None:
    lengths = {m: len(path.read_text("utf-8").splitlines()) for m, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > 400} == {}


def test_the_root_holds_only_what_everybody_uses() -> None:
    files = sorted(path.stem for path in (ROOT / "stclip").glob("*.py"))
    assert files == ["__init__", "__main__", "errors", "progress", "records"]
