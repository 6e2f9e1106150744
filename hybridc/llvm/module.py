"""LLVM text: what the functions of one program share: definitions, constants, helpers, and the tables of places and
services.

Names do not depend on what else a program holds: that of a helper says what it is made for, that of a constant what it
holds, and what a function needs for itself is named after it. Numbers that the whole program decides (where a
function's places begin in the table, which number a service has) are constants by name, defined at the end. So a
function that stays as it was has the text that it had, and its machine code can be kept (partition.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hybridc.core.ir import Span, Type
from hybridc.core.types import type_key
from hybridc.kernels.device import Kernels
from hybridc.llvm.definitions import NAME, Def, Text, symbol
from hybridc.llvm.layout import Layouts

if TYPE_CHECKING:
    from hybridc.llvm.code import Code

Leaves = tuple[str, ...]
"""A Core value: the operands of its leaves."""
Site = tuple[Span, str, bool]
"""A place that a trace may name: span, function's title, hidden."""
Service = tuple[str, tuple[Type, ...], tuple[Type, ...]]
"""Something that compiled code asks of the host: name, types of arguments and results."""
EMPTY = "empty"
"""Begins the name of the buffer without elements."""


def byte_string(data: bytes) -> str:
    return 'c"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in data) + '"'


READ = 16
"""Bytes of a short text that are read at once: what lies beyond a constant is nothing that LLVM would read."""


@dataclass
class Tables:
    """What all objects of one program, for whatever processor, number alike."""

    places: dict[str, dict[Site, int]] = field(default_factory=dict)
    """By the symbol of a function in LLVM: its places, as it numbers them."""
    services: dict[str, Service] = field(default_factory=dict)
    """By the symbol of the constant that holds the number."""
    kinds: dict[str, Type] = field(default_factory=dict)
    """Kinds of counted blocks that are freed by the worklist, in the same way."""
    kernels: Kernels = field(default_factory=Kernels)

    @property
    def sites(self) -> list[Site]:
        return [site for name in sorted(self.places) for site in self.places[name]]

    @property
    def hosts(self) -> list[Service]:
        return [self.services[name] for name in sorted(self.services)]

    def numbers(self) -> dict[str, int]:
        """The constants that are known at the end: by symbol, the first place of a function, services and kinds. All
        are numbered by their names, in whatever order they were asked for."""
        found = {name: i for table in (self.services, self.kinds) for i, name in enumerate(sorted(table))}
        first = 0
        for name in sorted(self.places):
            found[places_symbol(name)] = first
            first += len(self.places[name])
        return found


def places_symbol(name: str) -> str:
    """The constant that says where the places of a function begin in the table."""
    return symbol("places." + name.strip('@"'))


def service_symbol(service: Service) -> str:
    return symbol(f"service.{service[0]}.{_digest(repr(service))}")


