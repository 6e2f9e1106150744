"""Graphs: building and changing them, reading nodes and edges, searching."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.base import Production
from tests.fuzz.containers import Containers
from tests.fuzz.types import BOOL, INT, STR, U8, T, list_of, option, tuple_of

MOST_NODES = 6
GRAPHS = tuple(T("graph", pair) for pair in ((INT, INT), (STR, INT), (INT, STR), (INT, U8), (list_of(INT), BOOL)))


class Graphs(Containers):
    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found = super().productions_of(t, depth)
        if t.kind == "graph":
            found.append((2, lambda d: f"{t}()"))
        if depth > 0:
            for v in self.scope:
                if v.type.kind == "graph":
                    found += self.graph_reads(v.name, v.type, t)
        return found

    def graph_reads(self, g: str, of: T, t: T) -> list[tuple[float, Production]]:
        node, edge = of.args
        found: list[tuple[float, Production]] = []
        if t == node:
            found.append((2, lambda d: self.at_node(g, f"{g}.node", self.expr(t, d))))
        if t == option(edge):
            found.append((2, lambda d: self.at_edge(g, t, d)))
        if t == list_of(INT):
            found += [(1.5, lambda d: self.at_node(g, f"{g}.neighbors", f"{t}()")), (1, lambda d: self.at_node(g, "bfs", f"{t}()", f"{g}, "))]
        if t == list_of(tuple_of(INT, edge)):
            found.append((2, lambda d: self.at_node(g, f"{g}.edges", f"{t}()")))
        return found

    def at_node(self, g: str, f: str, otherwise: str, first: str = "") -> str:
        """A call with a node that is there; `otherwise` where there is none."""
        if self.risky():
            return f"{f}({first}{self.expr(INT, 1)})"
        return f"({f}({first}{self.a_node(g)}) if len({g}) > 0 else {otherwise})"

    def a_node(self, g: str) -> str:
        return self.rng.choice(("0", f"{self.expr(INT, 1)} % len({g})", f"len({g}) - 1"))

    def at_edge(self, g: str, t: T, d: int) -> str:
        u, v = self.a_node(g), self.a_node(g)
        return f"({g}.edge({u}, {v}) if len({g}) > 0 else {self.typed_value(t, self.expr(t, d))})"

    def statements(self) -> list[tuple[float, Callable[[], None]]]:
        found = super().statements()
        if any(v.type.kind == "graph" for v in self.scope):
            found.append((4, self.change_graph))
        return found

    def change_graph(self) -> None:
        found = self.mutables(("graph",))
        if not found:
            return self.let()
        g, t = self.rng.choice(found)
        node, edge = t.args
        e = self.expr
        match self.rng.randint(0, 5):
            case 0 | 1:
                self.line(f"if len({g}) < {MOST_NODES}:")
                self.line(f"    {g}.add_node({self.bounded(node)})")
            case 2 if self.risky():
                self.line(f"{g}.add_edge({e(INT, 1)}, {e(INT, 1)}, {self.bounded(edge)})")
            case 3:
                self.line(f"if len({g}) > 0:")
                self.line(f"    {g}.set_node({self.a_node(g)}, {self.bounded(node)})")
            case _:
                self.line(f"if len({g}) > 0:")
                self.line(f"    {g}.add_edge({self.a_node(g)}, {self.a_node(g)}, {self.bounded(edge)})")
