"""What a rehearsal's jobs took becomes the speed of the real run's; the record of a job."""

from pathlib import Path

import pytest
from conftest import World
from test_cli import run as command

from stclip.costs.plan import Job
from stclip.costs.prepared_counts import prepared_counts
from stclip.costs.rates import Rates, Work
from stclip.costs.rehearsed import Done, Speeds, read_done, stage_table
from stclip.errors import ConfigError
from stclip.progress import Loop
from stclip.runtime.usage import Usage, read_usage, usage_of
from stclip.storage.files import write_json

ON = "2 cores, a machine"


def took(seconds: float, **loops: Loop) -> Usage:
    return Usage(
        seconds=seconds, cpu_s=2 * seconds, memory=3 * 10**9, gpu_memory=0, on=ON, loops=loops
    )


def job(number: int, rule: str, *, after: tuple[int, ...] = (), **wildcards: str) -> Job:
    return Job(number=number, rule=rule, wildcards=wildcards, after=frozenset(after))


TRAINED = job(1, "train", dataset="jhmdb", method="a5", split="1")
DONE = [
    # 5 s of start, 4 units of 2.5 s, of which the first took longer: 100 operations in 10 s
    Done(
        job=TRAINED, work=Work(operations=100),
        usage=took(30, train=Loop(first_units=1, first_s=17.5, units=3, seconds=7.5)),
    ),
    Done(job=job(2, "evaluate", after=(1,)), work=Work(rows=50), usage=took(4)),
    Done(job=job(3, "splits"), work=Work(), usage=took(1)),
]  # fmt: skip


def test_a_job_takes_its_start_and_its_work_at_the_measured_speed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    speeds = Speeds(DONE, rates=Rates(rows_per_s=10))
    again = job(7, "train", dataset="jhmdb", method="a5", split="2")
    assert speeds.seconds(again, Work(operations=1000)) == pytest.approx(20 + 100)
    other = job(8, "train", dataset="ava", method="xclip", split="2")
    assert speeds.seconds(other, Work(operations=500)) == pytest.approx(20 + 50)
    both = speeds.of_all([(again, Work(operations=1000)), (other, Work(operations=500))])
    assert both == pytest.approx({7: 120, 8: 70})
    assert "1 of train" in caplog.text
    # boxes are evaluated at an assumed speed; without work a job is always as long
    assert speeds.seconds(job(9, "evaluate"), Work(rows=500)) == pytest.approx(4 + 50)
    assert speeds.seconds(job(9, "splits"), Work()) == 1
    assert speeds.seconds(job(9, "all"), Work()) == 0
    with pytest.raises(ConfigError, match="no job of rule detect"):
        speeds.seconds(job(9, "detect"), Work(operations=1))


def test_stages_stand_in_the_order_of_the_road_beside_the_real_run() -> None:
    real = [(job(1, "train"), Work(written=2e9)), (job(2, "train"), Work(written=3e9))]
    table = stage_table(DONE, real, seconds={1: 3600, 2: 5400})
    assert table["rule"].tolist() == ["splits", "train", "evaluate"]
    train = table.set_index("rule").loc["train"].to_dict()
    assert train == {
        "jobs": "1", "min": "0.5", "CPU min": "1.0", "memory GB": "3.0", "GPU memory GB": "0.0",
        "files GB": "0.00", "real jobs": "2", "real h": "2.50", "real files GB": "5.00",
    }  # fmt: skip
    assert table.set_index("rule").loc["splits", "real jobs"] == "-"


def test_records_are_found_beside_logs(tmp_path: Path) -> None:
    log, out = tmp_path / "train.log", tmp_path / "weights"
    its = Job(number=1, rule="train", outputs=(str(out),), logs=(str(log),))
    with pytest.raises(ConfigError, match="1 files of the rehearsal are missing"):
        read_done([its], work_of=lambda *_: Work())
    out.write_bytes(b"123")
    done = command("--log", str(log), "keys", "--out", str(tmp_path / "keys.md"))
    assert (done.returncode, usage_of(log).exists()) == (2, False)  # no such option
    done = command("--log", str(log), "show", "docs/results/mini/table2.csv")
    assert done.returncode == 0, done.stderr
    (found,) = read_done([its], work_of=lambda *_: Work(rows=7))
    assert (found.work.rows, found.disk, found.usage.loops) == (7, 3, {})
    assert 0 < found.usage.cpu_s < 60
    assert 10**7 < found.usage.memory < 10**10


def test_a_job_that_fails_leaves_no_record_of_an_earlier_one(tmp_path: Path) -> None:
    log = tmp_path / "show.log"
    write_json(usage_of(log), {"seconds": 1})
    assert command("--log", str(log), "show", str(tmp_path / "missing.csv")).returncode == 1
    assert not usage_of(log).exists()


def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "a.usage.json", {"seconds": 1})
    with pytest.raises(Exception, match=r"a\.usage\.json: not what a job took"):
        read_usage(tmp_path / "a.usage.json")


def test_prepared_data_are_counted_as_published_ones_are(world: World, tmp_path: Path) -> None:
    """Ten clips of 11 to 13 frames, a box a frame; every fifth frame of the tested ones."""
    folder, data = tmp_path / "jhmdb", world.with_key_frames(every=5)
    for name in ("clips", "boxes", "key_frames"):
        getattr(data, name).write(folder / f"{name}.parquet")
    split = world.split
    split.write(folder / "splits" / split.family / f"{split.name}.json")
    found = prepared_counts(folder, family=split.family)
    lengths = data.clips.table.set_index("clip")["num_frames"]
    assert found["frames"] == lengths.sum()
    trained = lengths[list(split.train_clips)].sum()
    assert found["splits"][split.name]["train"] == [len(split.train_clips), trained, trained]
    assert found["splits"][split.name]["unseen"][0] == len(split.unseen_clips)
    assert found["splits"][split.name]["unseen"][1:] == [3 * len(split.unseen_clips)] * 2
    assert found["test"] == [5, 15, 15]
