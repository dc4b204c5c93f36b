import io
import re

import pytest

from pixlab.progress import Progress, duration, told


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    "seconds, text",
    [(0.4, "0s"), (59.4, "59s"), (59.6, "1m00s"), (62, "1m02s"), (3 * 3600 + 5 * 60 + 9, "3h05m"), (187200, "2d04h")],
)
def test_duration(seconds, text):
    assert duration(float(seconds)) == text


def run(stream, clock, steps=600, pause=0.0, **options):
    """Steps of 0.1 s and 8 images; the first of each of two stages takes 30 s more; a pause after step 100."""
    progress = Progress(steps, stream=stream, clock=clock, **options)
    for step in range(1, steps + 1):
        clock.now += 30.0 if step in (1, steps // 2 + 1) else 0.1
        progress.update(step, "coarse" if step <= steps // 2 else "fine", 1 / step, 8)
        if step == 100 and pause:
            clock.now += pause
            progress.skip()
    progress.close()
    return stream.getvalue()


@pytest.mark.parametrize("pause", [0.0, 50.0])
def test_plain_lines_at_once_then_now_and_then_with_the_speed_of_steps_alone(pause):
    lines = run(io.StringIO(), Clock(), pause=pause).splitlines()
    assert lines[0] == "step 1/600  coarse  loss 1"
    assert 5 <= len(lines) <= 9
    assert lines[-1] == "step 600/600  fine  loss 0.001667  80 images/s"
    for line in lines[1:-1]:
        if "images/s" in line:
            step = int(re.match(r"step (\d+)/600", line)[1])
            assert "  80 images/s  " in line
            assert line.endswith(f"  {duration((600 - step) * 0.1)} left")
    (fine,) = [line for line in lines if line.startswith("step 301/")]
    assert "images/s" not in fine  # a step with compilation says nothing about speed


def test_speed_follows_the_last_half_minute():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(10_000, stream=stream, clock=clock, every=0.0)
    for step in range(1, 1001):
        clock.now += 1.0 if step < 500 else 0.1
        progress.update(step, "only", None, 4)
    lines = stream.getvalue().splitlines()
    assert "  4 images/s" in lines[400] and "  40 images/s" in lines[999]


def test_a_terminal_gets_one_bar_and_written_lines_above_it():
    clock, stream = Clock(), Terminal()
    progress = Progress(50, start=20, stream=stream, clock=clock)
    for step in range(21, 51):
        clock.now += 1.0
        progress.update(step, "fine", 0.5, 2)
        if step == 30:
            progress.write("saved step 30")
    progress.close()
    progress.close()
    text = stream.getvalue()
    assert "\rsaved step 30\n" in text or "\nsaved step 30\n" in text or "saved step 30\n" in re.split(r"\r", text)
    assert "100% |" in text and "step 50/50  fine  loss 0.5  2 images/s" in text
    assert re.search(r" 60% \|[^\r]*step 30/50 .* 20s left", text)
    assert text.count("\n") == 2  # the written line and the end of the bar


def test_output_to_a_file_has_no_control_characters():
    text = run(io.StringIO(), Clock())
    assert "\r" not in text and "\x1b" not in text


def test_inactive_is_silent():
    assert run(io.StringIO(), Clock(), active=False) == ""
    assert run(Terminal(), Clock(), active=False) == ""


@pytest.mark.parametrize(("pause", "lines"), [(0.5, []), (4.0, ["batch 3/6", "batch 6/6  0.25 batches/s"])])
def test_what_takes_long_tells_how_far_it_is(pause, lines, capsys):
    clock, seen = Clock(), []
    for item in told("abcdef", 6, unit="batch", counted="batches", clock=clock):
        clock.now += pause
        seen.append(item)
    assert seen == list("abcdef")
    assert capsys.readouterr().err.splitlines() == lines
