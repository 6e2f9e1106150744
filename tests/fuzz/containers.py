"""Tuples, options, lists, maps, sets, heaps and deques: making, reading, changing, iterating them."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.base import Production, Var
from tests.fuzz.statements import Statements, hash_of
from tests.fuzz.types import BOOL, FLOAT_KINDS, INT, REALS, STR, T, fn_of, list_of, option, tuple_of

CONTAINERS = ("list", "map", "set", "heap", "deque")


class Containers(Statements):
    # ---- making
    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found = super().productions_of(t, depth)
        e = self.expr
        match t.kind:
            case "tuple":
                found.append((2, lambda d: "(" + ", ".join(e(a, max(d, 0)) for a in t.args) + ("," if len(t.args) == 1 else "") + ")"))
            case "option":
                found.append((1, lambda d: self.option_of(t, "none")))
                found.append((2, lambda d: self.option_of(t, e(t.args[0], max(d, 0)))))
                if depth > 0:
                    found += self.options(t)
            case "list":
                found.append((2, lambda d: self.items(t, d)))
                if depth > 0:
                    found += self.lists(t)
            case "map":
                found.append((2, lambda d: self.entries(t, d)))
            case "set":
                found.append((2, lambda d: self.elements(t, d)))
                if depth > 0:
                    found.append((2, lambda d: f"({e(t, d)} {self.rng.choice('|&-^')} {e(t, d)})"))
                    found.append((1, lambda d: self.comprehension(t.args[0], d, "{", "}")))
            case "heap" | "deque":
                found.append((2, lambda d: f"{t}()"))
        if depth > 0:
            found += self.reads(t)
            if t == INT:
                found += [(2, lambda d: self.length(d)), (1, lambda d: self.reduced(d))]
            if t == BOOL:
                found += [(1.5, lambda d: self.membership(d)), (1, lambda d: self.equality(d))]
        return found

    def option_of(self, t: T, value: str) -> str:
        """With its type, where nothing around gives it."""
        return value if value != "none" else self.typed_value(t, "none")

    def typed_value(self, t: T, value: str) -> str:
        """A value that needs its type: by a function that says it."""
        name = f"as_{self.prefix}_{hash_of(str(t)) % 10**8}"
        decl = f"fn {name}(x: {t}) -> {t}:\n    return x"
        if decl not in self.decls:
            self.decls.insert(0, decl)
        return f"{name}({value})"

    def firm(self, t: T, d: int) -> str:
        """An expression whose type does not depend on what is asked for."""
        text = self.expr(t, d)
        open_ = any(p.kind in ("option", "tuple", *FLOAT_KINDS, "fn") for p in self.types.parts(t))
        return self.typed_value(t, text) if open_ else text

    def items(self, t: T, d: int) -> str:
        n = min(self.rng.choice((0, 1, 2, 3, 4)), self.limits.items)
        if n == 0:
            return f"{t}()"
        return "[" + ", ".join(self.expr(t.args[0], max(d - 1, 0)) for _ in range(n)) + "]"

    def entries(self, t: T, d: int) -> str:
        n = min(self.rng.choice((0, 1, 2, 3)), self.limits.items)
        if n == 0:
            return f"{t}()"
        key, value = t.args
        return "{" + ", ".join(f"{self.expr(key, max(d - 1, 0))}: {self.expr(value, max(d - 1, 0))}" for _ in range(n)) + "}"

    def elements(self, t: T, d: int) -> str:
        n = min(self.rng.choice((0, 1, 2, 3)), self.limits.items)
        if n == 0:
            return f"{t}()"
        return "{" + ", ".join(self.expr(t.args[0], max(d - 1, 0)) for _ in range(n)) + "}"

    def options(self, t: T) -> list[tuple[float, Production]]:
        item = t.args[0]
        found: list[tuple[float, Production]] = []
        for v in self.scope:
            if v.type.kind == "map" and v.type.args[1] == item:
                found.append((3, lambda d, v=v: f"{v.name}.get({self.expr(v.type.args[0], d)})"))
            if v.type.kind == "heap" and tuple_of(*v.type.args) == item:
                found.append((3, lambda d, v=v: f"{v.name}.peek()"))
        return found

    def lists(self, t: T) -> list[tuple[float, Production]]:
        item, e, f = t.args[0], self.expr, self.firm
        found: list[tuple[float, Production]] = [
            (2, lambda d: self.comprehension(item, d, "[", "]")),
            (1.5, lambda d: f"({f(t, d)} + {e(t, d)})[:6]"),
            (0.7, lambda d: f"({f(t, d)}[:3] * {self.rng.randint(0, 2)})"),
            (2, lambda d: self.cut(f(t, d))),
            (0.7, lambda d: f"{f(t, d)}.reversed()"),
            (0.7, lambda d: f"reversed({f(t, d)})"),
        ]
        if self.types.ordered(item):
            found += [(1, lambda d: f"sorted({f(t, d)})"), (0.5, lambda d: f"{f(t, d)}.sorted(reverse=true)")]
        found.append((0.7, lambda d: self.filtered(t, d)))
        for v in self.scope:
            if v.type.kind == "map":
                if v.type.args[0] == item:
                    found.append((2, lambda d, v=v: f"{v.name}.keys()"))
                if v.type.args[1] == item:
                    found.append((2, lambda d, v=v: f"{v.name}.values()"))
                if tuple_of(*v.type.args) == item:
                    found.append((2, lambda d, v=v: f"{v.name}.items()"))
        return found

    def cut(self, text: str) -> str:
        a, b = (self.rng.choice(("", str(self.rng.randint(-3, 4)), self.expr(INT, 0))) for _ in "ab")
        return f"{text}[{a}:{b}{self.rng.choice(('', '', ':2', ':-1', ':-3'))}]"

    def lambda_of(self, arg: T, result: T, d: int) -> str:
        saved, name = list(self.scope), self.name("z")
        self.scope.append(Var(name, arg))
        self.at.pure += 1
        self.at.turns *= 5
        body = self.expr(result, d)
        self.at.turns //= 5
        self.at.pure -= 1
        self.scope = saved
        return f"fn({name}: {arg}): {body}"

    def filtered(self, t: T, d: int) -> str:
        return f"{self.firm(t, d)}.filter({self.lambda_of(t.args[0], BOOL, d)})"

    def comprehension(self, item: T, d: int, left: str, right: str) -> str:
        """Over a range, a string or a container in scope; in a variant it may be parallel."""
        saved, name = list(self.scope), self.name("e")
        source, of = self.source(d)
        self.scope.append(Var(name, of))
        self.at.pure += 1
        self.at.turns *= 5
        body = self.expr(item, d)
        cond = f" if {self.cond(d)}" if self.chance(0.3) else ""
        self.at.turns //= 5
        self.at.pure -= 1
        self.scope = saved
        text = f"{left}{body} for {name} in {source}{cond}{right}"
        if left == "[" and not cond:
            parallel = self.chance(0.15)
            if self.style is not None and self.style.random() < 0.5:
                parallel = not parallel
            if parallel:
                return f"(parallel {text})"
        return text

    def source(self, d: int) -> tuple[str, T]:
        """Something to iterate over, and what it gives."""
        options: list[tuple[str, T]] = []
        for v in self.scope:
            if v.type.kind in ("list", "set", "deque", "map"):
                options.append((v.name, v.type.args[0]))
            elif v.type == STR:
                options.append((f"{v.name}[:5]", STR))
        if options and self.chance(0.6):
            return self.rng.choice(options)
        return f"range({self.rng.choice((str(self.rng.randint(0, 5)), f'{self.expr(INT, 1)} % 5'))})", INT

    # ---- reading
    def reads(self, t: T) -> list[tuple[float, Production]]:
        found: list[tuple[float, Production]] = []
        for v in self.scope:
            kind, args = v.type.kind, v.type.args
            if kind in ("list", "deque") and args[0] == t:
                found.append((2.5, lambda d, v=v: self.element(v.name, v.type, d)))
            elif kind == "map" and args[1] == t:
                found.append((2.5, lambda d, v=v: self.looked_up(v.name, v.type, d)))
            elif kind == "option" and args[0] == t:
                found.append((3, lambda d, v=v: f"({v.name} ?? {self.expr(t, d)})"))
            if not self.at.pure and v.mutable and kind in ("list", "deque") and args[0] == t:
                found.append((0.7, lambda d, v=v: self.popped(v.name, v.type, d)))
            if kind == "fn" and args[-1] == t and self.at.turns < 200:
                found.append((3, lambda d, v=v: f"{v.name}({', '.join(self.expr(a, d) for a in v.type.args[:-1])})"))
        return found

    def element(self, name: str, t: T, d: int) -> str:
        if self.risky():
            return f"{name}[{self.expr(INT, d)}]"
        i = self.rng.choice(("0", "-1", f"{self.expr(INT, 1)} % len({name})"))
        return f"({name}[{i}] if len({name}) > 0 else {self.expr(t.args[0], d)})"

    def looked_up(self, name: str, t: T, d: int) -> str:
        key = self.expr(t.args[0], d)
        if self.risky():
            return f"{name}[{key}]"
        if self.chance(0.5):
            return f"({name}.get({key}) ?? {self.expr(t.args[1], d)})"
        return f"({name}[{key}] if {key} in {name} else {self.expr(t.args[1], d)})"

    def popped(self, name: str, t: T, d: int) -> str:
        f = "pop()" if t.kind == "list" or self.chance(0.5) else "popleft()"
        if t.kind == "list" and self.chance(0.3):
            f = "pop(0)"
        return f"{name}.{f}" if self.risky() else f"({name}.{f} if len({name}) > 0 else {self.expr(t.args[0], d)})"

    def length(self, d: int) -> str:
        found = [v.name for v in self.scope if v.type.kind in CONTAINERS]
        return f"len({self.rng.choice(found)})" if found else self.expr(INT, 0)

    def reduced(self, d: int) -> str:
        t = list_of(INT)
        xs = self.expr(t, d)
        f = self.rng.choice(("sum", "max", "min", "count", "fold", "index", "maxkey"))
        match f:
            case "sum":
                return f"sum({xs})"
            case "max" | "min":
                return f"{f}({xs})" if self.risky() else f"{f}({xs} + [{self.expr(INT, 0)}])"
            case "count":
                return f"{xs}.count({self.expr(INT, 0)})"
            case "index" if self.risky():
                return f"{xs}.index({self.expr(INT, 0)})"
            case "fold":
                a, b = self.name("z"), self.name("z")
                return f"{xs}.fold({self.expr(INT, 0)}, fn({a}: int, {b}: int): {a} * 3 + {b})"
        return f"len({xs})"

    def membership(self, d: int) -> str:
        found = [v for v in self.scope if v.type.kind in ("list", "map", "set", "deque") and self.types.comparable(v.type.args[0])]
        if not found:
            return self.expr(BOOL, 0)
        v = self.rng.choice(found)
        return f"({self.expr(v.type.args[0], d)} {self.rng.choice(('in', 'not in'))} {v.name})"

    def equality(self, d: int) -> str:
        found = [v for v in self.scope if v.type not in REALS and self.types.comparable(v.type) and v.type.kind != "heap"]
        if not found:
            return self.expr(BOOL, 0)
        v = self.rng.choice(found)
        if v.type.kind == "option" and self.chance(0.5):
            return f"({v.name} {self.rng.choice(('==', '!='))} none)"
        return f"({v.name} {self.rng.choice(('==', '!='))} {self.expr(v.type, d)})"

    # ---- statements
    def statements(self) -> list[tuple[float, Callable[[], None]]]:
        found = super().statements()
        found += [(3, self.change), (0.7, self.unpack)]
        if self.at.blocks < self.limits.depth:
            found += [(1, self.match_option), (1, self.match_list), (0.7, self.match_tuple), (1, self.narrowed)]
            if self.at.loops < 2:
                found.append((2, self.for_each))
        return found

    def change(self) -> None:
        """A method that changes a container, or an assignment to an element."""
        found = self.mutables(CONTAINERS)
        if not found:
            return self.var()
        name, t = self.rng.choice(found)
        e, line = self.expr, self.line
        item = t.args[0]
        match t.kind:
            case "list":
                small = self.rng.choice(("push", "append", "insert", "element", "slice", "sort", "reverse", "extend", "pop", "remove", "clear", "swap", "augment", "inner"))
                match small:
                    case "push" | "append":
                        return line(f"{name}.{small}({self.bounded(item)})")
                    case "insert":
                        return line(f"{name}.insert({self.rng.randint(-2, 4)}, {self.bounded(item)})")
                    case "element":
                        if self.risky():
                            return line(f"{name}[{e(INT, 2)}] = {self.bounded(item)}")
                        self.line(f"if len({name}) > 0:")
                        i = self.rng.choice(("0", "-1", f"{e(INT, 1)} % len({name})"))
                        return line(f"    {name}[{i}] = {self.bounded(item)}")
                    case "slice" if not self.types.is_recursive(item):
                        a, b = sorted((self.rng.randint(0, 3), self.rng.randint(0, 3)))
                        return line(f"{name}[{a}:{b}] = {e(t, 1)}")
                    case "sort" if self.types.ordered(item):
                        return line(f"{name}.sort({self.rng.choice(('', 'reverse=true'))})")
                    case "sort":
                        return line(f"{name}.sort(key={self.lambda_of(item, INT, 1)})")
                    case "reverse" | "clear":
                        return line(f"{name}.{small}()")
                    case "extend":
                        line(f"{name}.extend({e(t, 1)})")
                        return line(f"{name} = {name}[:8]")
                    case "remove" if self.types.comparable(item):
                        return self.guarded(f"{name}.remove", name, item)
                    case "swap":
                        line(f"if len({name}) > 1:")
                        return line(f"    {name}[0], {name}[-1] = {name}[-1], {name}[0]")
                    case "augment" if item == INT:
                        line(f"if len({name}) > 0:")
                        return line(f"    {name}[{e(INT, 1)} % len({name})] {self.rng.choice('+-*')}= {e(INT, 1)}")
                    case "inner" if item.kind == "list":
                        line(f"if len({name}) > 0:")
                        line(f"    {name}[0].push({self.bounded(item.args[0])})")
                        return line(f"    {name}[-1] = {name}[-1][:5]")
                line(f"if len({name}) > 0:")
                return line(f"    {name}.pop()")
            case "map":
                small = self.rng.choice(("set", "set", "remove", "pop", "setdefault", "update", "clear", "augment", "inner"))
                if small == "remove" and self.types.comparable(item):
                    return self.guarded(f"{name}.remove", name, item)
                if small == "pop":
                    return self.guarded(f"{name}.pop", name, item)
                if small == "setdefault":
                    return line(f"{name}.setdefault({e(item, 1)}, {self.bounded(t.args[1])})")
                if small == "update":
                    return line(f"{name}.update({e(t, 1)})")
                if small == "clear" and self.chance(0.3):
                    return line(f"{name}.clear()")
                key = e(item, 1)
                if small == "augment" and t.args[1] == INT:
                    line(f"if {key} in {name}:")
                    return line(f"    {name}[{key}] {self.rng.choice('+-*')}= {e(INT, 1)}")
                if small == "inner" and t.args[1].kind == "list":
                    line(f"if {key} in {name} and len({name}[{key}]) < 6:")
                    return line(f"    {name}[{key}].push({self.bounded(t.args[1].args[0])})")
                return line(f"{name}[{key}] = {self.bounded(t.args[1])}")
            case "set":
                small = self.rng.choice(("add", "add", "discard", "remove", "update"))
                if small == "remove":
                    return self.guarded(f"{name}.remove", name, item)
                return line(f"{name}.update({e(t, 1)})" if small == "update" else f"{name}.{small}({e(item, 1)})")
            case "heap":
                if self.chance(0.7):
                    return line(f"{name}.push({e(item, 1)}, {e(t.args[1], 1)})")
                v = self.name()
                line(f"let {v} = {name}.pop()")
                return self.add(v, option(tuple_of(*t.args)), False)
            case "deque":
                small = self.rng.choice(("push", "appendleft", "append", "pop", "popleft"))
                if "pop" in small:
                    if not self.risky():
                        line(f"if len({name}) > 0:")
                        return line(f"    {name}.{small}()")
                    return line(f"{name}.{small}()")
                return line(f"{name}.{small}({self.bounded(item)})")

    def guarded(self, method: str, name: str, item: T) -> None:
        key = self.expr(item, 1)
        if self.risky():
            return self.line(f"{method}({key})")
        self.line(f"if {key} in {name}:")
        self.line(f"    {method}({key})")

    def unpack(self) -> None:
        t = next((v.type for v in self.scope if v.type.kind == "tuple" and len(v.type.args) > 1), tuple_of(INT, STR))
        names = [self.name() for _ in t.args]
        word = self.rng.choice(("let", "var"))
        value = self.firm(t, 2)
        self.line(f"{word} {', '.join(names)} = {value}" if self.chance(0.5) else f"{word} ({', '.join(names)}) = {value}")
        for n, a in zip(names, t.args):
            self.add(n, a, word == "var")

    def for_each(self) -> None:
        name, index = self.name("e"), self.name("j")
        found = [v for v in self.scope if v.type.kind in ("list", "map", "set", "deque")]
        if not found or self.chance(0.2):
            t = list_of(self.some_type())
            self.loop(f"for {name} in {self.firm(t, 2)}:", [Var(name, t.args[0])], 6)
            return
        v = self.rng.choice(found)
        item = v.type.args[0]
        if v.type.kind == "map" and self.chance(0.5):
            return self.loop(f"for {index}, {name} in {v.name}.items():", [Var(index, item), Var(name, v.type.args[1])], 6)
        if self.chance(0.3):
            return self.loop(f"for {index}, {name} in enumerate({v.name}):", [Var(index, INT), Var(name, item)], 6)
        if v.type.kind == "list" and self.chance(0.3):
            other = self.expr(list_of(INT), 1)
            return self.loop(f"for {index}, {name} in zip({other}, {v.name}):", [Var(index, INT), Var(name, item)], 6)
        self.loop(f"for {name} in {v.name}:", [Var(name, item)], 6)

    def match_option(self) -> None:
        t = option(self.rng.choice((INT, STR)))
        found = [v for v in self.scope if v.type.kind == "option"]
        if found and self.chance(0.8):
            t = self.rng.choice(found).type
        subject = self.typed_value(t, self.expr(t, 2))  # narrowing may know more of a variable
        name = self.name("m")
        self.line(f"match {subject}:")
        self.at.blocks += 1
        self.line("case none:")
        self.block(self.size())
        self.line(f"case {name}:")
        self.block(self.size(), also=[Var(name, t.args[0])])
        self.at.blocks -= 1

    def match_list(self) -> None:
        t = next((v.type for v in self.scope if v.type.kind == "list"), list_of(INT))
        a, b, rest = self.name("m"), self.name("m"), self.name("m")
        item = t.args[0]
        self.line(f"match {self.firm(t, 1)}:")
        self.at.blocks += 1
        self.line("case []:")
        self.block(self.size())
        if self.chance(0.5):
            self.line(f"case [{a}, {b}]:")
            self.block(self.size(), also=[Var(a, item), Var(b, item)])
        if self.chance(0.7):
            self.line(f"case [{a}, *{rest}]:")
            self.block(self.size(), also=[Var(a, item), Var(rest, t)])
        else:
            self.line("case _:")
            self.block(self.size())
        self.at.blocks -= 1

    def match_tuple(self) -> None:
        a, b = self.name("m"), self.name("m")
        self.line(f"match ({self.expr(INT, 1)} % 3, {self.cond(1)}):")
        self.at.blocks += 1
        self.line(f"case (0, {b}) if {self.cond(1)}:")
        self.block(self.size(), also=[Var(b, BOOL)])
        self.line(f"case ({a}, true):")
        self.block(self.size(), also=[Var(a, INT)])
        self.line("case _:")
        self.block(self.size())
        self.at.blocks -= 1

    def narrowed(self) -> None:
        """`if x != none:` with x its value within."""
        found = [v for v in self.scope if v.type.kind == "option" and v.type.args[0].kind != "option"]
        if not found:
            return self.branch()
        v = self.rng.choice(found)
        inner = Var(v.name, v.type.args[0], False)
        negative = self.chance(0.3)
        self.line(f"if {v.name} {'==' if negative else '!='} none:")
        self.block(self.size(), also=[] if negative else [inner], may_end=not negative)
        if self.chance(0.5) or negative:
            self.line("else:")
            self.block(self.size(), also=[inner] if negative else [])


__all__ = ["Containers", "fn_of"]
