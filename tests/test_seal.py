"""No changed byte of a stored file goes unnoticed, wherever in the file it is."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import World
from safetensors.torch import load_file, save_file

from stclip.detect.backends.detector_weights import load_weights
from stclip.errors import DataError
from stclip.features.encode import write_frame_features
from stclip.inputs.stored_features import FrameFeatures
from stclip.methods.clip.backbone import load_backbone
from stclip.methods.clip.weights import read_clip_weights
from stclip.mini.reproducible import write_weights
from stclip.score.score import read_weights
from stclip.storage.files import digest, read_json, write_json
from stclip.storage.frame_store import clip_file, read_clip, write_clip
from stclip.storage.listings import check_listed, listing_line, parse_listing
from stclip.storage.parquet import read_parquet, write_parquet
from stclip.storage.resume_log import open_journal
from stclip.storage.seal import SEAL
from stclip.storage.tensors import sealed_tensors, write_tensors
from stclip.train.resume import read_checkpoint, write_checkpoint
from stclip.train.run_folder import run_hash, write_untrained

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3)}
SMALL = 8000  # bytes up to which every one is changed


def changed(content: bytes) -> Iterator[bytes]:
    """One bit of a byte is another: of every byte, of large files of head, end and 500 more."""
    rng = np.random.default_rng(0)
    places: Any = range(len(content))
    if len(content) > SMALL:
        ends = (*range(1000), *range(len(content) - 100, len(content)))
        places = [*ends, *rng.integers(len(content), size=500).tolist()]
    for place in places:
        byte = content[place] ^ (1 << int(rng.integers(8)))
        yield content[:place] + bytes([byte]) + content[place + 1 :]


def is_always_told(path: Path, read: Callable[[], object]) -> None:
    whole = path.read_bytes()
    read()
    for content in changed(whole):
        path.write_bytes(content)
        with pytest.raises(DataError, match=path.name):
            read()
    path.write_bytes(whole)


def is_told_or_moves_nothing(path: Path, read: Callable[[], Any]) -> None:
    """For files that may be somebody else's: where a seal's name is gone, there is no seal."""
    whole, expected, silent = path.read_bytes(), read(), 0
    for content in changed(whole):
        path.write_bytes(content)
        try:
            found = read()
        except DataError:
            continue
        assert found == expected
        silent += 1
    path.write_bytes(whole)
    assert silent < 100  # of the seal itself


def test_a_changed_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    table = pd.DataFrame(
        {"clip": ["a", "b"], "x": [0.5, 1.5], "actions": [["run"], ["run", "sit"]]}
    )
    write_parquet(table, path)
    is_always_told(path, lambda: read_parquet(path))
    pd.testing.assert_frame_equal(read_parquet(path), pd.read_parquet(path))  # it is plain parquet
    table.to_parquet(path)
    with pytest.raises(DataError, match=r"table\.parquet: damaged, or written by an older version"):
        read_parquet(path)


def test_changed_weights_of_a_run_are_told(world: World) -> None:
    config, path = world.method("clip_frame", iterations=0), world.folder / "weights.safetensors"
    run = run_hash(config, world.split, 0)
    write_untrained(config, split=world.split, seed=0, out=world.folder)
    assert load_file(path) == {}
    is_always_told(path, lambda: read_weights(path, run=run))
    write_tensors(path, TENSORS, run=run)
    assert all(torch.equal(load_file(path)[name], tensor) for name, tensor in TENSORS.items())
    is_always_told(path, lambda: read_weights(path, run=run))
    save_file(TENSORS, path, {"run": run})
    with pytest.raises(DataError, match=r"weights\.safetensors: damaged, or .* an older version"):
        read_weights(path, run=run)


def test_sealed_tensors_are_the_same_bytes_each_time() -> None:
    """The library alone puts metadata in an order that changes."""
    metadata = dict.fromkeys("abcdefgh", "x")
    assert len({sealed_tensors(TENSORS, **metadata) for _ in range(5)}) == 1


def test_a_changed_checkpoint_is_told(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"step": 3, "weights": TENSORS}, begun="r")
    is_always_told(path, lambda: read_checkpoint(path, begun="r"))
    found = torch.load(path)  # the seal behind its end disturbs nobody
    assert found["step"] == 3
    assert torch.equal(found["weights"]["a"], TENSORS["a"])


def test_changed_features_are_told(world: World) -> None:
    config, path = world.method("clip_frame", iterations=0), world.folder / "features.safetensors"
    torch.manual_seed(0)
    backbone = load_backbone(config.backbone)
    write_frame_features(backbone, config, world.clips, frames=world.frames, out=path)
    is_always_told(path, lambda: FrameFeatures(path, clips=world.clips, config=config))


def test_changed_frames_are_told(tmp_path: Path) -> None:
    """Blanks in the header, which say nothing, may change."""
    pictures = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), np.uint8)
    write_clip(tmp_path, "a", pictures)
    path = clip_file(tmp_path, "a")
    is_told_or_moves_nothing(path, lambda: read_clip(tmp_path, "a").tolist())
    content = bytearray(path.read_bytes())
    content[128 + 6 * 8 * 3 * 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy: damaged \(frame 2 is not what was stored\)"):
        read_clip(tmp_path, "a")


def test_changed_detector_weights_are_told(tmp_path: Path) -> None:
    path, model = tmp_path / "detector.safetensors", torch.nn.Linear(2, 3)
    write_weights(path, model.state_dict())

    def read() -> list[Any]:
        load_weights(model, path, what="test")
        return [t.tolist() for t in model.state_dict().values()]

    is_told_or_moves_nothing(path, read)
    save_file(model.state_dict(), path)  # other people's have no seal
    read()


def test_changed_json_is_told(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"mAP": 0.5, "name": "sit/stand", **SEAL})
    assert read_json(path) == {"mAP": 0.5, "name": "sit/stand"}
    is_told_or_moves_nothing(path, lambda: {**read_json(path), "seal": 0}["mAP"])
    path.write_text(path.read_text().replace("0.5", "0.9"))
    with pytest.raises(DataError, match=r"metrics\.json: damaged.*by hand, take the seal out"):
        read_json(path)
    path.write_text(json.dumps({"mAP": 0.9}))
    assert read_json(path) == {"mAP": 0.9}


def test_a_changed_journal_begins_anew(tmp_path: Path) -> None:
    """Or loses what was finished last."""
    path = tmp_path / "journal"
    done = {"a": [[0.5, 1.0]], "b": []}

    def left() -> dict[str, Any]:
        try:
            with open_journal(path, key="k") as journal:
                for name in done.keys() - journal.done.keys():
                    journal.add(name, done[name])
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            return journal.done

    left()
    for content in changed(path.read_bytes()):
        path.write_bytes(content)
        assert left() == done


def test_what_a_listing_beside_it_names_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "props.json"
    path.write_text("[1]")
    check_listed(path)  # no listing
    (tmp_path / "SHA256SUMS").write_text(f"{digest(path)}  props.json\n{'0' * 64}  other.json\n")
    check_listed(path)
    path.write_text("[2]")
    with pytest.raises(DataError, match=r"props\.json: damaged: its SHA-256 is .*SHA256SUMS says"):
        check_listed(path)
    (tmp_path / "new.json").write_text("")
    check_listed(tmp_path / "new.json")  # not listed


def test_changed_clip_weights_are_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    save_file(TENSORS, path)  # as shipped: no seal, but a listing beside it
    (tmp_path / "SHA256SUMS").write_text(f"{digest(path)}  {path.name}\n")
    is_always_told(path, lambda: read_clip_weights(path))


def test_a_listing_is_what_sha256sum_and_md5sum_write(tmp_path: Path) -> None:
    path = tmp_path / "a b.bin"
    path.write_bytes(b"x")
    line = listing_line(digest(path), path.name)
    command = ["sha256sum", "--binary", path.name], ["md5sum", path.name]
    theirs = [subprocess.check_output(c, cwd=tmp_path, text=True) for c in command]
    assert theirs[0].replace(" *", "  ") == line
    assert parse_listing(theirs[0]) == parse_listing("# a comment\n" + line)
    assert len(parse_listing(theirs[1])["a b.bin"]) == 32
