"""The doctor on downloads and disk: files there, wrong, absent; servers that answer and do not."""

import shutil
import socket
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from download_server import CONTENT, MD5, SHA256, Server
from made_needs import CONFIG, by_status, dataset, made_needs

from stclip.config import Download
from stclip.doctor import disk, files_there
from stclip.doctor.addresses import Answer, ask
from stclip.doctor.disk import check_disk
from stclip.doctor.doctor import Examination
from stclip.doctor.downloads import asked, check_downloads
from stclip.doctor.files_there import Wanted, wanted_files
from stclip.doctor.finding import Finding
from stclip.doctor.needs import Needs, read_needs

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project's folder, in which the doctor is called."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: str, content: bytes = CONTENT) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def archives(folder: Path, **sources: dict[str, Any]) -> Needs:
    """A scale with one data set of these archives; `_` stands for the point."""
    needs = made_needs(folder)
    made = {n.replace("_", "."): Download.model_validate(s) for n, s in sources.items()}
    needs.datasets["films"] = dataset(archives=made)
    return needs


def looked_at(needs: Needs, *, read_all: bool = False) -> list[Wanted]:
    return [wanted.looked_at(read_all=read_all) for wanted in wanted_files(needs)]


def findings(
    needs: Needs, answers: dict[str, Answer] | None = None, *, read_all: bool = False
) -> dict[str, list[Finding]]:
    return by_status(check_downloads(looked_at(needs, read_all=read_all), answers, needs))


WEB = "http://nobody.example/a.zip"


@pytest.mark.parametrize(
    "checksum",
    [{"md5": MD5}, {"sha256": SHA256}, {"sha256_prefix": SHA256[:8]}, {"checksums": "file:sums"}],
)
def test_a_file_that_is_there_is_compared_with_its_checksum(
    folder: Path, checksum: dict[str, str]
) -> None:
    put("sums", f"{SHA256}  a.zip\n".encode())
    needs = archives(folder, a_zip={"url": WEB, **checksum})
    put("data/made/films/raw/a.zip")
    found = findings(needs)
    assert [f.found for f in found["ok"]] == ["there, checksum right: a.zip"]
    put("data/made/films/raw/a.zip", CONTENT[:-1] + b"x")
    found = findings(needs)
    assert not found["ok"]
    assert "data/made/films/raw/a.zip" in found["problem"][0].found


def test_where_no_checksum_is_published_that_of_the_first_download_counts(folder: Path) -> None:
    needs = archives(folder, a_zip={"url": WEB, "checksums": "unpublished"})
    put("data/made/films/raw/a.zip")
    (found,) = findings(needs)["note"]
    assert "no checksum is known" in found.found
    put("config/checksums/made/films/a.zip.sha256", f"{SHA256}  a.zip\n".encode())
    assert len(findings(needs)["ok"]) == 1
    put("data/made/films/raw/a.zip", b"another")
    assert len(findings(needs)["problem"]) == 1


def test_a_large_file_is_read_only_when_asked_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_there, "LARGE", len(CONTENT) - 1)
    needs = archives(folder, a_zip={"url": WEB, "sha256": SHA256})
    put("data/made/films/raw/a.zip")
    (found,) = findings(needs)["note"]
    assert "--verify" in found.to_do
    assert len(findings(needs, read_all=True)["ok"]) == 1


def test_what_a_person_has_to_fetch_is_named_with_page_and_place(folder: Path) -> None:
    page = "https://nobody.example/page"
    clip = {"model": "m", "weights": "data/made/models/a.pt"}
    needs = made_needs(
        folder, backbones={"own": clip},
        models={"a.pt": {"url": f"manual:{page}"}, "b.pt": {"url": f"manual:{page}/b"}},
    )  # fmt: skip
    found = findings(needs)
    (problem,) = found["problem"]
    assert "of own" in problem.found  # who reads it
    assert page in problem.to_do
    assert "data/made/models/a.pt" in problem.to_do
    (idle,) = found["ok"]  # nobody reads it
    assert "b.pt" in idle.found


def test_what_is_copied_from_this_machine(folder: Path) -> None:
    source = {"url": "file:source/a.zip", "sha256": SHA256}
    needs = archives(folder, a_zip=source)
    (problem,) = findings(needs)["problem"]
    assert "source/a.zip" in problem.found
    put("source/a.zip")
    assert len(findings(needs)["ok"]) == 1
    shutil.rmtree("source")
    drawn = {"target": "a:b", "files": ["a.zip"]}
    made = made_needs(folder, miniature={"render": {"films": drawn}})
    made.datasets["films"] = needs.datasets["films"]
    (found,) = findings(made)["ok"]
    assert "drawn by a rule" in found.found


def test_weights_that_a_rule_writes_are_no_problem_in_an_empty_folder(folder: Path) -> None:
    found = findings(read_needs(CONFIG, "rehearsal", datasets=["jhmdb"]))
    assert not found["problem"]
    (models,) = [f.found for f in found["ok"] if "drawn by a rule" in f.found and ".pt" in f.found]
    assert "ViT-B-16.pt" in models


