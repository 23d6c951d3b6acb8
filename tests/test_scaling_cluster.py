"""A plan's jobs on a cluster: groups and queues by hand, counting without computing."""

from collections.abc import Callable

import pytest
import torch
from conftest import ROOT, World

import stclip.costs.workload
from stclip.costs.cluster import Groups, Queue, grouped, in_arrays, queued
from stclip.costs.counted import Sample, _count_sample, count_sample
from stclip.costs.measure import counting
from stclip.costs.plan import Job, wall_clock
from stclip.costs.shapes_only import ShapesOnly
from stclip.costs.workload import Workload

RUN = {"dataset": "jhmdb", "family": "st-clip", "split": "1", "method": "a5"}


def run_of(first: int, seed: int) -> list[Job]:
    """Train, score and evaluate, after a job 0."""
    wildcards = RUN | {"seed": str(seed)}
    train = Job(number=first, rule="train", gpus=1, wildcards=wildcards, after=frozenset({0}))
    score = Job(
        number=first + 1, rule="score", gpus=1, wildcards=wildcards, after=frozenset({first, 0})
    )
    last = Job(number=first + 2, rule="evaluate", wildcards=wildcards, after=frozenset({first + 1}))
    return [train, score, last]


JOBS = [Job(number=0, rule="prepare"), *run_of(1, 0), *run_of(4, 1)]
SECONDS = {0: 5.0, 1: 100.0, 2: 20.0, 3: 7.0, 4: 100.0, 5: 20.0, 6: 7.0}


def test_a_run_in_a_group_is_one_job() -> None:
    groups = Groups(name="a run", rules=("train", "score", "evaluate"))
    jobs, seconds = grouped(JOBS, SECONDS, groups)
    assert [(job.number, job.gpus, job.after) for job in jobs] == [
        (0, 0, frozenset()),
        (1, 1, frozenset({0})),
        (4, 1, frozenset({0})),
    ]
    assert seconds == {0: 5, 1: 127, 4: 127}
    both, took = grouped(JOBS, SECONDS, Groups(name="two", rules=groups.rules, runs=2))
    assert [job.number for job in both] == [0, 1]
    assert took == {0: 5, 1: 254}
    alone, same = grouped(JOBS, SECONDS, Groups(name="none"))
    assert (alone, same) == (JOBS, SECONDS)


def test_waiting_holds_no_gpu_and_parsing_does() -> None:
    queue = Queue(wait_s=60, held_s=10)
    jobs, seconds = queued(JOBS, SECONDS, queue)
    # 5, then both wait 60 s; one GPU: 110, 110 in turn; the first waits for its score meanwhile
    assert wall_clock(jobs, seconds, gpus=2) == 5 + 60 + 110 + 60 + 30 + 7
    assert wall_clock(jobs, seconds, gpus=1) == 5 + 60 + 110 + 110 + 60 + 30 + 7
    assert sum(seconds[job.number] * job.gpus for job in jobs) == 2 * (100 + 20) + 4 * 10


def test_an_array_starts_when_its_last_task_may() -> None:
    late = SECONDS | {4: 250.0}
    assert wall_clock(JOBS, late, gpus=2) == 5 + 250 + 20 + 7
    # Score of seed 0, ready after 105 s, waits for the training of seed 1, and each for one GPU.
    arrays = in_arrays(JOBS, ["train", "score"])
    assert [job.after for job in arrays if job.rule == "score"] == [frozenset({0, 1, 4})] * 2
    assert wall_clock(JOBS, late, gpus=1) == 5 + 250 + 100 + 20 + 20 + 7
    assert wall_clock(arrays, SECONDS | {4: 30.0}, gpus=2) == 5 + 100 + 20 + 7
    assert wall_clock(JOBS, SECONDS | {4: 30.0, 5: 90.0}, gpus=2) == 5 + 30 + 90 + 7
    assert wall_clock(arrays, SECONDS | {4: 30.0, 5: 90.0}, gpus=2) == 5 + 100 + 90 + 7


def test_the_largest_rest_that_fits_starts_first() -> None:
    """Three GPUs: 0 takes two; of what waits, 1 wants two and does not fit, 2 does."""
    jobs = [Job(number=n, rule="train", gpus=gpus) for n, gpus in enumerate((2, 2, 1, 1))]
    seconds = {0: 50.0, 1: 40.0, 2: 30.0, 3: 20.0}
    # 0 and 2 from 0 on; 3 from 30 to 50; 1 from 50 on
    assert wall_clock(jobs, seconds, gpus=3) == 50 + 40


@pytest.mark.parametrize("name", ["st_clip", "vitaclip"])
def test_what_is_not_computed_is_counted_all_the_same(world: World, name: str) -> None:
    config = world.method(name)
    assert count_sample(config, ["run", "walk"]) == _count_sample(config, ["run", "walk"])


def test_products_and_random_numbers_are_left_out() -> None:
    with ShapesOnly(), counting() as counter:  # type: ignore[no-untyped-call]
        product = torch.ones(3, 4) @ torch.ones(4, 5)
        weights = torch.full((2, 2), 7.0).normal_()
    assert counter.get_total_flops() == 2 * 3 * 4 * 5
    assert torch.equal(product, torch.zeros(3, 5))
    assert torch.equal(weights, torch.zeros(2, 2))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """How often a model was built, after a job of a method."""
    built = []
    sample = Sample(
        per_frame=True, train=7, score=5, text_step=3, text=11, train_pictures=10,
        score_pictures=2, trained=13,
    )  # fmt: skip
    monkeypatch.setattr(stclip.costs.workload, "count_sample", lambda *_: built.append(0) or sample)
    workload = Workload(ROOT / "config", "paper")

    def after(method: str) -> int:
        workload.of("train", RUN | {"method": method})
        return len(built)

    return after


def test_variants_of_training_are_counted_once(counted: Callable[[str], int]) -> None:
    assert [counted("st_clip"), counted("st_clip+sgd"), counted("st_clip+longer")] == [1, 1, 1]
    assert [counted("st_clip+rank_2"), counted("st_clip"), counted("a5")] == [2, 2, 3]
