"""What a compiled program does: its collectives, FLOPs and memory, read from XLA."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_LINE = re.compile(rf"= (.+?) ({'|'.join(KINDS)})(-start)?\(")
_SCATTER = re.compile(r"= (.+?) fusion\(.*calls=%all-reduce-scatter")  # what a reduce-scatter is on a TPU
_COMPUTATION = re.compile(r"^(?:ENTRY )?%([\w.-]+) \(.*\{$")


class Collective(NamedTuple):
    """A communication between devices and the bytes of its result on each."""

    kind: str
    bytes: int
    arrays: int
    looped: bool = False  # in the body of a loop, so as often as that runs


def collectives(text: str) -> list[Collective]:
    """The collectives of a compiled program's text (`compiled.as_text()`), in its order."""
    bodies, computation, found = set(re.findall(r" while\(.*body=%([\w.-]+)", text)), "", []
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            computation = header[1]
        elif scatter := _SCATTER.search(line):
            found.append(_collective("reduce-scatter", _ARRAY.findall(scatter[1]), computation in bodies))
        elif (match := _LINE.search(line)) and not computation.startswith("all-reduce-scatter"):
            shapes, kind, begins = match.groups()
            arrays = _ARRAY.findall(shapes)
            if kind == "all-gather" and begins:  # gives its operands too, before its results
                arrays = arrays[len(arrays) // 2 :]
            found.append(_collective(kind, arrays, computation in bodies))
    return found


def _collective(kind: str, arrays: list[tuple[str, str]], looped: bool) -> Collective:
    return Collective(kind, sum(map(_bytes, arrays)), len(arrays), looped)


def _bytes(array: tuple[str, str]) -> int:
    kind, shape = array
    return BYTES.get(kind, 1) * math.prod(int(n) for n in shape.split(",") if n)


class Cost(NamedTuple):
    """What a program needs on each device."""

    flops: float
    bytes: float  # read from and written to memory
    memory: int  # at the peak: arguments, outputs, temporaries and code


def cost(compiled: Any) -> Cost:
    """The cost of a `jax.stages.Compiled`, as XLA counts it."""
    counted, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    counted = counted[0] if isinstance(counted, list) else counted
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    peak = held + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    return Cost(counted.get("flops", 0.0), counted.get("bytes accessed", 0.0), peak)
