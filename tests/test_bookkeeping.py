import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from stclip.errors import DataError
from stclip.runtime.snakemake_notes import FOLDER_TIME, restore, save

LONG = "data/mini/" + "x" * 230 + "/" + "y" * 100  # too long for one file name in base64
FILES = {"data/mini/a.parquet": "prepare", LONG: "prepare", "runs/mini/w": "train"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that rules made, with Snakemake's notes; and one folder."""
    monkeypatch.chdir(tmp_path)
    for number, (name, rule) in enumerate([*FILES.items(), ("data/mini/frames", "prepare")]):
        path = Path(name)
        if name.endswith("frames"):
            path.mkdir(parents=True)
            path = path / FOLDER_TIME
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, ns=(10**18 + number, 10**18 + number))
        encoded = urlsafe_b64encode(name.encode()).decode()
        parts = [encoded[i : i + 254] for i in range(0, len(encoded), 254)]
        note = Path(".snakemake/metadata", *(f"@{p}" for p in parts[:-1]), parts[-1])
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"rule": rule, "params": [name]}))
    return tmp_path


def notes(project: Path) -> dict[str, str]:
    folder = project / ".snakemake/metadata"
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): json.loads(path.read_text()) for path in files}


def test_notes_and_times_come_back(project: Path) -> None:
    before = notes(project)
    save(Path("kept.json"), rules=["prepare", "train"], scale="mini")
    (project / ".snakemake").rename(project / "elsewhere")
    for path in project.rglob("*"):
        os.utime(path)
    restore([Path("kept.json")])
    assert notes(project) == before
    for number, name in enumerate([*FILES, f"data/mini/frames/{FOLDER_TIME}"]):
        assert Path(name).stat().st_mtime_ns == 10**18 + number


def test_only_what_these_rules_made_at_this_scale_is_kept(project: Path) -> None:
    save(Path("kept.json"), rules=["train"], scale="mini")
    assert list(json.loads(Path("kept.json").read_text())) == ["runs/mini/w"]
    with pytest.raises(DataError, match=r"nothing about files of \['train'\], scale paper"):
        save(Path("kept.json"), rules=["train"], scale="paper")


def test_a_file_that_is_not_there_gets_no_note(project: Path) -> None:
    save(Path("kept.json"), rules=["train", "prepare"], scale="mini")
    (project / ".snakemake").rename(project / "elsewhere")
    Path("runs/mini/w").unlink()
    restore([Path("kept.json")])
    assert len(notes(project)) == len(FILES)
    assert not Path("runs/mini/w").exists()


def test_a_damaged_file_is_named(project: Path) -> None:
    Path("kept.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"kept\.json: not what `stclip bookkeeping` wrote"):
        restore([Path("kept.json")])
