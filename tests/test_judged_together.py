"""Where unseen and base labels are scored together, every tested clip is judged."""

from collections import Counter
from dataclasses import replace

from conftest import World

from stclip.config import BoxSource
from stclip.evaluate.error_kinds import KINDS, MISSED
from stclip.evaluate.evaluate import evaluate_run
from stclip.evaluate.protocol import PROTOCOLS
from stclip.evaluate.rules import Rules
from stclip.evaluate.run_ranking import judge_rows
from stclip.records import Scores
from stclip.score.score import score
from stclip.splits.label_splits import resolve_split
from stclip.train.run_folder import write_untrained


def test_clips_without_an_unseen_label_are_judged_too(world: World) -> None:
    split = resolve_split(world.split, world.clips, together=True)
    data, out = world.with_key_frames(every=5), world.folder / "run"
    config = world.method("clip_frame", iterations=0)
    write_untrained(config, split=split, seed=0, out=out)
    score(
        config, data, weights=out / "weights.safetensors", split=split, together=True, seed=0,
        sources={"gt": BoxSource(source="ground_truth")}, out=out,
    )  # fmt: skip
    found = {
        ("gt", group): Scores.read(out / f"scores_gt_{group}.parquet")
        for group in ("unseen", "base")
    }
    metrics, *_ = evaluate_run(
        found, ground_truth=data.boxes, key_frames=data.key_frames, split=split,
        rules=Rules(assumptions=("independent",)),
    )  # fmt: skip
    # Five clips of three key frames and one person; clap and jump are shown in two of them.
    for group, num_persons in (("unseen", 6), ("base", 9)):
        cell = metrics["gt"][group]["independent"]
        assert (cell["num_clips"], cell["num_boxes"]) == (5, 15)
        assert cell["num_gt_boxes"] == num_persons

    # Row by row it is what the evaluation counts, where of all labels' rows the best count too.
    rules = Rules(
        frames=replace(PROTOCOLS["activitynet"], max_rows=3), assumptions=("independent",),
        together=True,
    )  # fmt: skip
    options = {"ground_truth": data.boxes, "key_frames": data.key_frames, "split": split}
    _, _, report = evaluate_run(found, rules=rules, **options)  # type: ignore[arg-type]
    for group in ("unseen", "base"):
        judged = judge_rows(
            {name: scores for (_, name), scores in found.items()}, group, source="gt",
            assumption="independent", rules=rules, **options,
        )  # type: ignore[arg-type]  # fmt: skip
        counted: Counter[str] = Counter()
        for errors in judged.errors.values():
            counted.update(KINDS[kind] for kind in errors.kinds)
            counted[MISSED] += int(errors.missed.sum())
        table = report[f"gt/{group}/independent"].errors
        total = table[table["label"] == ""].set_index("kind")["rows"]
        assert {kind: counted[kind] for kind in total.index} == total.to_dict()
        # 15 frames of 3 rows each in both groups together
        assert 0 < sum(counted[kind] for kind in KINDS) < 45
