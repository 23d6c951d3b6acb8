"""The doctor on a machine: each finding provoked, on machines that are made up or made worse."""

import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_needs import CONFIG, by_status, dataset, made_needs

from stclip.config import load_method
from stclip.doctor import codecs, machine, software
from stclip.doctor.codecs import RATE, Codec, check_codecs
from stclip.doctor.machine import Gpu, Machine, check_machine, look
from stclip.doctor.needs import read_needs
from stclip.mini.ava.containers import Container, film_file
from stclip.mini.avi import Manner, as_avi

BIG = Machine(
    cores=16, memory_mb=64_000, free_mb=60_000, shared_mb=32_000, open_files=4096,
    gpus=(Gpu("Big", 80, bf16=True),), shown_gpus=1, cuda="12.8",
)  # fmt: skip
ASKS = {"train": {"threads": 8, "gpu": 1, "mem_mb": 32_000}, "score": {"gpu": 1}}
HALF = {
    "target": "stclip.detect.backends.torchvision:TorchvisionDetector",
    "params": {"builder": "stclip.mini.tiny_detector:build"},
    "precision": "bf16",
}


class NeedsALibrary:
    """A detector that imports what nobody has."""

    libraries = ("json", "no_such_library")

    @dataclass(frozen=True, kw_only=True)
    class Config:
        pass


@pytest.mark.parametrize(
    ("changes", "check", "status", "word"),
    [
        ({}, "gpu", "ok", "Big, 80 GB, bf16 in hardware"),
        ({"gpus": ()}, "gpu", "problem", "PyTorch cannot use any"),
        ({"gpus": (), "cuda": None}, "gpu", "problem", "without CUDA"),
        ({"gpus": (), "shown_gpus": 0}, "gpu", "problem", "no driver"),
        ({"gpus": (), "shown_gpus": 0, "hidden": True}, "gpu", "problem", "CUDA_VISIBLE_DEVICES"),
        ({"gpus": (Gpu("Old", 16, bf16=False),)}, "gpu", "note", "Old has no bf16"),
        ({}, "cores", "ok", "16"),
        ({"cores": 2}, "cores", "note", "up to 8"),
        ({}, "memory", "ok", "up to 32 GB"),
        ({"memory_mb": 23_000}, "memory", "problem", "23 GB"),
        ({"free_mb": 9_000}, "memory", "note", "9 GB free"),
        ({}, "shared memory", "ok", "32.0 GB"),
        ({"shared_mb": 64}, "shared memory", "problem", "0.1 GB"),
        ({"shared_mb": None}, "shared memory", "note", "no /dev/shm"),
        ({}, "open files", "ok", "4096"),
        ({"open_files": 256}, "open files", "note", "256"),
    ],
)
def test_a_machine_is_compared_with_what_jobs_ask_for(
    tmp_path: Path, changes: dict[str, Any], check: str, status: str, word: str
) -> None:
    needs = made_needs(tmp_path, resources=ASKS, detectors={"half": HALF}, used=("half",))
    findings = check_machine(replace(BIG, **changes), needs)
    found = next(finding for finding in findings if finding.check == check)
    assert (found.status, word in found.found) == (status, True), found


def test_what_a_small_scale_does_not_ask_for_is_no_problem(tmp_path: Path) -> None:
    little = Machine(cores=1, memory_mb=4000, free_mb=3000, shared_mb=64, open_files=1024)
    found = by_status(check_machine(little, made_needs(tmp_path)))
    assert not found["problem"]
    assert [finding.check for finding in found["note"]] == ["shared memory"]


def test_more_gpus_asked_for_than_there_are(tmp_path: Path) -> None:
    needs = made_needs(tmp_path, resources={"train": {"gpu": 8}})
    found = by_status(check_machine(BIG, needs))["problem"]
    assert [finding.check for finding in found] == ["gpu"]
    assert "too few" in found[0].found


def test_this_machine_is_seen_with_the_limits_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    free = look()
    assert free.cores >= 1
    assert 0 < free.free_mb <= free.memory_mb
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("500000000\n")
    bound = look()
    assert (bound.cores, bound.memory_mb) == (1, 500)
    assert bound.free_mb <= 500
    (tmp_path / "memory.max").write_text("max\n")
    assert look().memory_mb == free.memory_mb


def test_a_library_of_another_version_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert software._python().status == "ok"
    version = metadata.version
    old = {"numpy": "1.1"}
    monkeypatch.setattr(metadata, "version", lambda name: old.get(name) or version(name))
    found = software._python()
    assert found.status == "problem"
    assert "numpy is 1.1" in found.found


