"""Label splits: the four committed ones against the real annotations, and the rules by hand."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import open_clip
import pandas as pd
import pytest

from stclip.config.text_tower import most_tokens
from stclip.errors import ConfigError, DataError
from stclip.records import Clips, LabelSplit
from stclip.splits.committed import read_committed
from stclip.splits.label_splits import (
    check_learnable,
    labels_of,
    make_split,
    resolve_split,
    select_clips,
)
from stclip.splits.label_texts import check_labels, check_lengths, pieces_of

ROOT = Path(__file__).parents[1]
REAL = Path(__file__).parents[2] / "shared" / "data" / "j-hmdb"
needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real annotations are not at {REAL}"
)

# (clips, frames) that split 1..4 select: trained on, tested on unseen, tested on base. Counted
# beforehand from the released annotations.
COUNTS = {
    "1": [(464, 15590), (78, 2651), (190, 6488)],
    "2": [(486, 17190), (73, 2444), (195, 6695)],
    "3": [(468, 16224), (78, 2590), (190, 6549)],
    "4": [(474, 16045), (76, 2731), (192, 6408)],
}


def clips_of(rows: Sequence[tuple[str, str, list[str], int]]) -> Clips:
    """Clips from (clip, official split, actions, number of frames)."""
    table = pd.DataFrame(rows, columns=["clip", "official_split", "actions", "num_frames"])
    return Clips(table.assign(height=240, width=320, fps=30.0, licence="test"))


def a_split(base: Sequence[str] = ("run", "walk"), unseen: Sequence[str] = ("sit",)) -> LabelSplit:
    return LabelSplit(
        dataset="toy",
        family="own",
        name="1",
        base=tuple(base),
        unseen=tuple(unseen),
        rule="by hand",
    )


@pytest.fixture(scope="module")
def real_clips() -> Clips:
    with gzip.open(REAL / "JHMDB-GT.json.gz", "rt") as file:
        truth = json.load(file)
    test = set(truth["test_videos"][0])
    return clips_of(
        [
            (
                video.split("/")[1],
                "test" if video in test else "train",
                [video.split("/")[0]],
                num_frames,
            )
            for video, num_frames in truth["nframes"].items()
        ]
    )


@needs_real_data
@pytest.mark.parametrize("name", COUNTS)
def test_jhmdb_split_selects_the_published_clips(name: str, real_clips: Clips) -> None:
    split = resolve_split(LabelSplit.read(ROOT / f"splits/jhmdb/st-clip/{name}.json"), real_clips)
    num_frames = real_clips.table.set_index("clip")["num_frames"]
    groups = (split.train_clips, split.unseen_clips, split.base_clips)
    assert [(len(g), num_frames[list(g)].sum()) for g in groups] == COUNTS[name]


@needs_real_data
@pytest.mark.parametrize("name", COUNTS)
def test_jhmdb_split_has_the_names_and_order_of_the_released_files(name: str) -> None:
    split = LabelSplit.read(ROOT / f"splits/jhmdb/st-clip/{name}.json")
    folder = REAL / f"label_split_{name}"
    assert split.unseen == tuple((folder / "test_label.txt").read_text().split())
    assert split.base == tuple((folder / "train_label.txt").read_text().split())


@needs_real_data
@pytest.mark.parametrize("name", COUNTS)
def test_jhmdb_test_clips_are_those_of_the_released_video_lists(
    name: str, real_clips: Clips
) -> None:
    # The released lists hold all videos of the unseen classes, train and test alike.
    split = resolve_split(LabelSplit.read(ROOT / f"splits/jhmdb/st-clip/{name}.json"), real_clips)
    listed = set((REAL / f"label_split_{name}" / "test_video.txt").read_text().split())
    assert set(split.unseen_clips) <= listed
    assert listed.isdisjoint(split.train_clips)
    assert listed.isdisjoint(split.base_clips)


@pytest.mark.parametrize("name", COUNTS)
def test_committed_split_is_whole_and_names_itself(name: str) -> None:
    split = LabelSplit.read(ROOT / f"splits/jhmdb/st-clip/{name}.json")
    assert (split.dataset, split.family, split.name) == ("jhmdb", "st-clip", name)
    assert (len(split.base), len(split.unseen)) == (15, 6)
    assert split.train_clips == split.unseen_clips == split.base_clips == ()


def write_split(folder: Path, **changes: object) -> Path:
    """A split that says what its place says, but for the changes."""
    path = folder / "splits" / "toy" / "own" / "1.json"
    content = {
        "dataset": "toy", "family": "own", "name": "1", "base": ["run", "walk"], "unseen": ["sit"],
        "rule": "by hand",
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | changes))
    return path


@pytest.mark.parametrize("key", ["dataset", "family", "name"])
def test_a_split_of_another_place_is_refused(tmp_path: Path, key: str) -> None:
    assert read_committed(write_split(tmp_path)).where == "split 1 (own) of toy"
    with pytest.raises(DataError, match=rf"own/1\.json: {key} is 'other', its place says '"):
        read_committed(write_split(tmp_path, **{key: "other"}))


# Labels and whether CLIP's tokenizer makes the same of both.
PAIRS = [
    (" Pull-Up ", "pull-up", True),
    ("pull - up", "Pull-up", True),
    ("brush  hair", "Brush\thair", True),
    ("rock &amp; roll", "rock & roll", True),
    ("don't", "don 't", True),
    ("take 10", "take 1 0", True),
    ("a_b", "A _ B", True),
    ("brush_hair", "brush hair", False),
    ("pullup", "pull up", False),
    ("dont", "don't", False),
    ("Über", "über", True),
]


@pytest.mark.parametrize(("one", "other", "alike"), PAIRS)
def test_labels_alike_to_the_tokenizer_are_told_without_it(
    one: str, other: str, alike: bool
) -> None:
    tokenizer = open_clip.SimpleTokenizer()
    assert (tokenizer.encode(one) == tokenizer.encode(other)) == alike
    assert (pieces_of(one) == pieces_of(other)) == alike
    check_labels([one, "run"], form="raw", where="here")
    if alike:
        with pytest.raises(
            DataError, match=r"here: labels \[.*\] are the same to CLIP's tokenizer"
        ):
            check_labels([one, "run", other], form="raw", where="here")


def test_labels_alike_once_spaced_and_labels_without_tokens_are_refused() -> None:
    labels = ["brush_hair", "brush hair"]
    check_labels(labels, form="raw", where="here")
    with pytest.raises(DataError, match=r"\['brush_hair', 'brush hair'\] are the same"):
        check_labels(labels, form="spaced", where="here")
    with pytest.raises(DataError, match=r"labels \[' '\] have no tokens"):
        check_labels(["run", " "], form="raw", where="here")


def test_a_single_base_label_that_excludes_others_teaches_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check_learnable(a_split(), None)
    check_learnable(a_split(base=["run"]), ["sit"])  # a sigmoid of its own
    assert not caplog.records
    for exclusive in (None, ["run", "sit"]):
        with pytest.raises(ConfigError, match=r"split 1 \(own\) of toy: 'run' is the only base"):
            check_learnable(a_split(base=["run"]), exclusive)
    check_learnable(a_split(), ["run", "sit"])  # `walk` is learned all the same
    assert "'run' is the only base label that excludes others" in caplog.text


def test_labels_longer_than_the_text_tower_are_told_without_it() -> None:
    most = most_tokens("ViT-B-16-quickgelu")
    assert (most, most_tokens("package:mini/tiny_clip/tiny-clip.json")) == (75, 14)
    assert most_tokens("ViT-none") is None
    check_lengths(["run " * 75], form="raw", most=75, where="here")
    with pytest.raises(DataError, match=r"here: label .* has at least 76 tokens, .* takes 75"):
        check_lengths(["walk", "run " * 76], form="raw", most=75, where="here")


def test_clips_with_several_actions() -> None:
    clips = clips_of(
        [
            ("d", "train", ["run", "sit"], 1),  # shows an unseen action: never trained on
            ("c", "train", ["run", "walk"], 1),
            ("b", "test", ["walk", "sit"], 1),  # counts for both groups
            ("a", "test", ["run"], 1),
            ("e", "test", ["sit"], 1),
            ("f", "train", ["other"], 1),  # no label of the split at all
            ("g", "val", ["run", "sit"], 1),  # neither official train nor test
        ]
    )
    split = resolve_split(a_split(), clips)
    assert split.train_clips == ("c",)
    assert split.unseen_clips == ("b", "e")
    assert split.base_clips == ("b", "a")  # in the order of the table, not of the alphabet


def test_labels_scored_together_are_tested_on_every_clip(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clips = clips_of(
        [
            ("a", "train", ["run"], 1),
            ("b", "val", ["walk"], 1),
            ("c", "val", ["sit"], 1),
            ("d", "val", ["other"], 1),  # no label of the split: false positives all the same
            ("e", "test", ["run", "sit"], 1),  # not of the official split that is tested
        ]
    )
    chosen = select_clips(a_split(), clips, test_split="val", together=True)
    assert chosen == {"train": ["a"], "unseen": ["b", "c", "d"], "base": ["b", "c", "d"]}
    apart = select_clips(a_split(), clips, test_split="val")
    assert apart == {"train": ["a"], "unseen": ["c"], "base": ["b"]}
    # A rare label may occur in no clip at all.
    rare = a_split(unseen=("sit", "swim"))
    assert resolve_split(rare, clips, test_split="val", together=True).unseen_clips == (
        "b", "c", "d",
    )  # fmt: skip
    assert "swim" in caplog.text
    with pytest.raises(DataError, match="swim"):
        resolve_split(rare, clips, test_split="val")
    with pytest.raises(DataError, match="swim"):  # of another data set altogether
        resolve_split(a_split(base=("fly",), unseen=("swim",)), clips, together=True)


def test_a_label_no_clip_has_is_an_error() -> None:
    clips = clips_of([("a", "train", ["run"], 1), ("b", "test", ["sit"], 1)])
    with pytest.raises(DataError, match=r"split 1 \(own\) of toy.*\['walk'\].*\['run', 'sit'\]"):
        resolve_split(a_split(), clips)


def test_an_empty_group_is_an_error() -> None:
    clips = clips_of([("a", "train", ["run"], 1), ("b", "test", ["sit"], 1)])
    with pytest.raises(DataError, match="1 training clips, 1 test clips with unseen and 0 with"):
        resolve_split(a_split(base=["run"]), clips)


def test_drawn_split_depends_on_the_seed_alone() -> None:
    labels = [f"action {i}" for i in range(21)]
    splits = [
        make_split(labels, name="9", dataset="toy", family="own", num_unseen=6, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert splits[0] == splits[1]
    assert splits[0].unseen != splits[2].unseen
    for split in splits:
        assert len(split.unseen) == 6
        assert sorted(split.base + split.unseen) == sorted(labels)
        assert list(split.unseen) == [label for label in labels if label in split.unseen]
        assert list(split.base) == [label for label in labels if label in split.base]


@pytest.mark.parametrize("num_unseen", [0, 3, -1])
def test_a_drawn_split_needs_both_groups(num_unseen: int) -> None:
    with pytest.raises(ConfigError, match="allowed are 1 to 2 of 3 labels"):
        make_split(
            ["a", "b", "c"], name="1", dataset="toy", family="own", num_unseen=num_unseen, seed=0
        )


def test_labels_survive_parquet(tmp_path: Path) -> None:
    clips = clips_of([("a", "train", ["walk", "run"], 1), ("b", "test", ["sit"], 1)])
    clips.write(tmp_path / "clips.parquet")
    assert labels_of(Clips.read(tmp_path / "clips.parquet")) == ["run", "sit", "walk"]


# --- AVA ----------------------------------------------------------------------------------------

AVA = REAL.parent / "ava"
AVA_UNSEEN = {  # the paper's Table 9, on the names of the label map
    "1": [
        "crawl", "dance", "jump/leap", "martial art", "swim", "brush teeth", "chop", "cook", "dig",
        "extract", "fishing", "kick (an object)", "play board game", "row boat", "sail boat",
        "shovel", "stir", "take a photo",
    ],
    "2": [
        "martial art", "swim", "play board game", "play with pets", "row boat", "shovel",
        "take a photo", "work on a computer", "hand clap", "kick (a person)", "lift (a person)",
        "play with kids",
    ],
    "3": [
        "press", "shovel", "stir", "text on/look at a cellphone", "turn (e.g., a screwdriver)",
        "hug (a person)",
    ],
}  # fmt: skip


def ava_split(name: str) -> LabelSplit:
    return read_committed(ROOT / "splits" / "ava" / "st-clip" / f"{name}.json")


@pytest.mark.parametrize("name", AVA_UNSEEN)
def test_ava_s_splits_are_those_of_the_paper(name: str) -> None:
    split = ava_split(name)
    assert list(split.unseen) == AVA_UNSEEN[name]
    assert len({*split.base, *split.unseen}) == 80


def test_ava_s_splits_share_some_of_28_unseen_actions() -> None:
    every = [label for labels in AVA_UNSEEN.values() for label in labels]
    assert (len(every), len({*every})) == (36, 28)
    assert {label for label in every if every.count(label) == 3} == {"shovel"}


@pytest.mark.skipif(not AVA.is_dir(), reason="the real annotations are not here")
def test_videos_without_an_unseen_action_are_trained_on() -> None:
    labels = pd.read_csv(AVA / "ava_label_map_v2.2.csv").set_index("id")["name"]
    assert {*labels} == {*ava_split("1").base, *ava_split("1").unseen}
    rows = pd.read_csv(AVA / "ava_test_v1.0.csv.gz", header=None, dtype={0: str})
    actions = rows[6].map(labels).groupby(rows[0]).unique()
    clips = clips_of([(video, "train", list(own), 905) for video, own in actions.items()])
    found = {n: len(select_clips(ava_split(n), clips)["train"]) for n in AVA_UNSEEN}
    assert (len(clips), found) == (38, {"1": 12, "2": 17, "3": 12})  # counted beforehand
