"""The commit that stands in metrics is that of this code, or none."""

import subprocess
from pathlib import Path

import pytest

from stclip.runtime.provenance import PACKAGE, git_commit


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Somebody's repository with a commit."""
    git(tmp_path, "init", "-q")
    (tmp_path / "thesis.txt").write_text("theirs")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "-qm", "theirs")
    return tmp_path


def copy_into(folder: Path) -> Path:
    """The package, as far as it matters here."""
    package = folder / "stclip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    return package


def test_a_checkout_says_its_commit_and_whether_files_differ(repository: Path) -> None:
    package = copy_into(repository)
    git(repository, "add", "--all")
    git(repository, "commit", "-qm", "the package")
    commit = git(repository, "rev-parse", "HEAD")
    assert git_commit(package) == commit
    (package / "__init__.py").write_text("edited = True\n")
    assert git_commit(package) == f"{commit}-dirty"


@pytest.mark.parametrize("place", ["", "vendor/suite", ".venv/lib/python3.11/site-packages"])
def test_the_commit_of_another_repository_is_not_ours(repository: Path, place: str) -> None:
    assert git_commit(copy_into(repository / place)) == "unknown"


def test_a_copy_that_another_repository_tracks_is_a_copy(repository: Path) -> None:
    package = copy_into(repository / "vendor")
    git(repository, "add", "--all")
    git(repository, "commit", "-qm", "vendored")
    assert git_commit(package) == "unknown"


def test_outside_a_repository_it_is_unknown(tmp_path: Path) -> None:
    assert git_commit(copy_into(tmp_path)) == "unknown"


def test_a_hook_of_another_repository_does_not_lend_its_own(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = git_commit()
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert git_commit(PACKAGE) == before