def test_no_compiler_matters_to_methods_that_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = made_needs(tmp_path)
    assert software._compiler(needs).status == "ok"
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert software._compiler(needs).status == "note"
    monkeypatch.setenv("CC", sys.executable)  # a program, but no compiler
    method = load_method(CONFIG, "clip_frame", dataset="jhmdb", scale="mini")
    compiled = method.train.model_copy(update={"compile": True})
    needs.methods["fast"] = [method.model_copy(update={"train": compiled})]
    found = software._compiler(needs)
    assert found.status == "problem"
    assert "C and C++" in found.found
    assert "fast" in found.found


def test_a_rar_without_a_program_to_unpack_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = made_needs(tmp_path)
    assert not list(software._unpacker(needs))  # no archive is one
    needs.datasets["films"] = dataset(archives={"films.rar": None})
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = software._unpacker(needs)
    assert found.status == "problem"
    assert "unar" in found.to_do


def test_a_library_that_only_a_detector_imports(tmp_path: Path) -> None:
    detectors = {"odd": {"target": "test_doctor_machine:NeedsALibrary"}}
    (found,) = software._detectors(made_needs(tmp_path, detectors=detectors))
    assert (found.status, "no_such_library" in found.found) == ("note", True)
    assert "json" not in found.found
    (found,) = software._detectors(made_needs(tmp_path, detectors=detectors, used=("odd",)))
    assert found.status == "problem"


def test_keys_of_w_and_b_are_told_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert software._tracking(offline=True).status == "ok"
    assert not software.has_key()
    monkeypatch.setenv("WANDB_MODE", "onlin")
    assert software._tracking(offline=True).status == "problem"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert software._tracking(offline=True).status == "problem"
    monkeypatch.setenv("WANDB_API_KEY", "secret" * 7)
    found = software._tracking(offline=True)
    assert found.status == "ok"
    assert "secret" not in found.found
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text("machine own.example login user password secret\n")
    assert not software.has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://own.example/")
    assert software.has_key()


def test_folders_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert software._folders(made_needs(tmp_path)).status == "ok"
    assert not list(tmp_path.iterdir())  # nothing is left there
    monkeypatch.setattr(tempfile, "tempdir", "/proc/self")  # not even root writes there
    found = software._folders(made_needs(tmp_path))
    assert (found.status, "/proc/self" in found.found) == ("problem", True)


def test_films_and_pictures_of_all_kinds_are_read() -> None:
    (found,) = check_codecs()
    assert found.status == "ok"
    for name in ("JPEG", "PNG", *(codec.name for codec in codecs.FILMS)):
        assert name in found.found


def turned(frames: np.ndarray) -> bytes:
    return as_avi(255 - frames, manner=Manner.PLAIN)


def short(frames: np.ndarray) -> bytes:
    return as_avi(frames[:-1], manner=Manner.PLAIN)


def unknown(codec: str) -> Any:
    return partial(film_file, container=Container(".mp4", "mp4", codec, {}), rate=RATE)


@pytest.mark.parametrize(
    ("codec", "status", "word"),
    [
        (Codec("other pixels", "mpeg4", turned), "problem", "other pixels"),
        (Codec("short", "mpeg4", short), "problem", "4 of 5 frames"),
        (Codec("noise", "mpeg4", lambda _: b"RIFF" + bytes(500)), "problem", "does not decode"),
        (Codec("unwritable", "h264", unknown("no_such_encoder")), "note", "not tried"),
        (Codec("unreadable", "no_such_decoder", unknown("none")), "problem", "no decoder"),
    ],
)
def test_a_film_that_is_not_read_right(
    monkeypatch: pytest.MonkeyPatch, codec: Codec, status: str, word: str
) -> None:
    monkeypatch.setattr(codecs, "FILMS", (codec,))
    found = by_status(check_codecs())
    assert [codec.name in finding.found for finding in found[status]] == [True]
    assert word in found[status][0].found
    assert len(found["ok"]) == 1  # the pictures


def test_a_picture_that_does_not_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "FILMS", ())
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    found = by_status(check_codecs())
    assert [finding.found.partition(":")[0] for finding in found["problem"]] == ["JPEG", "PNG"]
    assert not found["ok"]


def test_needs_are_those_of_the_chosen_data_sets_and_methods() -> None:
    few = read_needs(CONFIG, "paper", datasets=["jhmdb"], methods=["st_clip"])
    assert [*few.datasets] == ["jhmdb"]
    assert few.most("mem_mb", 0)[0] == 32_000
    assert few.threads == 8
    clip = "data/paper/models/ViT-B-16.pt"
    assert few.readers[clip] == ["st_clip"]
    assert "detectron2_r50_fpn_3x" not in few.detectors
    assert few.half_precision == []  # `auto` takes what the GPU has
    assert read_needs(CONFIG).name == "mini"
