"""The doctor on CLIP weights: what they compute is compared with what was recorded."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from made_needs import CONFIG, made_needs
from safetensors.torch import load_file, save_file

from stclip.config import BackboneConfig
from stclip.doctor import known_cosines
from stclip.doctor.files_there import Wanted
from stclip.doctor.finding import Finding
from stclip.doctor.known_cosines import TOLERANCE, Known, check_weights, drawn, read_known
from stclip.doctor.needs import Needs
from stclip.errors import DataError

TINY = ROOT / "stclip" / "mini" / "tiny_clip"
MODEL, WEIGHTS = TINY / "tiny-clip.json", TINY / "weights.safetensors"
RECORDED = CONFIG / "checksums" / "mini" / "weights" / "tiny.json"
KNOWN = Known("a model", [0.3, 0.2, 0.1, 0.0], 100.0)


def of_clip(folder: Path, model: Path = MODEL, weights: Path | str | None = WEIGHTS) -> Needs:
    clip = {"model": str(model), "weights": None if weights is None else str(weights)}
    return made_needs(folder, backbones={"own": clip})


def check(needs: Needs, files: Sequence[Wanted] = (), *, record: bool = False) -> Finding:
    (found,) = check_weights(needs, files, record=record)
    return found


def test_what_nobody_recorded_is_said_and_recorded_once(tmp_path: Path) -> None:
    needs = of_clip(tmp_path)
    found = check(needs)
    assert (found.status, "nobody has recorded" in found.found) == ("note", True)
    assert "--scale made" in found.to_do
    assert check(needs, record=True).status == "ok"
    path = tmp_path / "config/checksums/made/weights/own.json"
    known = read_known(path)
    shipped = read_known(RECORDED)
    assert np.abs(np.subtract(known.cosines, shipped.cosines)).max() < 1e-6
    changed = replace(known, cosines=[known.cosines[0] + 2 * TOLERANCE, *known.cosines[1:]])
    known_cosines.write_known(path, changed)
    assert check(needs, record=True).status == "problem"
    assert read_known(path) == changed  # a record is not replaced


def test_other_weights_and_another_activation_are_caught(tmp_path: Path) -> None:
    shipped = read_known(RECORDED)
    content = json.loads(MODEL.read_text())
    model = tmp_path / MODEL.name
    model.write_text(json.dumps(content | {"quick_gelu": False}))
    gelu = known_cosines.compute(BackboneConfig(model=str(model), weights=str(WEIGHTS)))
    assert "computes" in replace(gelu, model=shipped.model).differs(shipped)
    state = load_file(WEIGHTS)
    name = "visual.transformer.resblocks.0.mlp.c_fc.weight"
    state[name] = state[name] * 1.01  # one layer, by a hundredth
    other = tmp_path / "other.safetensors"
    save_file(state, other)
    record = tmp_path / "config/checksums/made/weights/own.json"
    known_cosines.write_known(record, replace(shipped, model=str(MODEL)))
    found = check(of_clip(tmp_path, weights=other))
    assert found.status == "problem"
    assert str(other) in found.found
    assert str(record) in found.found
    # An archive of OpenAI's tells itself by its sizes: it is refused before anything is computed.
    save_file(state | {"context_length": torch.tensor(16)}, other)
    found = check(of_clip(tmp_path, model=model, weights=other))
    assert (found.status, "QuickGELU" in found.found) == ("problem", True)


def test_one_of_another_model_or_factor_differs() -> None:
    assert not replace(KNOWN, cosines=[0.3 + TOLERANCE / 2, *KNOWN.cosines[1:]]).differs(KNOWN)
    assert replace(KNOWN, logit_scale=14.0).differs(KNOWN)
    assert replace(KNOWN, model="another").differs(KNOWN)


def test_weights_that_are_not_there_or_not_right(tmp_path: Path) -> None:
    absent = "data/made/models/a.pt"
    assert check(of_clip(tmp_path, weights=absent)).status == "problem"  # nothing makes it
    needs = made_needs(
        tmp_path, backbones={"own": {"model": str(MODEL), "weights": absent}},
        models={"a.pt": {"url": "https://nobody.example/a.pt", "sha256": "0" * 64}},
    )  # fmt: skip
    source = needs.scale.models["a.pt"]
    wanted = Wanted("models", "a.pt", source, Path(absent), tmp_path / "none", ("own",))
    found = check(needs, [wanted])
    assert (found.status, absent in found.to_do) == ("note", True)
    assert "nobody has recorded" in found.found
    needs = of_clip(tmp_path)
    wrong = replace(wanted, path=WEIGHTS, state="wrong")  # its checksum, whatever it computes
    found = check(needs, [wrong], record=True)
    assert found.status == "problem"
    assert not (tmp_path / "config").exists()  # and nothing is recorded
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(WEIGHTS.read_bytes()[:-100])
    assert check(of_clip(tmp_path, weights=damaged)).status == "problem"
    assert check(of_clip(tmp_path, weights=None)).status == "ok"  # random by intention


def test_backbones_that_nobody_reads_are_left_alone(tmp_path: Path) -> None:
    needs = of_clip(tmp_path, weights="nowhere/a.pt")
    needs.methods.clear()
    assert check(needs).status == "ok"


def test_a_record_of_the_base_counts_for_a_scale_laid_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_cosines, "compute", lambda _: replace(KNOWN, logit_scale=1.0))
    scales = tmp_path / "config" / "scales"
    scales.mkdir(parents=True)
    (scales / "below.yaml").write_text("title: below\npublished: false\nbackbones: {}\n")
    needs = of_clip(tmp_path)
    above = replace(needs, scale=needs.scale.model_copy(update={"base": "below"}))
    path = tmp_path / "config/checksums/below/weights/own.json"
    known_cosines.write_known(path, KNOWN)
    assert check(above).status == "problem"
    assert check(needs).status == "note"  # without the base there is none


@pytest.mark.parametrize(
    "changes",
    [{"texts": ["a", "b", "c", "d"]}, {"cosines": [0.1]}, {"cosines": None}, {"logit_scale": "x"}],
)
def test_a_damaged_record_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(json.loads(RECORDED.read_text()) | changes))
    with pytest.raises(DataError, match=r"own\.json"):
        read_known(path)


def test_the_picture_has_what_the_first_text_says() -> None:
    picture = drawn(224, 224).astype(int)
    assert picture.shape == (224, 224, 3)
    assert np.array_equal(picture[0, 0], [245, 245, 245])
    red, green, _ = picture[112, 112]
    assert red > 4 * green
    assert picture[200, 10, 1] > picture[200, 10, 0] + 100
