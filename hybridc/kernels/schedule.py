"""When each node of a kernel graph is computed, and which values are kept in memory between two loops.

A kernel runs in *segments*, between which stand its products: a product needs whole rows of its left side, and gives
whole rows. Within a segment, loops over columns follow each other by *depth*: what needs a finished reduction, or
columns of another place, comes one loop later. A value that a later loop needs again is computed again if that is
cheap, else kept in a row of scratch memory (or in the result that it is anyway).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hybridc.kernels.causal import limited
from hybridc.kernels.graph import Graph, Node

Time = tuple[int, int]
CHEAP = 3
"""Arithmetic operators that are computed again rather than kept."""


@dataclass(frozen=True)
class Action:
    """What a loop does in each turn: `store` a result (number), `keep` a value in its row of scratch memory, `piece` of
    a concat (at columns from the sizes of the pieces before), one step of a `reduce`, or of a `total` (the number of a
    result too)."""

    kind: str
    node: Node
    number: int = 0
    target: Node | None = None

    @property
    def value(self) -> Node:
        """What it needs at a column."""
        return self.node.args[0] if self.kind in ("reduce", "total") else self.node


@dataclass
class Loop:
    space: int
    actions: list[Action] = field(default_factory=list)


@dataclass
class Segment:
    products: list[Node] = field(default_factory=list)
    """Done first, in order."""
    loops: dict[Time, dict[int, Loop]] = field(default_factory=dict)
    rows: list[Action] = field(default_factory=list)
    """Results that are one value for a row."""


@dataclass
class Schedule:
    graph: Graph
    segments: list[Segment]
    ready: dict[Node, Time]
    """From when on a node can be used."""
    kept: dict[Node, int]
    """Nodes that lie in memory, by number of their row of scratch memory; negative: where result -n - 1 lies."""
    across: set[Node]
    """Values of rows that a later segment needs."""
    limited: int | None = None
    """A space of which a row needs the columns up to its own number only (causal.py)."""

    @property
    def flat(self) -> bool:
        """One row whose columns can be computed one by one."""
        graph = self.graph
        return (
            all(graph.axes.static[graph.axes.find(c)] == 1 for c in graph.rows) and len(graph.spaces) == 1
            and not self.kept
            and all(n.kind in ("load", "scalar", "iota", "map") and n.space in (0, None) for n in graph.nodes)
            and all(n.space == 0 for n in graph.outputs))

    def readable(self, node: Node, at: Time) -> bool:
        """Does its row lie in memory at that time?"""
        return node.kind in ("product", "concat") or node in self.kept and self.ready[node] < at

    def becomes(self, product: Node) -> int | None:
        """The result whose elements are computed from those of a product at the same places, and from no others, in the
        last loop that reads it: the product may lie there until then."""
        if product.space == self.limited or any(
                n.kind in ("slice", "product") and n.args[0] is product for n in self.graph.nodes):
            return None
        number = None
        for segment in self.segments:
            for at in sorted(segment.loops):
                for loop in segment.loops[at].values():
                    if product in self.computed(loop, at):
                        number = next((a.number for a in loop.actions if self._over(a, product, at)), None)
        return number

    def _over(self, action: Action, product: Node, at: Time) -> bool:
        node, seen = action.node, set[Node]()
        self._computed(node, at, seen)
        return action.kind == "store" and product in seen and node.type == product.type

    def busiest(self) -> dict[Node, Time]:
        """For each tensor that is read, when the loop runs, of those that read it, that computes the most."""
        found: dict[Node, tuple[int, Time]] = {}
        for segment in self.segments:
            for at in sorted(segment.loops):
                seen = set[Node]().union(*(self.computed(loop, at) for loop in segment.loops[at].values()))
                work = sum(n.costly for n in seen)
                for node in seen:
                    if node.kind == "load" and (node not in found or work > found[node][0]):
                        found[node] = work, at
        return {node: at for node, (_, at) in found.items()}

    def computed(self, loop: Loop, at: Time) -> set[Node]:
        """What a loop reads and computes for its columns at that time."""
        seen: set[Node] = set()
        for action in loop.actions:
            self._computed(action.value, at, seen)
        return seen

    def _computed(self, node: Node, at: Time, seen: set[Node]) -> None:
        """What is read and computed for a node's columns at that time."""
        if node.space is None or node in seen:
            return
        seen.add(node)
        if node.kind == "slice":
            seen.add(node.args[0])
        elif not self.readable(node, at):
            for a in node.args:
                self._computed(a, at, seen)


