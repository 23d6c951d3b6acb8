"""Archives and models of the scale: verified, unchecked, to be downloaded, or to be put by hand."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

from stclip.doctor.addresses import Answer, ask
from stclip.doctor.files_there import MODELS, State, Wanted
from stclip.doctor.finding import FEW, Finding, some
from stclip.doctor.needs import Needs

STATES: tuple[State, ...] = ("wrong", "unread", "unknown", "verified")  # of what is there
ALIKE = 8  # of more files of the same servers only the first is asked for


def check_downloads(
    files: Sequence[Wanted], answers: Mapping[str, Answer] | None, needs: Needs
) -> Iterator[Finding]:
    """What is there and what is not, files of the same fate in one line.

    Args:
        files: those of `wanted_files`, looked at.
        answers: of `asked`, by address; None: nobody was asked.
        needs: whose files they are.
    """
    idle = [wanted for wanted in files if wanted.is_idle and wanted.state == "absent"]
    for owner, of_owner in groupby(files, key=lambda wanted: wanted.owner):
        mine = [wanted for wanted in of_owner if wanted not in idle]
        for state in STATES:
            named = [wanted for wanted in mine if wanted.state == state]
            if named:
                yield _there(owner, state, named)
        yield from _absent([w for w in mine if w.state == "absent"], answers, needs)
    if idle:
        found = f"not there, and read by no chosen method or detector: {_names(idle)}"
        yield Finding("downloads", MODELS, "ok", found)
    yield from _copies(needs)
    yield from _by_hand(needs)


def asked(files: Sequence[Wanted]) -> dict[str, Answer]:
    """The servers' answers on what is to be downloaded."""
    absent = [w for w in files if w.state == "absent" and w.web and not w.local and not w.is_idle]
    return ask(url for alike in _by_servers(absent) for w in _to_ask(alike) for url in w.web)


def _to_ask(files: Sequence[Wanted]) -> Sequence[Wanted]:
    return files if len(files) <= ALIKE else files[:1]


def _by_servers(files: Sequence[Wanted]) -> list[list[Wanted]]:
    """Files of one owner with the same servers."""
    found: dict[tuple[str, ...], list[Wanted]] = {}
    for wanted in files:
        found.setdefault((wanted.owner, *map(_host, wanted.web)), []).append(wanted)
    return list(found.values())


def _there(owner: str, state: State, files: Sequence[Wanted]) -> Finding:
    names = _names(files)
    if state == "verified":
        return Finding("downloads", owner, "ok", f"there, checksum right: {names}")
    if state == "unread":
        return Finding(
            "downloads", owner, "note", f"there, not checked, as each has more than 2 GiB: {names}",
            "`stclip doctor --verify` reads them whole",
        )  # fmt: skip
    if state == "unknown":
        return Finding(
            "downloads", owner, "note", f"there, but no checksum is known: {names}",
            "compare with another copy, if you can; what is replaced later is noticed",
        )  # fmt: skip
    what = "; ".join(f"{w.path} (expected {':'.join(w.checksum or ())[:19]}...)" for w in files)
    return Finding(
        "downloads", owner, "problem", f"checksum wrong: {what}",
        "delete it, and it is fetched anew; by hand: get it again from " + files[0].pages,
    )  # fmt: skip


def _absent(
    files: Sequence[Wanted], answers: Mapping[str, Answer] | None, needs: Needs
) -> Iterator[Finding]:
    for wanted in files:
        if wanted.by_hand:
            whose = f" (read by {some(wanted.readers)})" if wanted.readers else ""
            found = f"not there, and no script can fetch it: {wanted.name}{whose}"
            to_do = f"get it from {wanted.pages} and save it as {wanted.path}"
            yield Finding("downloads", wanted.owner, "problem", found, to_do)
    yield from _to_copy([w for w in files if w.local], needs)
    for alike in _by_servers([w for w in files if w.web and not w.local]):
        yield from _to_fetch(alike, answers)


