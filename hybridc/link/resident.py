"""A compiler that stays: the process of `hybridc serve`, which keeps what it made of a program while that is edited.

Other processes of the same user ask it to put into the cache what they did not find there, and look again. So it need
not be right: where there is none, where it is busy or another version, and where what it did is not found, they compile
for themselves. It listens at a socket in the folder of the cache, which its user alone may write to.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hybridc.base import knobs
from hybridc.base.diagnostic import CompileError
from hybridc.base.made import cache_folder
from hybridc.link import cache

if TYPE_CHECKING:
    from multiprocessing.connection import Connection, Listener

LARGEST = 1 << 30
"""Bytes of memory more than it began with, beyond which it begins anew."""
Kinds = Mapping[str, Callable[..., list[str]]]
"""What can be asked for: what makes and keeps it, given the arguments; its result is what the user is to be told."""


class Request(NamedTuple):
    """`given` are the arguments of one of the `Kinds`; the rest is how the process that asks would make it itself."""

    kind: str
    given: tuple[Any, ...]
    folder: str
    variables: dict[str, str]
    compiler: str


def socket() -> Path:
    return cache_folder() / "serve"


def asked(kind: str, *given: Any) -> list[str] | None:
    """Let it make and keep something: the warnings that the user is to see. None: it did not.

    Raises:
        CompileError: the program has errors.
    """
    place = socket()
    if not place.exists():
        return None
    # It takes longer to import than to find that there is none.
    from multiprocessing.connection import Client

    with suppress(OSError, EOFError), Client(str(place), "AF_UNIX") as connection:
        connection.send(Request(kind, given, os.getcwd(), _variables(), cache.compiler_digest()))
        if connection.poll(knobs.patience()) and connection.recv():
            answer = connection.recv()
            if isinstance(answer, CompileError):
                raise answer
            return answer  # type: ignore[no-any-return]
    return None


def _variables() -> dict[str, str]:
    """Of the environment, those that decide what the compiler does."""
    return {name: value for name, value in os.environ.items() if name.startswith("HYB_")}


class Stale(Exception):
    """The process should begin anew: the compiler's sources are others now, or it has become large."""


class Busy(Exception):
    """Another process serves already."""


@contextmanager
def listening() -> Iterator[Listener]:
    """The socket, as long as it serves. Busy: somebody does. OSError: there can be no socket in this folder."""
    from multiprocessing.connection import Client, Listener

    place = socket()
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError), Client(str(place), "AF_UNIX"):
        raise Busy
    place.unlink(missing_ok=True)  # of one that was killed
    before = os.umask(0o177)
    try:
        listener = Listener(str(place), "AF_UNIX", backlog=16)
    finally:
        os.umask(before)
    with listener:
        yield listener


def serve(listener: Listener, kinds: Kinds, done: Callable[[Request, float], object]) -> None:
    """Answer one request after the other, until Stale; `done` is told of each that was carried out,
    and how many seconds it took."""
    before = memory()
    while True:
        connection = listener.accept()
        with suppress(OSError, EOFError), connection:  # whose other end may have gone
            request = connection.recv()
            current = request.compiler == cache.compiler_digest() == cache.digest_of_sources()
            connection.send(current)
            if not current:
                raise Stale
            began = time.perf_counter()
            _answer(connection, request, kinds)
            done(request, time.perf_counter() - began)
        if memory() > before + LARGEST:
            raise Stale


def memory() -> int:
    """Bytes that this process holds now, or has held at most where the system does not tell."""
    import resource  # which not every system has; it is of use to who serves alone

    # Linux counts what a process was started from as the most that it has held.
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _answer(connection: Connection, request: Request, kinds: Kinds) -> None:
    with _as_if_in(request):
        try:
            answer: object = kinds[request.kind](*request.given)
        except CompileError as e:
            answer = e
        except Exception:  # whoever asked will meet it too, and is who should see it
            answer = None
    connection.send(answer)


@contextmanager
def _as_if_in(request: Request) -> Iterator[None]:
    """The folder and the variables of who asks."""
    before = _variables()
    try:
        os.chdir(request.folder)
        _set_variables(request.variables)
        yield
    finally:
        _set_variables(before)


def _set_variables(given: Mapping[str, str]) -> None:
    for name in _variables():
        del os.environ[name]
    os.environ.update(given)