def schedule(graph: Graph) -> Schedule:
    return _Scheduler(graph).run()


class _Scheduler:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.ready: dict[Node, Time] = {}
        self.keep: dict[Node, None] = {}

    def run(self) -> Schedule:
        for node in self.graph.nodes:
            self.ready[node] = self.time(node)
        outs = {n: i for i, n in reversed(list(enumerate(self.graph.outputs)))}
        while True:
            before = len(self.keep)
            self.segments = [Segment() for _ in range(1 + max(t[0] for t in self.ready.values()))]
            self.fill(outs)
            if len(self.keep) == before:
                break
        plan = Schedule(self.graph, self.segments, self.ready, dict.fromkeys(self.keep, 0), self.across(),
                        limited(self.graph))
        places = {n: i for n, i in outs.items() if n.kind != "concat"}
        for product in self.graph.of_kind("product"):
            number = plan.becomes(product)
            if number is not None and number not in (places[n] for n in places if n.kind == "product"):
                places.setdefault(product, number)
        rows = 0
        for n in self.keep:
            plan.kept[n] = -places[n] - 1 if n in places else rows
            rows += n not in places
        return plan

    def time(self, node: Node) -> Time:
        latest = max((self.ready[a] for a in node.args), default=(0, 0))
        match node.kind:
            case "reduce":
                return latest[0], latest[1] + 1
            case "slice":
                (source,) = node.args
                if source.kind in ("load", "product"):
                    return latest
                self.keep[source] = None
                return latest[0], latest[1] + 1 if source.kind != "concat" else latest[1]
            case "concat":
                self.keep[node] = None
                return latest[0], latest[1] + 1
            case "product":
                if node.args[0].kind != "load":
                    self.keep[node.args[0]] = None
                self.keep[node] = None
                return latest[0] + 1, 0
        return latest

    # ---- loops
    def loop(self, at: Time, space: int) -> Loop:
        loops = self.segments[at[0]].loops.setdefault(at, {})
        return loops.setdefault(space, Loop(space))

    def act(self, at: Time, space: int, action: Action) -> None:
        actions = self.loop(at, space).actions
        if action not in actions:
            actions.append(action)

    def fill(self, outs: dict[Node, int]) -> None:
        for node in self.graph.nodes:
            at = self.ready[node]
            match node.kind:
                case "reduce":
                    (x,) = node.args
                    assert x.space is not None
                    self.act(self.ready[x], x.space, Action("reduce", node))
                    self.visit(x, self.ready[x])
                case "concat":
                    start = max(self.ready[a] for a in node.args)
                    for i, a in enumerate(node.args):
                        assert a.space is not None
                        self.act(start, a.space, Action("piece", a, i, node))
                        self.visit(a, start)
                case "product":
                    self.segments[at[0]].products.append(node)
        for i, node in enumerate(self.graph.outputs):
            at = self.ready[node]
            action = Action("total" if node.kind == "total" else "store", node, i)
            if node.space is None:
                self.segments[at[0]].rows.append(action)
                self.visit(action.value, at)
            elif node.kind != "product" or outs[node] != i:
                self.act(at, node.space, action)
                self.visit(action.value, at)
        for node in list(self.keep):
            if node.kind not in ("product", "concat") and node not in outs:
                assert node.space is not None
                self.act(self.ready[node], node.space, Action("keep", node))
                self.visit(node, self.ready[node])

    def visit(self, node: Node, at: Time) -> None:
        """The node is needed at that time: keep what was costly to compute before."""
        if node.space is None or node.kind in ("load", "scalar", "product", "concat", "slice"):
            return
        if self.ready[node] < at:
            if node in self.keep:
                return
            if self.cost(node) > CHEAP:
                self.keep[node] = None
                return
        for a in node.args:
            self.visit(a, at)

    def cost(self, node: Node) -> int:
        """Operators to compute it at one column; many for a costly one."""
        if node.kind != "map" or node.space is None or node in self.keep:
            return 0
        own = 100 if node.costly else 1
        return own + sum(self.cost(a) for a in node.args)

    def across(self) -> set[Node]:
        """Values of rows that are computed in loops and used in a later segment."""
        found: set[Node] = set()
        for node in self.graph.nodes:
            for a in node.args:
                if a.kind == "reduce" and self.ready[a][0] < self.ready[node][0]:
                    found.add(a)
        # A value of a row that stands between is computed again from the reductions.
        for node in self.graph.nodes:
            if node.kind == "reduce" and len(self.segments) > self.ready[node][0] + 1:
                found.add(node)
        return found
