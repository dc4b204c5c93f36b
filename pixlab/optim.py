"""Optimisers as vision papers describe them: a rate and a decay for each kind of layer (the rest is optax)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import optax

from pixlab.errors import UserError


class Rule(NamedTuple):
    """The parameters whose path, such as `scale2/depth/conv2/kernel`, matches `pattern` learn at `rate`."""

    pattern: str
    rate: float
    decay: float = 0.0  # weight decay as in cuda-convnet and Caffe: decay * w is added to the gradient


def sgd_by_layer(rules: Sequence[Rule], *, lr: optax.ScalarOrSchedule = 1.0, momentum: float = 0.9):
    """SGD with momentum where each parameter follows the first rule that matches its path, at `lr` times its rate.

    v <- momentum v + (gradient + decay w); w <- w - lr rate v. Raises UserError for a parameter that no rule matches.
    """

    def sgd(rule: Rule) -> optax.GradientTransformation:
        parts = [optax.add_decayed_weights(rule.decay)] if rule.decay else []
        return optax.chain(*parts, optax.sgd(lr, momentum=momentum), optax.scale(rule.rate))

    def label(path: tuple, _: Any) -> str:
        name = _name(path)
        for rule in rules:
            if re.search(rule.pattern, name):
                return rule.pattern
        raise UserError(f"no learning rate is given for the parameter {name}")

    transforms: Mapping[str, optax.GradientTransformation] = {rule.pattern: sgd(rule) for rule in rules}
    return optax.partition(transforms, lambda params: jax.tree_util.tree_map_with_path(label, params))


def scale_by_layer(rates: Mapping[str, float]) -> optax.GradientTransformation:
    """Updates times the rate of the first pattern that matches the parameter's path (without its network), else 1."""

    def rate(path: tuple) -> float:
        name = _name(path[1:])
        return next((factor for pattern, factor in rates.items() if re.search(pattern, name)), 1.0)

    def scaled(updates: Any, _: Any = None) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, u: u * rate(path), updates)

    return optax.stateless(scaled)


def _name(path: tuple) -> str:
    return "/".join(str(key.key) for key in path)
