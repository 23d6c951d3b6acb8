"""Names in YAML files: unknown, given twice, or of a form that no path or command can take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, World

from stclip.config import (
    PROTOCOLS,
    check_form,
    load_dataset,
    load_method,
    load_scale,
    merge,
    pick,
    read_yaml,
)
from stclip.errors import ConfigError, DataError
from stclip.evaluate.outside_truth import read_truth
from stclip.evaluate.protocol import PROTOCOLS as OF_FRAMES
from stclip.evaluate.video_map import VIDEO_PROTOCOLS
from stclip.prepare.gttubes import parse_tubes
from stclip.records import LabelSplit
from stclip.storage.outside_files import read_json_file

SPLIT = LabelSplit("toy", "own", "1", base=("a",), unseen=("b",), rule="test")


def overlay(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), changes)))


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown fruit 'aple'; known are \['apple', 'pear'\]; "):
        pick({"pear": 1, "apple": 2}, "aple", what="fruit")
    with pytest.raises(ConfigError, match=r"the nearest is 'ViT-B-16'"):  # capitals do not matter
        pick({"ViT-B-16": 1, "RN50": 2}, "vit-b16", what="backbone")
    with pytest.raises(ConfigError, match=r"known are \['apple', 'pear'\]\.$"):  # none is near
        pick({"pear": 1, "apple": 2}, "xyz", what="fruit")


SCALE_MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"methods": {"iclpi": {}}}, r"small\.yaml: unknown method .*'iclpi'.*nearest is 'iclip'"),
    ({"methods": {"iclpi+x": {}}}, r"unknown method .*'iclpi'"),
    # of a method that is not the one asked for
    ({"methods": {"iclip+slow": {}}}, r"unknown variant of iclip .*'slow'.*nearest is 'slower'"),
    ({"datasets": {"jhmbd": {}}}, r"small\.yaml: unknown data set .*'jhmbd'.*nearest is 'jhmdb'"),
    (
        {
            "miniature": {
                "render": {
                    "jhmbd": {"target": "stclip.detect.backends.file:FileDetector", "files": ["a"]}
                }
            }
        },
        r"unknown data set of miniature\.render: 'jhmbd'",
    ),
    (
        {
            "detectors": {
                "d": {"target": "stclip.detect.backends.file:FileDetector", "datasets": ["jhmbd"]}
            }
        },
        r"unknown data set of detectors\.d\.datasets: 'jhmbd'",
    ),
    (
        {"detectors": {"a/b": {"target": "stclip.detect.backends.file:FileDetector"}}},
        r"detectors: .*'a/b': a name stands in paths",
    ),
    ({"backbone": {}}, r"backbone: Extra inputs .*nearest is 'backbones'"),
    ({"miniature": {"rendr": {}}}, r"miniature\.rendr: .*allowed keys: .*nearest is 'render'"),
    ({"methods": {"st_clip": {"datasets": {"jhmbd": {}}}}}, r"unknown data set .*'jhmbd'"),
    ({"methods": {"st_clip": {"datasets": None}}}, r"datasets: expected a mapping .*found None"),
    ({"methods": {"st_clip": {"datasets": {"jhmdb": 3}}}}, r"datasets: expected a mapping"),
]


def test_a_base_is_named_with_the_scale_that_has_it(world: World) -> None:
    (world.config / "scales" / "other.yaml").write_text("base: smal\ntitle: other\n")
    with pytest.raises(ConfigError, match=r"other\.yaml: base: .*'smal'.*nearest is 'small'"):
        load_scale(world.config, "other")


def test_a_base_may_have_a_base_but_not_lead_back(world: World) -> None:
    scales = world.config / "scales"
    (scales / "b.yaml").write_text("base: small\ntitle: b\n")
    (scales / "c.yaml").write_text("base: b\npublished: true\n")
    found = load_scale(world.config, "c")
    assert (found.title, found.published) == ("b", True)
    (scales / "b.yaml").write_text("base: c\ntitle: b\n")
    with pytest.raises(ConfigError, match="lead back to 'c'"):
        load_scale(world.config, "c")


METHOD_MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"datasets": {"jhmbd": {}}}, r"st_clip\.yaml.*unknown data set .*'jhmbd'.*'ucf101_24'"),
    ({"score": {"precision": "fp23"}}, r"precision: .*found 'fp23'.*nearest is 'fp32'"),
    ({"assumptions": ["voted", "voted"]}, r"assumptions: .*\['voted'\] are given twice"),
    ({"label_text": "spaced"}, r"label_text: it is not set here, but by the data set; move it"),
    ({"name": "x"}, r"name: it is not set here, but by the file"),
    ({"variants": {"a": {"title": "a", "tarin": {}}}}, r"unknown key 'tarin'.*nearest is 'train'"),
    ({"train": {"itertions": 3}}, r"train\.itertions: .*allowed keys: .*nearest is 'iterations'"),
    ({"train": {"loss": "focall"}}, r"train\.loss: .*nearest is 'focal'"),
    ({"train": {"augmentation": {"crp": 1}}}, r"augmentation\.crp: .*nearest is 'crop'"),
]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        *(("scales/small.yaml", *mistake) for mistake in SCALE_MISTAKES),
        *(("methods/st_clip.yaml", *mistake) for mistake in METHOD_MISTAKES),
    ],
)
def test_unknown_names_of_a_scale_and_a_method_are_refused(
    world: World, file: str, change: dict[str, Any], message: str
) -> None:
    overlay(world.config / file, change)
    with pytest.raises(ConfigError, match=message):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")


def test_a_data_set_with_label_splits_alone_is_known(world: World) -> None:
    """Methods have settings of data sets that nobody prepares yet."""
    sections = {"datasets": {"planned": {"order": 7}}}
    overlay(world.config / "methods" / "st_clip.yaml", sections)
    with pytest.raises(ConfigError, match="'planned'"):
        load_method(world.config, "st_clip", dataset="jhmdb", scale="small")
    (world.folder / "splits").unlink()
    for dataset in ("planned", "ucf101_24", "ava"):
        folder = world.folder / "splits" / dataset / "own"
        folder.mkdir(parents=True)
        (folder / "1.json").write_text("{}")
    assert load_method(world.config, "st_clip", dataset="jhmdb", scale="small").order == 90


DATASET_MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"metrics": [{"name": "frame_map", "protocol": "iclp", "iou": [0.5]}]},
        r"metrics\.0: .*unknown protocol of frame_map 'iclp'; known are \['act'.*is 'iclip'",
    ),
    (
        {
            "metrics": [
                {"name": "frame_map", "protocol": "iclip", "iou": [0.5]},
                {"name": "video_map", "protocol": "tf", "iou": [0.5]},
            ]
        },
        r"unknown protocol of video_map 'tf'; known are \['act', 'multisports'\]",
    ),
    ({"form": "oficial"}, r" at scale small 'oficial'.*nearest is 'official'"),
    ({"archives": {}}, r"archives: it is not set here, but by one of the `forms`"),
    ({"params": None}, r"params: expected a mapping of names, found None"),
    ({"forms": {"official": None}}, r"forms: expected a mapping"),
    ({"key_frames": {"rule": "every", "frame": 2}}, r"frame: Extra .*nearest is 'frames'"),
    ({"label_text": "spacd"}, r"label_text: .*found 'spacd'.*nearest is 'spaced'"),
    ({"splits": ["1", "1"]}, r"splits: .*\['1'\] are given twice"),
    ({"boxes": {"detected boxes/": {"source": "detections"}}}, "a name stands in paths"),
    ({"boxes": {"detected": {"sorce": "detections"}}}, r"sorce: .*nearest is 'source'"),
]


@pytest.mark.parametrize(("change", "message"), DATASET_MISTAKES)
def test_unknown_names_of_a_data_set_are_refused(
    world: World, change: dict[str, Any], message: str
) -> None:
    overlay(world.config / "datasets" / "jhmdb.yaml", change)
    with pytest.raises(ConfigError, match=rf"(?s)jhmdb\.yaml.*{message}"):
        load_dataset(world.config, "jhmdb", scale="small")


def test_the_protocols_that_settings_know_are_those_of_the_evaluators() -> None:
    assert {name: set(known) for name, known in PROTOCOLS.items()} == {
        "frame_map": set(OF_FRAMES), "video_map": set(VIDEO_PROTOCOLS),
    }  # fmt: skip


def test_a_key_given_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("train:\n  lr: 1\n  steps: 3\n  lr: 2\n")
    with pytest.raises(ConfigError, match=r"(?s)a\.yaml: .*key 'lr'.*line 2.*line 4"):
        read_yaml(path)
    path.write_text("a: 1\n'a': 2\n")
    with pytest.raises(ConfigError, match="key 'a'"):
        read_yaml(path)


def test_what_is_laid_over_another_mapping_is_no_key_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("one: &one {a: 1, b: 2}\ntwo: {<<: *one, b: 3}\n")
    assert read_yaml(path)["two"] == {"a": 1, "b": 3}
    read_yaml(path)["two"].clear()  # what a caller does to it stays with the caller
    assert read_yaml(path)["two"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    "read",
    [
        lambda content, path: parse_tubes(content, path),
        lambda content, path: read_truth(path, SPLIT),
        lambda content, path: read_json_file(path),
    ],
    ids=["tubes", "outside", "detections"],
)
def test_a_key_twice_in_a_json_of_annotations_is_refused(
    tmp_path: Path, read: Callable[[bytes, Path], object]
) -> None:
    path = tmp_path / "truth.json"
    path.write_text('{"labels": ["a"], "nframes": {"v": 1, "v": 2}}')
    with pytest.raises(DataError, match=r"truth\.json: .*keys \['v'\] are given twice"):
        read(path.read_bytes(), path)


def test_every_yaml_of_the_project_has_each_key_once() -> None:
    paths = [p for p in (ROOT / "config").rglob("*.yaml")]
    assert len(paths) > 20
    assert all(read_yaml(path) for path in paths)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "-n",
        "+x",
        "a{b}",
        " a",
        "a ",
        "a\nb",
        "a=b",
        "a:b",
    ],
)
def test_names_that_no_path_or_command_takes_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="rename it"):
        check_form(name, what="split")


@pytest.mark.parametrize("name", ["1", "a b", "it's", "st_clip+rank_4", "ViT-B-16.pt", "ü", "50%"])
def test_other_names_may_have_spaces_and_quotes(name: str) -> None:
    check_form(name, what="split")
