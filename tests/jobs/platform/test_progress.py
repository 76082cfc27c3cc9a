from __future__ import annotations

import sys

import pytest

from jobs.platform.progress import Progress


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_appears_every_ten_seconds_with_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(1000, "events", "train for-you", clock=clock) as progress:
        for _ in range(5):
            clock.now += 4
            progress.update(100, "loss 2.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "train for-you: 300/1,000 events (30 %), 25 events/s, 0:28 left, loss 2.5",
        "train for-you: 500/1,000 events (50 %), 25 events/s, 0:20 left, done",
    ]


def test_an_unknown_total_shows_count_and_rate_only(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress(None, "users", "recommend", clock=clock)
    clock.now = 20
    progress.update(2000)
    assert capsys.readouterr().err == "recommend: 2,000 users, 100 users/s\n"


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(3, "files", "read", clock=Clock()) as progress:
        progress.update(3)
    assert capsys.readouterr().err == ""


def test_other_ranks_are_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    clock = Clock()
    with Progress(10, "events", "train", clock=clock) as progress:
        clock.now = 60
        progress.update(10)
    assert progress.done == 10
    assert capsys.readouterr().err == ""


def test_failed_work_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()

    def break_off() -> None:
        with Progress(10, "events", "train", clock=clock):
            clock.now = 60
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        break_off()
    assert "done" not in capsys.readouterr().err


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(4, "events", "train") as progress:
        progress.update(4, "loss 1.0")
    text = capsys.readouterr().err
    assert "train" in text
    assert "100%" in text