def kind_symbol(kind: Type) -> str:
    return symbol("kind." + type_key(kind))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class Module:
    """What the functions of one program share, for processors with vectors of one width."""

    def __init__(self, layouts: Layouts, tables: Tables, vector_bytes: int = 32):
        """Continues the tables that other modules of the program have begun."""
        self.layouts = layouts
        self.program = layouts.program
        self.tables = tables
        self.vector_bytes = vector_bytes
        """Of the widest vectors that the processor computes with."""
        self.defs: dict[str, Def] = {}
        self.constants: dict[str, str] = {}
        """By name, the text that defines it."""
        self.literals: dict[str, bytes] = {}
        """What pointers to immortal bytes point to."""
        self.declared: dict[str, str] = {}
        """Functions of the C library and LLVM's own: by name the signature."""
        self.defined: set[str] = set()
        """Functions that are, or are going to be, among the definitions."""
        self.helpers: dict[object, str] = {}
        """By what each is made for."""
        self._owner = ""
        self._names: dict[str, int] = {}

    def text(self, more: Sequence[str] = ()) -> Text:
        """All of it with the numbers that are known at the end, and `more` variables."""
        return Text(self.defs, self.constants, self.declared, self.tables.numbers(), list(more))

    # ---- numbers that the whole program decides
    def service(self, name: str, params: tuple[Type, ...], results: tuple[Type, ...]) -> str:
        """The constant that holds a service's number."""
        service = (name, params, results)
        found = service_symbol(service)
        self.tables.services[found] = service
        return found

    def kind(self, kind: Type) -> str:
        """The constant that holds the number of a kind of blocks for the worklist."""
        found = kind_symbol(kind)
        self.tables.kinds[found] = kind
        return found

    # ---- functions
    def declare(self, signature: str) -> None:
        """`declare ...` once; the signature is its text: "double @sin(double)"."""
        name = signature[signature.index("@") : signature.index("(")]
        self.declared.setdefault(name, signature)

    def define(self, code: Code) -> None:
        params = ", ".join(f"{t} {n}" for t, n in code.params)
        types = ", ".join(t for t, _ in code.params)
        front = f"{code.convention} {code.result} {code.name}".lstrip()
        lines = ["entry:", *code.allocas, *code.lines, *code.cold]
        head = f"{front}({params}) {code.attributes}"
        body = "\n".join(lines)
        uses = tuple(n for n in dict.fromkeys(NAME.findall(body)) if n != code.name)
        self.defs[code.name] = Def(code.name, code.exported, f"{front}({types})", head, body, len(lines), uses)

    def helper(self, key: object, make: Callable[[str], None]) -> str:
        """The symbol of a function made once for `key`: `make(symbol)` writes it (the symbol is known before, so it may
        call itself)."""
        found = self.helpers.get(key)
        if found is None:
            hint = key if isinstance(key, str) else key[0] if isinstance(key, tuple) else "helper"
            assert isinstance(hint, str)
            found = self.helpers[key] = symbol(self._unused(f"{hint} {_digest(repr(key))}"))  # no name of a program
            self.defined.add(found)
            with self.owner(found.strip('@"')):
                make(found)
        return found

    def shared(self, code: Code) -> str:
        """Finish a function under a name that says what it does: functions with the same instructions are one."""
        params = (f"{t} {n}" for t, n in code.params)
        text = "\n".join([code.result, *params, *code.allocas, *code.lines, *code.cold])
        code.name = symbol(f"{code.name.strip('@')} {_digest(text)}")
        if code.name not in self.defs:
            self.defined.add(code.name)
            code.finish()
        return code.name

    # ---- names
    @contextmanager
    def owner(self, name: str) -> Iterator[None]:
        """What is named within belongs to a function."""
        outer, self._owner = self._owner, name
        yield
        self._owner = outer

    def fresh(self, hint: str) -> str:
        return symbol(self._unused(f"{hint} {self._owner}"))

    def _unused(self, name: str) -> str:
        times = self._names[name] = self._names.get(name, 0) + 1
        return name if times == 1 else f"{name} {times}"

    # ---- constants
    def constant(self, llvm: str, text: str, align: int = 8, hint: str = "k") -> str:
        definition = f"private unnamed_addr constant {llvm} {text}, align {align}"
        name = symbol(f"{hint}.{_digest(definition)}")
        self.constants[name] = definition
        return name

    def c_string(self, text: str) -> str:
        """A pointer to NUL-terminated text."""
        data = text.encode() + b"\0"
        return self.constant(f"[{len(data)} x i8]", byte_string(data), 1, "c")

    def static_bytes(self, data: bytes) -> str:
        """A pointer to an immortal buffer[u8]."""
        if not data:
            return "null"
        whole = data.ljust(READ, b"\0")
        llvm = f"{{ i64, i64, [{len(whole)} x i8] }}"
        found = self.constant(llvm, f"{{ i64 -1, i64 {len(data)}, [{len(whole)} x i8] {byte_string(whole)} }}", 16, "s")
        self.literals[found] = data
        return found

    def empty(self) -> str:
        """A pointer to the buffer of no elements, which is immortal and of any type."""
        return self.constant("{ i64, i64 }", "{ i64 -1, i64 0 }", 16, EMPTY)

    def text_leaves(self, text: str) -> Leaves:
        """A str constant: bytes, size, count of code points."""
        data = text.encode("utf-8", "surrogatepass")
        return (self.static_bytes(data), str(len(data)), str(len(text)))
