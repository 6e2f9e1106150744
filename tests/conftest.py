"""What tests of several folders share."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal

import pytest
from hybridc_runtime.module import Part

from tests.leaks import Leaks, live_blocks

# Threads of OpenMP that wait sleep, since other tests run beside.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def gpus() -> str:
    """Why no test can run on a GPU here; nothing if one can."""
    import ctypes

    for name in ("libcuda.so.1", "libamdhip64.so"):
        try:
            ctypes.CDLL(name)
            return ""
        except OSError:
            pass
    return "no GPU: neither libcuda.so.1 nor libamdhip64.so is there"


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As shells start what runs in the background; tests send it, to themselves and to processes of their own.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "gpu: runs kernels on a GPU; skipped where there is none")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = gpus()
    for item in items:
        if reason and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """What is there before the tests is no garbage; searching it again and again took a seventh of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def no_leaks():
    """At the end of all tests, modules that are gone have left no block behind."""
    leaks = Leaks()
    patch = pytest.MonkeyPatch()
    patch.setattr(Part, "__init__", leaks.watching(Part.__init__))
    yield
    patch.undo()
    gc.unfreeze()
    found = leaks.found()
    assert not found, "\n".join(found)


@pytest.fixture
def no_leak(mod):
    """The test leaves no block of the module behind."""
    gc.collect()
    before = live_blocks(mod)
    yield
    gc.collect()
    assert live_blocks(mod) == before


@pytest.fixture(scope="module", autouse=True)
def swept():
    """What outlives a module's tests is not searched for garbage by those of later ones, many of which collect."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", params=["cpu", "interpret"])
def device(request: pytest.FixtureRequest):
    """Each test of a module of tensor code runs on the CPU, and with every operator that can be one a GPU kernel, whose
    Triton source is interpreted; host code that reads memory of the device would read none."""
    if request.param == "cpu":
        yield request.param
        return
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    patch = pytest.MonkeyPatch()
    patch.setenv("HYB_PLACE", "all")
    patch.setenv("HYB_INTERPRET_APART", "1")
    patch.setenv("HYB_OPT", "0")
    patch.setenv("HYB_VERIFY", "0")
    yield request.param
    patch.undo()


@pytest.fixture(scope="module")
def each_pass_verified():
    """Every pass is to leave good Core, not only all of them together, which is what is asked elsewhere."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HYB_VERIFY", "1")
    yield
    patch.undo()


@pytest.fixture(scope="module")
def as_written():
    """LLVM leaves code as it is, for tests that are about something else than code."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HYB_OPT", "0")
    yield
    patch.undo()


@pytest.fixture(scope="module")
def unoptimised(as_written: None):
    """Nor is Core verified after each pass: such tests take a quarter of the time."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HYB_VERIFY", "0")
    yield
    patch.undo()