def test_an_unpacked_copy_is_there_or_not(folder: Path) -> None:
    needs = made_needs(folder)
    needs.datasets["films"] = dataset(archives={}, extracted=str(folder / "copy"))
    assert len(findings(needs)["problem"]) == 1
    (folder / "copy").mkdir()
    assert len(findings(needs)["ok"]) == 1


def test_a_detector_that_needs_something_by_hand(folder: Path) -> None:
    detector = {
        "target": "stclip.detect.backends.file:FileDetector", "by_hand": "save it",
        "files": {"detections": "by_hand/boxes.json"},
    }  # fmt: skip
    (idle,) = findings(made_needs(folder, detectors={"own": detector}))["ok"]
    assert "own" in idle.found
    needs = made_needs(folder, detectors={"own": detector}, used=("own",))
    (problem,) = findings(needs)["problem"]
    assert (problem.to_do, "by_hand/boxes.json" in problem.found) == ("save it", True)
    put("by_hand/boxes.json")
    assert not findings(needs)["problem"]


def closed_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/a.zip"


def test_servers_are_asked_whether_they_have_a_file(folder: Path, server: Server) -> None:
    sum_ = {"sha256": SHA256}
    needs = archives(folder, a_zip={"url": f"{server.url}/a.zip", **sum_})
    answers = asked(looked_at(needs))
    assert answers[f"{server.url}/a.zip"].size == len(CONTENT)
    assert len(findings(needs, answers)["ok"]) == 1
    server.script = [{}, {"status": 404}]
    (problem,) = findings(needs, asked(looked_at(needs)))["problem"]
    assert "404" in problem.found
    dead = closed_port()
    needs = archives(folder, a_zip={"url": dead, **sum_})
    (problem,) = findings(needs, asked(looked_at(needs)))["problem"]
    assert "cannot be reached" in problem.found
    needs = archives(folder, a_zip={"url": [dead, f"{server.url}/a.zip"], **sum_})
    (found,) = findings(needs, asked(looked_at(needs)))["ok"]
    assert "but 127.0.0.1 cannot be reached" in found.found
    (found,) = findings(needs, None)["note"]  # nobody was asked
    assert "--offline" in found.to_do


def test_a_server_that_never_answers_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        answer = ask([url], all_s=0.2)[url]
    assert not answer.has_it
    assert "does not answer" in answer.said


def test_of_many_files_of_a_server_one_is_asked_for(folder: Path, server: Server) -> None:
    sources = {f"f{n}_zip": {"url": f"{server.url}/f{n}.zip", "sha256": SHA256} for n in range(30)}
    needs = archives(folder, **sources)
    answers = asked(looked_at(needs))
    assert len(server.requests) == 1
    (found,) = findings(needs, answers)["ok"]
    assert "30 files" in found.found


def free_disk(monkeypatch: pytest.MonkeyPatch, gb: float) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(0, 0, gb * 1e9))


def test_disk_is_compared_with_what_is_to_come(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = read_needs(CONFIG, "paper", datasets=["ucf101_24"], methods=["clip_frame"])
    files = looked_at(needs)
    # Frames: 555,157 of 23,800 bytes are 13.2 GB; the archive is noted with 7.0 GB.
    free_disk(monkeypatch, 20)
    found = check_disk(needs, files, None)
    assert found.status == "problem"
    assert "20.2 GB are to come" in found.found
    free_disk(monkeypatch, 25)
    assert check_disk(needs, files, None).status == "note"  # of the weights nobody knows the size
    answers = {url: Answer(True, "answers", 10**9) for wanted in files for url in wanted.web}
    found = check_disk(needs, files, answers)  # 3 files of the data set, 3 models that are read
    assert found.status == "ok"
    assert "archives 3.0" in found.found
    put("data/paper/ucf101_24/clips.parquet")  # its frames are there
    free_disk(monkeypatch, 8)
    found = check_disk(needs, files, answers)
    assert (found.status, "frames" in found.found) == ("ok", False)


def test_what_nobody_has_counted_is_said_to_be_unknown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = read_needs(CONFIG, "mini", datasets=["jhmdb"])
    free_disk(monkeypatch, 50)
    found = check_disk(needs, looked_at(needs), None)
    assert (found.status, "frames of unknown size" in found.found) == ("ok", True)
    free_disk(monkeypatch, 5)
    assert check_disk(needs, looked_at(needs), None).status == "note"


def test_a_scale_laid_over_another_is_examined_like_any(folder: Path) -> None:
    config = folder / "config"
    shutil.copytree(CONFIG, config)
    shutil.copytree(CONFIG.parent / "splits", folder / "splits")
    path = config / "scales" / "rehearsed.yaml"
    path.write_text("base: paper\ntitle: rehearsed\nmodels: {ViT-B-16.pt: {sha256: null}}\n")
    examination = Examination(
        config=config, scale="rehearsed", datasets=["jhmdb"], offline=True, parts=["downloads"]
    )
    (broken,) = examination.run()  # a download without a checksum
    assert (broken.check, broken.status) == ("settings", "problem")
    path.write_text("base: paper\ntitle: rehearsed\n")
    found = Examination(
        config=config, scale="rehearsed", datasets=["jhmdb"], offline=True, parts=["downloads"]
    ).run()
    assert any("Rename_Images.tar.gz" in finding.found for finding in found)
