"""Strict settings for every test: several devices, shapes checked by beartype, no silent broadcasting."""

import os
import pathlib

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jaxtyping

jaxtyping.install_import_hook("pixlab", "strict.checked")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data"


def pytest_terminal_summary(terminalreporter):
    """Write the tests that were skipped to the file $SKIPPED, for `pytest @FILE` once what they need is installed."""
    if path := os.environ.get("SKIPPED"):
        tests = dict.fromkeys(report.nodeid for report in terminalreporter.stats.get("skipped", ()))
        pathlib.Path(path).write_text("".join(f"{test}\n" for test in tests))


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real benchmark images; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real benchmark images in {SHARED.name} beside the checkout")
    return SHARED
