"""Metrics whose scores of an image NumPy makes on the host, outside of the compiled program."""

from __future__ import annotations

from collections.abc import Callable

from pixlab.core import Batch, Metric, Tree, add


def host_metric(
    given: Callable[[Batch, Batch], Tree], score: Callable[[Tree], Tree], result: Callable[[Tree], dict[str, float]]
) -> Metric:
    """A metric that adds up `score` of what `given` takes of each prediction and example, and makes `result` of it.

    `given` is compiled with the network, `score` gets its arrays in float64. (A callback inside the program that
    scores a batch can hang where several devices share the host's threads.)
    """

    def scored(total: Tree) -> Tree:
        return score(total["given"]) if "given" in total else total

    return Metric(
        lambda prediction, example: {"given": given(prediction, example)},
        lambda total: result(scored(total)),
        lambda total, part: add(scored(total), scored(part)),
    )
