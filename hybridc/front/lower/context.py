"""The program in the making (`Context`), and the small records that lowering passes around."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Union

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.immutable import immutable
from hybridc.base.names import unused
from hybridc.base.source import NOWHERE, Span
from hybridc.base.types import FnType, ModelType, Named, Type, TypeVar
from hybridc.core import ir
from hybridc.front.check import tree
from hybridc.front.check.endless import too_large
from hybridc.front.lower.notes import Called, Claimed, Decls, Defined, Event, Extern, Generated, Notes, Record
from hybridc.front.lower.types import Types

if TYPE_CHECKING:
    from hybridc.front.lower.closure import Closures
    from hybridc.front.lower.core import Lowerer
    from hybridc.front.lower.model import Models


@immutable(frozen=True, slots=True)
class Parts:
    """A struct or tuple whose fields are kept apart."""

    type: ir.Type
    items: tuple[Value, ...]


Value = Union[ir.Atom, Parts]  # noqa: UP007


class Refused(Exception):
    """What cannot be lowered; becomes a compile error."""

    def __init__(self, diagnostic: Diagnostic):
        self.diagnostic = diagnostic
        super().__init__(diagnostic.message)


@contextmanager
def outside(span: Span) -> Iterator[None]:
    """An error within the standard library is shown at this place, which asked for what cannot be there."""
    try:
        yield
    except Refused as refused:
        if not refused.diagnostic.span.path.startswith("<std>"):
            raise
        raise Refused(replace(refused.diagnostic, span=span)) from None


@immutable(frozen=True, slots=True)
class Instance:
    """A function made concrete: erased types for its type parameters, ranks of its packs, the model it belongs to, and
    the dimension names that a parameter's model configuration gives."""

    key: str
    types: tuple[Type, ...] = ()
    packs: tuple[int, ...] = ()
    model: ModelType | None = None
    dims: tuple[tuple[str, int], ...] = ()