def _to_copy(files: Sequence[Wanted], needs: Needs) -> Iterator[Finding]:
    """What is copied from a file of this machine, which a rule may draw first."""
    drawn = [w for w in files if _is_drawn(w, needs)]
    there = [w for w in files if w not in drawn and any(map(Path.is_file, w.local))]
    gone = [w for w in files if w not in drawn and w not in there]
    if drawn:
        yield Finding("downloads", drawn[0].owner, "ok", f"drawn by a rule: {_names(drawn)}")
    if there:
        yield Finding("downloads", there[0].owner, "ok", f"to be copied: {_names(there)}")
    for wanted in gone:
        places = " or ".join(map(str, wanted.local))
        yield Finding(
            "downloads", wanted.owner, "problem", f"{wanted.name}: no such file: {places}",
            "put it there, or correct its url",
        )  # fmt: skip


def _is_drawn(wanted: Wanted, needs: Needs) -> bool:
    """Whether a rule writes what it is copied from."""
    miniature = needs.scale.miniature
    if wanted.owner == MODELS:
        return wanted.name in miniature.weights
    return wanted.owner in miniature.render


def _to_fetch(files: Sequence[Wanted], answers: Mapping[str, Answer] | None) -> Iterator[Finding]:
    """A line for those that a server has, and one for each of those that none has."""
    owner, hosts = files[0].owner, some(list(dict.fromkeys(map(_host, files[0].web))))
    if answers is None:
        found = f"to be downloaded from {hosts}, which was not asked: {_names(files)}"
        to_do = "call it without --offline where there is a network"
        yield Finding("downloads", owner, "note", found, to_do)
        return
    fates: dict[tuple[bool, str], list[Wanted]] = {}
    for wanted in files:
        probe = wanted if len(files) <= ALIKE else files[0]
        said = {url: answers[url] for url in probe.web}
        deaf = dict.fromkeys(f"{_host(u)} {a.said}" for u, a in said.items() if not a.has_it)
        has_it = any(answer.has_it for answer in said.values())
        fates.setdefault((has_it, "; ".join(deaf)), []).append(wanted)
    for (has_it, no), alike in fates.items():
        if has_it:
            found = f"to be downloaded from {hosts}: {_names(alike)}{'; but ' * bool(no)}{no}"
            yield Finding("downloads", owner, "ok", found)
            continue
        yield Finding(
            "downloads", owner, "problem", f"{no}: {_names(alike)}",
            "check network and proxy (HTTPS_PROXY), or fetch the files by other means and put them "
            f"into data/.../raw or {MODELS}: a right checksum is accepted (docs/data.md)",
        )  # fmt: skip


def _copies(needs: Needs) -> Iterator[Finding]:
    """Unpacked copies, in place of archives."""
    for dataset, settings in needs.datasets.items():
        if settings.extracted is None:
            continue
        found = f"unpacked copy {settings.extracted}"
        if Path(settings.extracted).is_dir():
            yield Finding("downloads", dataset, "ok", found)
        else:
            to_do = "correct `extracted` of the data set, or null: then its archives are fetched"
            yield Finding("downloads", dataset, "problem", f"{found}: no such folder", to_do)


def _by_hand(needs: Needs) -> Iterator[Finding]:
    """Detectors that a person has to do something for."""
    idle = []
    for name, detector in needs.scale.detectors.items():
        absent = [path for path in detector.paths if not Path(path).exists()]
        if detector.by_hand is None or not absent:
            continue
        if name not in needs.detectors:
            idle.append(name)
            continue
        found = f"not there: {some(absent)} (detector {name})"
        yield Finding("downloads", "detectors", "problem", found, detector.by_hand)
    if idle:
        found = f"not in use, and something to do by hand first: {some(idle)} (docs/detectors.md)"
        yield Finding("downloads", "detectors", "ok", found)


def _names(files: Sequence[Wanted]) -> str:
    count = f"{len(files)} files, " if len(files) > FEW else ""
    return count + some([wanted.name for wanted in files])


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
