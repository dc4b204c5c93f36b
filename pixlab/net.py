"""A named linen module as two pure functions."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pixlab.core import Nets


def _cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


@dataclasses.dataclass(frozen=True)
class Net:
    """A linen module under a name in `State.params`.

    `shapes` are the shapes of its inputs for one image (with batch axis 1), used only to make parameters; None stands
    for an input that is left out. Parameters
    are float32; `dtype` is the type that the module computes in, its outputs are float32 again.
    """

    name: str
    module: nn.Module
    shapes: tuple[tuple[int, ...] | None, ...]
    dtype: Any = jnp.float32

    def init(self, key: jax.Array) -> tuple[Nets, Nets]:
        """Fresh (params, carry), each under this network's name."""
        inputs = [None if shape is None else jnp.zeros(shape, self.dtype) for shape in self.shapes]
        variables = dict(jax.jit(self.module.init)({"params": key, "dropout": key}, *inputs))
        params = variables.pop("params", {})
        return {self.name: params}, {self.name: variables} if variables else {}

    def __call__(
        self, params: Nets, carry: Nets, *inputs: jax.Array | None, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, Nets]:
        """(outputs, new carry). With `train`, dropout draws from `key` and batch statistics move."""
        statistics = carry.get(self.name, {})
        variables = {"params": _cast(params[self.name], self.dtype), **statistics}
        inputs = _cast(inputs, self.dtype)
        if not train:
            return _cast(self.module.apply(variables, *inputs), jnp.float32), {}
        outputs, changed = self.module.apply(
            variables, *inputs, train=True, rngs={"dropout": key}, mutable=list(statistics)
        )
        return _cast(outputs, jnp.float32), {self.name: dict(changed)} if statistics else {}


def init_all(*nets: Net):
    """`Recipe.init` for several networks: key -> (params, carry)."""

    def init(key: jax.Array) -> tuple[Nets, Nets]:
        params, carry = {}, {}
        for index, net in enumerate(nets):
            p, c = net.init(jax.random.fold_in(key, index))
            params |= p
            carry |= c
        return params, carry

    return init
