"""Lines of progress: percent, speed and time left, whatever is counted."""

import logging

import pytest

from stclip import progress
from stclip.progress import Progress


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    caplog.set_level(logging.INFO)
    return clock


def test_a_line_is_due_after_some_seconds_and_at_the_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    work = Progress("train", total=300, done=100)  # by an earlier try
    clock.now += 1
    work.advance(10, loss=0.5)
    assert caplog.messages == []
    clock.now += 9
    work.advance(10, loss=0.25)  # 20 in 10 s: 180 left take 90 s
    assert caplog.messages == ["train 120/300 (40%), 2/s, 90 s left, loss 0.25"]
    clock.now += 1
    work.advance(180)
    work.reach(300)
    assert caplog.messages[1:] == ["train 300/300 (100%), 18.2/s, 0 s left"]  # 200 in 11 s


def test_bytes_are_shown_as_megabytes(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    work = Progress("a.zip", total=50_000_000, done=10_000_000, unit="bytes")
    clock.now += 10
    work.reach(30_000_000, files=7)
    assert caplog.messages == ["a.zip 30.0/50.0 MB (60%), 2 MB/s, 10 s left, files 7"]


def test_without_a_total_there_is_no_percent(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    work = Progress("raw", total=None, unit="files")
    clock.now += 10
    work.advance(30)
    assert caplog.messages == ["raw 30 files, 3 files/s"]
    unsized = Progress("a.bin", total=None, unit="bytes")
    clock.now += 10
    unsized.advance(5_000_000)
    assert caplog.messages[1:] == ["a.bin 5.0 MB, 0.5 MB/s"]


def test_what_was_counted_is_kept_without_a_slow_start(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "loops", {})
    work = Progress("train", total=9, done=3)
    clock.now += 60  # the first batch waits for a compiler
    work.advance(1)
    work.advance(1)
    clock.now += 8
    work.advance(4)
    (loop,) = progress.loops.values()
    assert loop == progress.Loop(first_units=2, first_s=60.0, units=4, seconds=8.0)
    assert loop.unit_s == 2.0
    Progress("train", total=1).advance(1)  # another of its kind joins it
    assert (loop.units, loop.seconds) == (5, 8.0)
    assert progress.Loop(first_units=2, first_s=60.0).unit_s == 30.0  # nothing else is known
