"""NumPy inside compiled programs, also where there is one thread."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.nn.on_host import on_host


def sort(x, scale):
    assert isinstance(x, np.ndarray) and x.flags.writeable
    return (np.sort(x, axis=0) * scale, np.float32(x.sum()))


def sorted_on_host(x, scale):
    return on_host(sort, (jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct((), jnp.float32)), x, scale)


@pytest.mark.parametrize("shape", [(3, 4), (300, 200)])  # one piece, and four
def test_it_is_the_function(shape):
    x = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    one = jax.jit(sorted_on_host)(x[0], jnp.float32(2))
    np.testing.assert_array_equal(one[0], 2 * np.sort(x[0], axis=0))
    assert float(one[1]) == pytest.approx(x[0].sum(), rel=1e-6)
    each = jax.jit(jax.vmap(sorted_on_host))(x, jnp.float32([2, 3]))
    np.testing.assert_array_equal(each[0], np.float32([2, 3])[:, None, None] * np.sort(x, axis=1))


def test_it_has_no_gradient():
    slope = jax.jit(jax.grad(lambda x: (x * sorted_on_host(x, jnp.float32(1))[0]).sum()))(jnp.float32([3, 1, 2]))
    np.testing.assert_array_equal(slope, [1, 2, 3])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that can keep a program on one core")
def test_one_thread_does_not_wait_for_itself():
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, jax.numpy as jnp, numpy as np
from pixlab.nn.on_host import on_host
f = jax.jit(lambda x: on_host(lambda x: (x.sum(1),), (jax.ShapeDtypeStruct((999,), x.dtype),), x)[0])
slow = jax.jit(lambda x: jax.lax.fori_loop(0, 9, lambda _, y: jnp.sin(x @ y), x))
x = jnp.ones((999, 999))
f(x).block_until_ready()
print(np.asarray(f(slow(x))).shape)  # sent off while its input is on its way
"""
    only = {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=only, capture_output=True, text=True, timeout=120)
    assert done.stdout == "(999,)\n", done.stderr
