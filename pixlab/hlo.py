"""What a compiled program does: its collectives, traffic and memory, read from XLA."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_LINE = re.compile(rf"= (.+?) ({'|'.join(KINDS)})(-start)?\(")
_SCATTER = re.compile(r"= (.+?) fusion\(.*calls=%(all-reduce-scatter[\w.-]*)")  # what a reduce-scatter is on a TPU
_PIECE = re.compile(r"channel_id=(\d+),.*chain_id=")  # of a collective that a TPU does in pieces beside other work
_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_IOTA = re.compile(r"replica_groups=\[\d+,(\d+)\]<=")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%([\w.-]+) \(.*\{$")


class Collective(NamedTuple):
    """A communication between devices and the bytes of its result on each."""

    kind: str
    bytes: int
    arrays: int
    looped: bool = False  # in the body of a loop, so as often as that runs
    group: int = 0  # devices that communicate with one another; 0: all


def collectives(text: str) -> list[Collective]:
    """The collectives of a compiled program's text (`compiled.as_text()`), in its order."""
    bodies, computation, found = set(re.findall(r" while\(.*body=%([\w.-]+)", text)), "", []
    scattering, pieces = {}, set()  # the groups of fusions that scatter; channels of which a piece was seen
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            computation = header[1]
        elif scatter := _SCATTER.search(line):
            arrays, group = _ARRAY.findall(scatter[1]), scattering.get(scatter[2], 0)
            found.append(_collective("reduce-scatter", arrays, computation in bodies, group))
        elif match := _LINE.search(line):
            shapes, kind, begins = match.groups()
            piece = _PIECE.search(line)
            if computation.startswith("all-reduce-scatter"):
                scattering[computation] = group_size(line)
            elif not piece or piece[1] not in pieces:
                arrays = _ARRAY.findall(shapes)
                arrays = _results(arrays) if begins and kind != "all-reduce" else arrays
                found.append(_collective(kind, arrays, computation in bodies, group_size(line)))
                pieces |= {piece[1]} if piece else set()
    return found


def group_size(line: str) -> int:
    """Devices in one replica group of a collective's line; 0, which stands for all, where the line has none.

    XLA writes groups in three ways: {{0,1},{2,3}}; [2,4]<=[8], two of four, with or without a transposition; and
    mesh['a'=2,'b'=4] {'b'}, one along each of the axes in braces, of which 'b':(2)2 is a part of two.
    """
    if listed := _LISTED.search(line):
        return listed[1].count(",") + 1
    if iota := _IOTA.search(line):
        return int(iota[1])
    if mesh := _MESH.search(line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    return 0


def _results(arrays: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What a collective that begins will give: its line has the operands before and may have counters after."""
    data = [array for array in arrays if array != ("u32", "")] or arrays[:2]
    return data[len(data) // 2 :]


def _collective(kind: str, arrays: list[tuple[str, str]], looped: bool, group: int) -> Collective:
    return Collective(kind, sum(map(_bytes, arrays)), len(arrays), looped, group)


def _bytes(array: tuple[str, str]) -> int:
    kind, shape = array
    return BYTES.get(kind, 1) * math.prod(int(n) for n in shape.split(",") if n)


class Cost(NamedTuple):
    """What a program needs on each device."""

    bytes: float  # read from and written to memory
    memory: int  # at the peak: arguments, outputs, temporaries and code


def cost(compiled: Any) -> Cost:
    """The cost of a `jax.stages.Compiled`, as XLA counts it."""
    counted, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    counted = counted[0] if isinstance(counted, list) else counted
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    peak = held + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    return Cost(counted.get("bytes accessed", 0.0), peak)