@dataclass
class Context:
    """One Core program in the making."""

    program: tree.Program
    core: ir.Program = field(default_factory=ir.Program)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    externs: dict[str, None] = field(default_factory=dict)
    names: dict[Instance, str] = field(default_factory=dict)
    generated: dict[str, str] = field(default_factory=dict)
    """The Core functions of those that `later` was given, by name."""
    work: list[Callable[[], None]] = field(default_factory=list)
    memo: dict[object, Any] = field(default_factory=dict)
    """Analyses of tree nodes, by (what, id of the node); the program keeps the nodes alive."""
    types: Types = field(init=False)
    closures: Closures = field(init=False)
    models: Models = field(init=False)
    decls: Decls = field(init=False)
    make_fn: Callable[[Instance, str], None] = field(init=False)
    make_later: Callable[[str, Callable[[], None]], None] = field(init=False)
    evaluate: Callable[[Lowerer, tree.Expr], Any] = field(init=False)
    """The value of an expression that is known now, by the reference interpreter."""
    aside: bool = False
    """It is another program, whose types are not those of the one that is made."""
    record: Record | None = None
    """Of the function that is being made, if it is to be kept (kept.py)."""
    open_defaults: set[int] = field(default_factory=set)
    """The defaults that are being evaluated, by the id of their nodes."""
    taken: set[str] = field(default_factory=set)
    """The names of all Core functions, made or asked for."""

    def __post_init__(self) -> None:
        self.decls = Decls(self.program.decls)
        self.types = Types(self.decls, self.core)

    # ---- notes
    def did(self, event: Event) -> None:
        """The function that is being made did this."""
        if self.record is not None:
            self.record.events[event] = None

    def unsound(self) -> None:
        """It depends on what is not noted."""
        if self.decls.notes is not None:
            self.decls.notes.sound = False

    def once(self, key: object, make: Callable[[], Any], memo: dict[Any, Any] | None = None) -> Any:
        """An analysis of declarations, made when it is first asked for; kept in `memo`, if that is another one."""
        memo = self.memo if memo is None else memo
        found = memo.get(key)
        if found is None:
            notes = Notes(sound=not self.aside)
            with self.decls.noted(notes):
                found = memo[key] = make(), notes
        self.decls.looked(found[1])
        return found[0]

    # ---- declarations
    def fn(self, key: str) -> tree.FnDecl:
        decl = self.decls[key]
        assert isinstance(decl, tree.FnDecl)
        return decl

    def title(self, decl: tree.FnDecl) -> str:
        """A function as call chains name it."""
        return decl.name if decl.owner is None else f"{self.decls[decl.owner].name}.{decl.name}"

    def method(self, t: Type, name: str) -> tree.FnDecl | None:
        """The method of a concrete type, if it has one."""
        if isinstance(t, (Named, ModelType)):
            decl = self.decls.get(t.key)
            if isinstance(decl, (tree.StructDecl, tree.EnumDecl, tree.ModelDecl)) and name in decl.methods:
                return self.fn(decl.methods[name])
        return None

    def has(self, key: str) -> bool:
        return key in self.decls

    # ---- instances
    def claim(self, name: str) -> str:
        """A name for a Core function that no other has."""
        unique = self._claim(name)
        self.did(Claimed(name, unique))
        return unique

    def _claim(self, name: str) -> str:
        unique = unused(name, self.taken)
        self.taken.add(unique)
        return unique

    def instance(self, instance: Instance) -> str:
        """The Core function of an instance; it is put on the worklist when first asked for."""
        name = self.names.get(instance)
        if name is None:
            if too_large(instance.types):
                name = self.fn(instance.key).name
                message = f"`{name}` calls itself with ever larger types, without end"
                raise Refused(Diagnostic("HYB319", message, NOWHERE, "give a recursive call the types that the fn has"))
            name = self.names[instance] = self._claim(self.instance_name(instance))
            self.work.append(lambda: self.make_fn(instance, name))
        self.did(Called(name, instance))
        return name

    def instance_name(self, instance: Instance) -> str:
        """What it is called if no other has that name."""
        decl = self.fn(instance.key)
        types = [self.types.show(t) for t in instance.types]
        owner = ""
        if decl.owner is not None:
            owner_decl = self.decls[decl.owner]
            owner = self.types.decl_name(decl.owner)
            if instance.model is not None:
                owner = self.types.show(instance.model)
            elif isinstance(owner_decl, (tree.StructDecl, tree.EnumDecl)):
                count = sum(isinstance(p, TypeVar) for p in owner_decl.params)
                if count:
                    owner += f"[{', '.join(types[:count])}]"
                types = types[count:]
            owner += "."
        elif not instance.key.startswith(self.program.module + ":"):
            owner = instance.key.rpartition(":")[0] + "."
        types = types + [f"{key.rpartition('.')[2]}={value}" for key, value in instance.dims]
        ranks = "".join(f"*{rank}" for rank in instance.packs)
        return owner + decl.name + (f"[{', '.join(types)}]" if types else "") + ranks

    def later(self, name: str, make: Callable[[str], ir.Fn]) -> str:
        """A generated function, made once when the worklist comes to it; `name` identifies it."""
        return self.put(name, lambda symbol: self.make_later(name, lambda: self.add(make(symbol))))

    def put(self, name: str, work: Callable[[str], None]) -> str:
        """Let the function of this name be made by `work`, given its symbol, if it was not asked for before."""
        symbol = self.generated.get(name)
        if symbol is None:
            symbol = self.generated[name] = self._claim(name)
            self.work.append(lambda: work(symbol))
        self.did(Generated(name, symbol))
        return symbol

    def add(self, fn: ir.Fn) -> None:
        self.core.fns[fn.name] = fn
        if self.record is not None:
            self.record.fns.append(fn)

    def extern(self, name: str) -> None:
        """A function that Python or C is to give."""
        self.externs[name] = None
        self.did(Extern(name))

    def cases(self, enum: str) -> tuple[tuple[str, tuple[tuple[str, ir.Type], ...]], ...]:
        """All cases of an enum."""
        if isinstance(self.types.fronts.get(enum), FnType):  # there may be more of them in the end
            self.unsound()
        return self.core.enums[enum].cases

    def define(self, definition: ir.EnumDef) -> None:
        """An enum that only a function of the compiler's own uses."""
        self.core.enums[definition.name] = definition
        self.did(Defined(definition))


HANDLERS: dict[type, Callable[[Lowerer, Any], Any]] = {}


def lowers(*nodes: type) -> Callable[[Callable[[Lowerer, Any], Any]], Callable[[Lowerer, Any], Any]]:
    """Marks the function that lowers a kind of node: an expression to its Value (None if it has none), a statement."""

    def mark(handler: Callable[[Lowerer, Any], Any]) -> Callable[[Lowerer, Any], Any]:
        for node in nodes:
            HANDLERS[node] = handler
        return handler

    return mark


@dataclass
class Branch:
    """A lowered block before its tail is known; `tail` is set if its end cannot be reached."""

    stmts: tuple[ir.Stmt, ...]
    tail: ir.Tail | None
    results: list[ir.Atom]
    env: dict[str, Value]


@dataclass
class BoundDim:
    """A dimension name's run-time value; `maybe` if an empty list may have left it unbound (then it is -1)."""

    atom: ir.Atom
    name: str
    maybe: bool = False
    used: bool = False


@dataclass
class LoopLabels:
    """Where `break` and `continue` go, and the variables that travel with them."""

    stop: int
    turn: int | None
    keys: list[str]
