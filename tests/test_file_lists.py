"""Files of one address pattern: each is a download of its own, some may be left out."""

import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest
import yaml
from conftest import ROOT
from download_server import CONTENT, Server
from typer.testing import CliRunner

from stclip.cli import app
from stclip.config import DatasetConfig, Download, load_dataset
from stclip.config.download_models import FileList
from stclip.config.file_lists import listed_files
from stclip.download.download import download
from stclip.download.first_download import check_recorded, is_as_published
from stclip.errors import ConfigError, DataError

FILMS = Path(__file__).parents[2] / "shared" / "data" / "ava" / "ava_file_names_trainval_v2.1.txt"
SOMEWHERE = FileList(names="films.txt", url="https://a.org/{name}", left_out_by="without")


def named(folder: Path, text: str = "a.mkv\n-b_.mp4\n") -> Path:
    (folder / "films.txt").write_text(text)
    return folder


def test_every_name_is_a_download(tmp_path: Path) -> None:
    found = listed_files([SOMEWHERE], named(tmp_path), {})
    assert {name: its.urls for name, its in found.items()} == {
        "a.mkv": ["https://a.org/a.mkv"], "-b_.mp4": ["https://a.org/-b_.mp4"],
    }  # fmt: skip
    assert not found["a.mkv"].checksum_given
    mirrors = SOMEWHERE.model_copy(
        update={"url": ["file:here/{name}", "https://b.org/{name}"], "checksums": "file:here/SUMS"}
    )
    one = listed_files([mirrors], tmp_path, {})["a.mkv"]
    assert one.urls == ["file:here/a.mkv", "https://b.org/a.mkv"]
    assert one.listing == "file:here/SUMS"


def test_what_a_param_leaves_out_is_not_downloaded(tmp_path: Path) -> None:
    assert [*listed_files([SOMEWHERE], named(tmp_path), {"without": ["a"]})] == ["-b_.mp4"]
    with pytest.raises(ConfigError, match=r"without: .*films\.txt does not list \['a\.mkv'\]"):
        listed_files([SOMEWHERE], tmp_path, {"without": ["a.mkv"]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found nothing"),
        ("a.mkv\n../b.mkv\n", r"found \['\.\./b\.mkv'\]"),
        ("a.mkv\na.mkv\n", r"\['a\.mkv'\] are given twice"),
    ],
)
def test_a_list_of_names_is_checked(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"films\.txt: .*{message}"):
        listed_files([SOMEWHERE], named(tmp_path, text), {})


def test_a_pattern_needs_a_place_and_names_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"films\.txt: no such file; it should list file names"):
        listed_files([SOMEWHERE], tmp_path, {})
    bare = SOMEWHERE.model_copy(update={"url": "https://a.org/films"})
    with pytest.raises(ConfigError, match=r"url 'https://a\.org/films' .* has no place \{name\}"):
        listed_files([bare], named(tmp_path), {})


def ava(folder: Path, **params: object) -> DatasetConfig:
    """AVA's settings with changed params."""
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copytree(ROOT / "splits", folder / "splits")
    path = folder / "config" / "datasets" / "ava.yaml"
    content = yaml.safe_load(path.read_text())
    content["params"] |= params
    path.write_text(yaml.safe_dump(content))
    return load_dataset(folder / "config", "ava", scale="paper")


def test_the_films_of_ava(tmp_path: Path) -> None:
    names = [*load_dataset(ROOT / "config", "ava", scale="paper").archives][1:]
    kinds = Counter(PurePosixPath(name).suffix for name in names)
    assert kinds == {".mkv": 205, ".mp4": 84, ".webm": 10}
    assert {len(PurePosixPath(name).stem) for name in names} == {11}
    if FILMS.is_file():
        assert names == FILMS.read_text().split()
    fewer = ava(tmp_path, without=["1j20qq1JyX4"])
    assert len(fewer.archives) == 1 + 298
    assert not [name for name in fewer.archives if name.startswith("1j20qq1JyX4")]


# --- no published checksum ----------------------------------------------------------------------


def test_the_first_download_without_a_checksum_is_recorded(server: Server, tmp_path: Path) -> None:
    source = Download(url=f"{server.url}/-a.mkv", checksums="unpublished")
    out, record = tmp_path / "-a.mkv", tmp_path / "-a.mkv.sha256"
    server.script = [{"drop_after": 100_000}]  # it goes on from there
    download(source, out, backoff_s=0.01)
    check_recorded(source, out, record)
    assert out.read_bytes() == CONTENT
    sha256 = record.read_text().split()[0]
    assert is_as_published(source, sha256, record)
    download(source, out)  # kept as it is
    assert len(server.requests) == 2
    out.unlink()
    server.content = b"another film"
    download(source, out)
    with pytest.raises(DataError, match=r"-a\.mkv: its sha256 is .* when it first came"):
        check_recorded(source, out, record)


def test_a_file_whose_name_begins_with_a_hyphen_is_downloaded(
    server: Server, tmp_path: Path
) -> None:
    ava(tmp_path)
    path = tmp_path / "config" / "datasets" / "ava.yaml"
    content = yaml.safe_load(path.read_text())
    content["forms"]["cvdf"]["lists"][0]["url"] = server.url + "/trainval/{name}"
    path.write_text(yaml.safe_dump(content))
    listed = (ROOT / "config" / "datasets" / "ava_films.txt").read_text().split()
    name = next(line for line in listed if line.startswith("-"))
    out, record = tmp_path / "raw" / name, tmp_path / "records" / f"{name}.sha256"
    done = CliRunner().invoke(
        app,
        [
            "download", "--dataset", "ava", "--scale", "paper", "--name", name, "--out", str(out),
            "--record", str(record), "--config", str(tmp_path / "config"),
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert out.read_bytes() == CONTENT
    assert record.is_file()
