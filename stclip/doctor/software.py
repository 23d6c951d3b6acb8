"""What is installed: Python and libraries, a C compiler, programs and folders that jobs need."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib import metadata
from netrc import NetrcParseError, netrc
from pathlib import Path
from platform import python_version
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from stclip.config.target import resolve_target
from stclip.doctor.finding import Finding, Status, of_machine, some
from stclip.doctor.needs import Needs
from stclip.errors import ConfigError, DataError
from stclip.runtime.system_folders import cache_environment
from stclip.storage.archive_readers import find_unpacker
from stclip.storage.files import nearest_folder
from stclip.tracking.wandb_runs import close_wandb, tracking_mode, why_not_online

PACKAGE = __name__.partition(".")[0]
# Python's headers too: what torch.compile makes is a module of Python's.
PROGRAM = "#include <Python.h>\nint answer(void) { return 42; }\n"
COMPILE_S = 30
FOLDERS = ("data", "runs", "results", "logs", ".snakemake")  # that jobs write, in the project's


def check_software(needs: Needs, *, offline: bool) -> Iterator[Finding]:
    """Python, libraries, compiler, unpacker, the detectors' own libraries, W&B, folders."""
    yield _python()
    yield _compiler(needs)
    yield from _unpacker(needs)
    yield from _detectors(needs)
    yield _tracking(offline=offline)
    yield _folders(needs)


def _python() -> Finding:
    try:
        about = metadata.metadata(PACKAGE)
        required = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    except metadata.PackageNotFoundError:
        to_do = "make setup, or pip install --editable . in its folder"
        return of_machine("python", "problem", f"{PACKAGE} is not installed", to_do)
    wrong = [
        w
        for r in required
        if r.marker is None or r.marker.evaluate({"extra": ""})
        for w in _unmet(r)
    ]
    if python_version() not in SpecifierSet(about["Requires-Python"] or ""):
        wrong.insert(0, f"Python {python_version()}, needed {about['Requires-Python']}")
    if wrong:
        return of_machine("python", "problem", "; ".join(wrong), "make setup (requirements.lock)")
    shown = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "open_clip_torch"))
    return of_machine(
        "python", "ok", f"{python_version()}, {shown}, {len(required)} requirements met"
    )


def _unmet(required: Requirement) -> Iterator[str]:
    try:
        version = metadata.version(required.name)
    except metadata.PackageNotFoundError:
        yield f"{required.name} is not installed"
        return
    if not required.specifier.contains(version, prereleases=True):
        yield f"{required.name} is {version}, needed {required.specifier}"


def _compiler(needs: Needs) -> Finding:
    """Compile something small as torch.compile would; only the methods that ask for it need it."""
    missing = [
        what
        for what, variable, names, suffix in (
            ("C", "CC", ("cc", "gcc", "clang"), ".c"),
            ("C++", "CXX", ("c++", "g++", "clang++"), ".cpp"),
        )
        if not _compiles(os.environ.get(variable), names, suffix)
    ]
    if not missing:
        return of_machine("compiler", "ok", "C and C++ compile against Python's headers")
    status: Status = "problem" if needs.compiled else "note"
    who = some(needs.compiled) if needs.compiled else "methods with `compile: true`, here none"
    return of_machine(
        "compiler", status, f"no working {' and '.join(missing)} compiler; torch.compile: {who}",
        "install gcc and g++ with Python's headers (Debian, Ubuntu: apt install g++ "
        "python3-dev), or leave `compile` off",
    )  # fmt: skip


def _compiles(named: str | None, usual: tuple[str, ...], suffix: str) -> bool:
    program = named or next((name for name in usual if shutil.which(name)), None)
    if program is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"a{suffix}")
        source.write_text(PROGRAM)
        include = sysconfig.get_paths()["include"]
        command = [
            *shlex.split(program),
            "-shared",
            "-fPIC",
            f"-I{include}",
            str(source),
            "-o",
            f"{folder}/a.so",
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=COMPILE_S)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 and Path(f"{folder}/a.so").exists()


def _unpacker(needs: Needs) -> Iterator[Finding]:
    archives = [
        name for d in needs.datasets.values() for name in d.archives if name.endswith(".rar")
    ]
    if not archives:
        return
    try:
        find_unpacker(Path(archives[0]))
    except DataError as error:
        yield of_machine("unpacker", "problem", f"none for {some(archives)}", str(error))
    else:
        yield of_machine("unpacker", "ok", f"there is one for {some(archives)}")


def _detectors(needs: Needs) -> Iterator[Finding]:
    """Libraries that only some detectors import."""
    for name, detector in needs.scale.detectors.items():
        wanted = getattr(resolve_target(detector.target), "libraries", ())
        missing = [library for library in wanted if importlib.util.find_spec(library) is None]
        used = name in needs.detectors
        if missing:
            found = f"{some(missing)} is not installed: detector {name}"
            to_do = detector.by_hand or f"install {some(missing)}"
            if used:
                yield of_machine("detectors", "problem", found, to_do)
            else:
                found += ", which is not in use"
                yield of_machine("detectors", "note", found, "docs/detectors.md, to use it")
        elif wanted:
            yield of_machine("detectors", "ok", f"{name}: {some(list(wanted))} is installed")


def _tracking(*, offline: bool) -> Finding:
    try:
        mode = tracking_mode()
    except ConfigError as error:
        return of_machine("W&B", "problem", str(error), "correct or unset WANDB_MODE")
    if mode == "disabled":
        return of_machine("W&B", "ok", "disabled; runs keep log.jsonl and metrics.json")
    key = "a key is there" if has_key() else "no key"
    if mode == "offline":
        return of_machine("W&B", "ok", f"offline, {key}; `stclip sync` uploads later")
    reason = None
    if not offline:
        reason = why_not_online()
        close_wandb()
    elif not has_key():
        reason = "there is no API key"
    if reason is None:
        return of_machine("W&B", "ok", f"online, {key}" + ("; server not asked" if offline else ""))
    return of_machine(
        "W&B", "problem", f"online, but {reason}",
        "`wandb login`, or set WANDB_API_KEY; without WANDB_MODE=online runs stay in wandb/ until "
        "`stclip sync`",
    )  # fmt: skip


def has_key() -> bool:
    """Whether there is a key for W&B, in the environment or in a netrc file; it is never shown."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(os.environ.get("WANDB_BASE_URL") or "").hostname
    try:
        hosts = netrc(os.environ.get("NETRC")).hosts
    except (OSError, NetrcParseError):
        return False
    return any(host == server if server else "wandb" in host for host in hosts)


def _folders(needs: Needs) -> Finding:
    """Write to each folder that jobs write to, or the nearest above it that is there."""
    caches = {name: os.path.relpath(path) for name, path in cache_environment().items()}
    wanted = [Path(folder) for folder in (*FOLDERS, f"data/{needs.name}", tempfile.gettempdir())]
    wanted += [Path(folder) for folder in caches.values()]
    refused = sorted({str(folder) for folder in wanted if not _can_write(nearest_folder(folder))})
    if refused:
        to_do = "give yourself the right to write there, or set TMPDIR to a folder of yours"
        return of_machine(
            "folders", "problem", f"cannot be written to: {', '.join(refused)}", to_do
        )
    where = f" (caches in {' '.join(caches.values())})" if caches else ""
    found = f"those of project, caches and temporary files can be written to{where}"
    return of_machine("folders", "ok", found)


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError:
        return False
    return True
