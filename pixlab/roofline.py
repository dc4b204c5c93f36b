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
    gradients: float = 0.0  # bytes of those of all that is trained, in float32


ASSUMPTIONS = (
    "time is the longer of FLOPs / peak and bytes / bandwidth, then communication, nothing overlapping: an estimate "
    "that no TPU has checked, low as no chip keeps up these rates, high where bytes never leave the chip",
    "FLOPs are XLA's count before the step is split and fused, divided by the chips; float32 products count as "
    "bfloat16, in which TPUs multiply by default",
    "bytes are XLA's count for the compiled step, with what passes between operations without leaving the chip; with "
    "--accumulate all of them are taken once for every part",
    "communication is by rings over all links at the published rate: each of n chips that communicate sends "
    "2 (n - 1) / n of what they sum up, (n - 1) / n of what they gather or scatter",
    "other numbers of chips are not compiled again: as many as before share a copy of the parameters, all other groups "
    "grow with the chips; input is never waited for",
)
SINGLE = (
    "the program of a single copy of the parameters sums no gradients with other copies: more chips are taken to send "
    "one all-reduce of the float32 gradients of all that is trained, with --fsdp f of its f-th part on each chip"
)


def scaled(step: Step, compiled: int, chips: int, fsdp: int) -> Step:
    """A step compiled for `compiled` chips, with the groups that it would have on `chips`; `fsdp` divides both.

    Groups of `fsdp` chips stay: they share a copy of the parameters. All others grow with the chips. Where there are
    as many copies as chips in each, or one, size does not tell which is which: there gathers and scatters stay, sums
    grow. Steps of a single copy have no sum over copies, and get one of their gradients; of whole ones in each part
    of --accumulate, of split ones once, as programs of more copies have it.
    """
    ambiguous, groups = fsdp in (compiled, compiled // fsdp), []
    for each in step.collectives:
        before = each.group or compiled
        stays = before == fsdp and (each.kind in ("all-gather", "reduce-scatter") or not ambiguous)
        after = before if stays else max(1, before * chips // compiled)
        size = each.bytes * before // after if each.kind == "reduce-scatter" else each.bytes  # of a part of the whole
        groups.append(each._replace(bytes=size, group=after))
    if compiled == fsdp:
        groups.append(Collective("all-reduce", int(step.gradients / fsdp), 1, fsdp == 1, chips // fsdp))
    return step._replace(collectives=groups)


def sent(step: Step, chips: int) -> float:
    """Bytes that each of `chips` chips sends."""
    return sum(c.bytes * _share(c.kind, c.group or chips) * (step.loops if c.looped else 1) for c in step.collectives)


def _share(kind: str, group: int) -> float:
    """Bytes that each of a group sends in a ring, for a byte of the result."""
    share = {
        "all-reduce": 2 * (group - 1) / group,
        "all-gather": (group - 1) / group,
        "reduce-scatter": group - 1,  # of which the result is one part
    }
    return share.get(kind, 1)


def parts(step: Step, chip: Chip, chips: int) -> dict[str, float]:
    """Seconds of a step by what they go into."""
    communication = sent(step, chips) / chip.links
    return {"FLOPs": step.flops / chip.flops, "memory": step.bytes / chip.bandwidth, "chips": communication}


def seconds(step: Step, chip: Chip, chips: int) -> float:
    """Seconds of a step on `chips` chips."""
    each = parts(step, chip, chips)
    return max(each["FLOPs"], each["memory"]) + each["chips"]


def total(steps: Sequence[Step], chip: Chip, chips: int) -> float:
    """Seconds of all steps of all stages."""
    return sum(step.steps * seconds(step, chip, chips) for step in steps)


def largest(points: Sequence[tuple[int, float]], memory: float) -> int:
    """Images that fit into `memory`, by the line through two (images, bytes); 0 if a single point does not fit."""
    if len(points) == 1:
        return points[0][0] if points[0][1] <= memory else 0
    (few, low), (many, high) = sorted(points)
    return max(0, int(few + (memory - low) * (many - few) / (high - low))) if high > low else many
