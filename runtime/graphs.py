"""Runs of launches with no host decision in between, which a GPU takes as one graph.

A launcher keeps launches until something has to wait for them. A sequence that comes a second time, the same kernels
over as many programs, becomes a graph: a chain of kernel nodes, instantiated once. When it comes again only the
parameters that changed, pointers for the most part, are set anew, and all of it is one launch. (The nodes are added one
by one, not by capture of a stream: a captured graph does not say which node is which launch.)
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

LEAST = 2
"""Launches that are worth a graph."""
LONGEST = 64
"""Launches that are kept back: a GPU should not wait for its work for long."""
KEPT = 64
"""Graphs of a launcher; the one that was not used for longest makes room."""


class NodeParams(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS, its first version."""

    _fields_ = [
        ("function", ctypes.c_void_p), *((f"grid{d}", ctypes.c_uint) for d in "xyz"),
        *((f"block{d}", ctypes.c_uint) for d in "xyz"), ("shared", ctypes.c_uint), ("params", ctypes.c_void_p),
        ("extra", ctypes.c_void_p),
    ]  # fmt: skip


@dataclass
class Launched:
    """One launch: `places` holds the parameters, 8 bytes each."""

    kernel: int
    variant: str
    function: Any
    programs: int
    threads: int
    shared: int
    places: bytes

    @property
    def key(self) -> tuple[int, str, int]:
        return self.kernel, self.variant, self.programs

    def pointers(self) -> tuple[Any, Any]:
        """What the driver takes as parameters: an array of pointers, and what it points to."""
        held = ctypes.create_string_buffer(self.places, len(self.places))
        first = ctypes.addressof(held)
        return (ctypes.c_void_p * (len(self.places) // 8))(*range(first, first + len(self.places), 8)), held


@dataclass
class Graph:
    executable: Any
    nodes: list[Any]
    places: list[bytes]
    """What each node's parameters are set to."""


@dataclass
class Graphs:
    """The graphs of one launcher. `call` calls the driver."""

    call: Callable[..., None]
    found: OrderedDict[tuple[object, ...], Graph | None] = field(default_factory=OrderedDict)
    """By sequence; None for one that came once."""

    def run(self, launches: Sequence[Launched], stream: Any) -> bool:
        """Run them as a graph, unless the sequence is new."""
        key = tuple(launch.key for launch in launches)
        if len(launches) < LEAST:
            return False
        if key not in self.found:
            self.found[key] = None
            while len(self.found) > KEPT:
                _, old = self.found.popitem(last=False)
                if old is not None:
                    self.call("graph_destroy", old.executable)
            return False
        self.found.move_to_end(key)
        graph = self.found[key]
        if graph is None:
            graph = self.found[key] = self.made(launches)
        for i, launch in enumerate(launches):
            if graph.places[i] != launch.places:
                params, held = self.params(launch)
                self.call("graph_update", graph.executable, graph.nodes[i], ctypes.byref(params))
                del held
                graph.places[i] = launch.places
        self.call("graph_launch", graph.executable, stream)
        return True

    def made(self, launches: Sequence[Launched]) -> Graph:
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("graph", ctypes.byref(graph), 0)
        nodes: list[Any] = []
        for launch in launches:
            node, before = ctypes.c_void_p(), (ctypes.c_void_p * 1)(*(n.value for n in nodes[-1:]))
            params, held = self.params(launch)
            self.call("graph_add", ctypes.byref(node), graph, before, ctypes.c_size_t(len(nodes[-1:])),
                      ctypes.byref(params))
            del held
            nodes.append(node)
        self.call("graph_instantiate", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        return Graph(executable, nodes, [launch.places for launch in launches])

    def params(self, launch: Launched) -> tuple[NodeParams, Any]:
        """A node's parameters, and what has to live as long as they are used; the driver copies them."""
        array, held = launch.pointers()
        made = NodeParams(launch.function, launch.programs, 1, 1, launch.threads, 1, 1, launch.shared,
                          ctypes.addressof(array), None)
        return made, (array, held)


__all__ = ["KEPT", "LEAST", "LONGEST", "Graphs", "Launched", "NodeParams"]
