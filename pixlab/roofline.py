"""How long a step takes, about: the slower of arithmetic and memory, then communication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pixlab.chips import Chip
from pixlab.hlo import Collective


class Step(NamedTuple):
    """What a step of one stage needs."""

    stage: str
    steps: int  # of the stage
    flops: float  # on each chip
    bytes: float  # read from and written to memory, on each chip
    memory: float  # held at the peak, on each chip
    collectives: Sequence[Collective] = ()
    loops: int = 1  # how often a step goes through its loop: the parts of --accumulate


ASSUMPTIONS = (
    "time is the longer of FLOPs / peak and bytes / bandwidth, then communication, nothing overlapping: an estimate "
    "that no TPU has checked, low as no chip keeps up these rates, high where bytes never leave the chip",
    "FLOPs are XLA's count before the step is split and fused, divided by the chips; float32 products count as "
    "bfloat16, in which TPUs multiply by default",
    "bytes are XLA's count for the compiled step, with what passes between operations without leaving the chip; with "
    "--accumulate all of them are taken once for every part",
    "communication is by rings over all links at the published rate: n chips send 2 (n - 1) / n of what they sum up, "
    "(f - 1) / f of what --fsdp f gathers or scatters",
    "other numbers of chips are not compiled again; input is never waited for",
)


def sent(step: Step, chips: int, fsdp: int) -> float:
    """Bytes that each of `chips` chips sends; parameters are gathered and scattered among `fsdp` of them."""
    share = {
        "all-reduce": 2 * (chips - 1) / chips,
        "all-gather": (fsdp - 1) / fsdp,
        "reduce-scatter": fsdp - 1,  # of which the result is one part
    }
    return sum(c.bytes * share.get(c.kind, 1) * (step.loops if c.looped else 1) for c in step.collectives)


def parts(step: Step, chip: Chip, chips: int, fsdp: int = 1) -> dict[str, float]:
    """Seconds of a step by what they go into."""
    communication = sent(step, chips, fsdp) / chip.links
    return {"FLOPs": step.flops / chip.flops, "memory": step.bytes / chip.bandwidth, "chips": communication}


def seconds(step: Step, chip: Chip, chips: int, fsdp: int = 1) -> float:
    """Seconds of a step on `chips` chips."""
    each = parts(step, chip, chips, fsdp)
    return max(each["FLOPs"], each["memory"]) + each["chips"]


def total(steps: Sequence[Step], chip: Chip, chips: int, fsdp: int = 1) -> float:
    """Seconds of all steps of all stages."""
    return sum(step.steps * seconds(step, chip, chips, fsdp) for step in steps)


def largest(points: Sequence[tuple[int, float]], memory: float) -> int:
    """Images that fit into `memory`, by the line through two (images, bytes); 0 if a single point does not fit."""
    if len(points) == 1:
        return points[0][0] if points[0][1] <= memory else 0
    (few, low), (many, high) = sorted(points)
    return max(0, int(few + (memory - low) * (many - few) / (high - low))) if high > low else many
