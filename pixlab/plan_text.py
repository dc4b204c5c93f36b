"""A plan, and what was measured, as text."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import jax
import numpy as np

from pixlab import roofline
from pixlab.chips import GIB
from pixlab.measure import Measured
from pixlab.options import Options
from pixlab.plan import FAST, Plan
from pixlab.progress import duration
from pixlab.results import aligned
from pixlab.roofline import Step

NUMBERS = (1, 4, 16, 64, 256)  # of chips


def plan_text(name: str, made: Plan, *, full: bool) -> str:
    """All of a plan: stages, memory, the largest batch, time, other numbers of chips, assumptions."""
    lines = [f"{name} on {made.topology}, {made.chips} chip{'s' * (made.chips > 1)}", batch_line(made), ""]
    heads = ["stage", "steps", "GiB a chip", "TFLOP a step", "GB a chip", "ms: FLOPs", "memory", "chips", "in all"]
    lines += aligned([heads, *(stage_row(step, made) for step in made.steps)])
    lines += [f"{step.stage} sends {collectives_words(step)}" for step in made.steps if step.bytes]
    lines += ["", memory_line(made)]
    if made.fits:
        lines += [time_line(made), "", "The same images a chip on other numbers of chips:"]
        lines += aligned([["chips", "batch", "ms a step", "images/s", "of ideal"], *scaling(made)])
    single = [roofline.SINGLE] if made.fits and made.chips == made.config.fsdp else []
    assumed = [compiled_how(full), *roofline.ASSUMPTIONS, *single]
    lines += ["", "Assumed:", *(f"- {line}" for line in assumed)]
    return "\n".join(lines)


def batch_line(made: Plan) -> str:
    """What goes through the chips in a step."""
    height, width = picture(made)
    parts = f" in {made.config.accumulate} parts" if made.config.accumulate > 1 else ""
    each = f"batch {made.config.batch}{parts} of {height}x{width}, {made.images} images a chip at once"
    copies = f", each copy of them on {made.config.fsdp} chips" if made.config.fsdp > 1 else ""
    return f"{each}; {made.parameters / 1e6:.4g} million parameters{copies}"


def picture(made: Plan) -> tuple[int, int]:
    """(height, width) of the largest map of an example."""
    largest = max(made.example.values(), key=np.size)
    return np.shape(largest)[0], np.shape(largest)[1]


def stage_row(step: Step, made: Plan) -> list[str]:
    """A stage's line of the table."""
    row = [step.stage, str(step.steps), f"{step.memory / GIB:.2f}", f"{step.flops * made.chips / 1e12:.3g}"]
    if step.memory > made.chip.memory:
        return [*row, *[""] * 5]
    each = roofline.parts(step, made.chip, made.chips)
    times = [*each.values(), roofline.seconds(step, made.chip, made.chips)]
    return [*row, f"{step.bytes / 1e9:.2f}", *(f"{1e3 * time:.3g}" for time in times)]


def collectives_words(step: Step) -> str:
    """The collectives by kind, with their number and bytes."""
    number, size = collections.Counter(), collections.Counter()
    for each in step.collectives:
        times = step.loops if each.looped else 1
        number[each.kind] += times
        size[each.kind] += times * each.bytes
    return ", ".join(f"{number[k]} {k} of {size[k] / 1e6:.2f} MB together" for k in number) or "nothing"


def memory_line(made: Plan) -> str:
    """Whether it fits, the largest batch, and what would help."""
    needs, has = made.memory / GIB, made.chip.memory / GIB
    if not made.fits:
        lacks = f"{needs:.2f} GiB a chip, {needs - has:.2f} more than the {has:.2f} there are"
        return f"memory: does not fit: {lacks}; {remedy(made)}"
    points = min(made.points, key=lambda points: roofline.largest(points, made.chip.memory))
    found = ", ".join(f"{memory / GIB:.2f} for {images}" for images, memory in points)
    line = f"the line through the GiB for so many images a chip at once: {found}"
    return f"memory: {needs:.2f} of {has:.2f} GiB a chip: fits\nlargest batch: about {largest_batch(made)}, by {line}"


def largest_batch(made: Plan) -> int:
    """The largest batch that fits, about: a whole number of images a chip."""
    return made.largest * made.chips * made.config.accumulate


def remedy(made: Plan) -> str:
    """Options with which the config would fit."""
    if not made.largest:
        return f"nor does one image at once; try --fsdp {made.chips}, or chips with more memory"
    each = made.config.batch // made.chips
    parts = [n for n in range(2, each + 1) if each % n == 0 and each // n <= made.largest]
    options = [f"--batch {largest_batch(made)}", *(f"--accumulate {n}" for n in parts[:1])]
    return f"{' or '.join(options)} would, by the line through two batches"


def time_line(made: Plan) -> str:
    """Hours and images per second."""
    seconds = roofline.total(made.steps, made.chip, made.chips)
    steps = sum(step.steps for step in made.steps)
    return f"time: about {duration(seconds)} for {steps} steps, {rate(made, made.chips):.0f} images/s"


def rate(made: Plan, chips: int) -> float:
    """Images per second on `chips` chips with as many images each, over all stages."""
    images = made.config.batch / made.chips * chips * sum(step.steps for step in made.steps)
    steps = [roofline.scaled(step, made.chips, chips, made.config.fsdp) for step in made.steps]
    return images / roofline.total(steps, made.chip, chips)


def scaling(made: Plan) -> list[list[str]]:
    """Lines for other numbers of chips, multiples of those that share one copy of the parameters."""
    rows = []
    for chips in sorted({*NUMBERS, made.chips}):
        if chips % made.config.fsdp == 0:
            batch, speed = made.config.batch // made.chips * chips, rate(made, chips)
            ideal = chips * rate(made, made.config.fsdp) / made.config.fsdp
            rows.append([str(chips), str(batch), f"{1e3 * batch / speed:.2f}", f"{speed:.0f}", f"{speed / ideal:.0%}"])
    return rows


def compiled_how(full: bool) -> str:
    """Which program the memory and the bytes are of."""
    if full:
        return "the program is the one that training runs, in full optimisation"
    return (
        f"the program is compiled at XLA's level {FAST}; training's own, with --full, needed less memory at the "
        "configs' batches (7 stages compared), but more at large ones: its largest batch was 7 to 10 % smaller, its "
        "steps took from 21 % less to 26 % more (2 configs compared); before "
        "filling the memory, plan that batch with --full"
    )


def measured_text(name: str, config: Options, found: Sequence[Measured]) -> str:
    """What was measured, with the hours of the config's steps."""
    device = jax.devices()[0]
    batch, kind = config.batch, f"{device.platform} ({device.device_kind})"
    lines = [f"{name} on this machine's {kind}, measured: batch {batch}, random parameters, blank images", ""]
    heads = ["stage", "steps", "ms a step", "images/s", "GiB a device", "compiled in", "timed"]
    rows = []
    for stage in found:
        row = [stage.stage, str(stage.steps), f"{1e3 * stage.seconds:.1f}", f"{batch / stage.seconds:.1f}"]
        rows.append([*row, f"{stage.memory / GIB:.2f}", duration(stage.compiling), f"{stage.runs} steps"])
    seconds = sum(stage.steps * stage.seconds for stage in found)
    steps = sum(stage.steps for stage in found)
    said = f"time: {duration(seconds)} for {steps} steps, if the input keeps up; the time of a step is the median"
    return "\n".join([*lines, *aligned([heads, *rows]), "", said])
