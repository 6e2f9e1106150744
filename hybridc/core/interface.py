"""What a lowered program offers to its callers: the functions, classes and models that Python sees.

Lowering fills it in; the linker writes it into the manifest; the runtime reads it there. Every type in it is a Core
type; `kinds` says how values of a Core struct or enum look from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hybridc.core.ir import Type


@dataclass
class Param:
    """`default` is the name of a Core function of no parameters that gives the default, or None; `shown` is the type as
    the source has it; `pack` is the first name of any number of dimensions (`*B`) in it, which stands for `leading` of
    them here. What it holds may be part of what the call gives if it `stays` (link/stays.py)."""

    name: str
    type: Type
    mut: bool = False
    default: str | None = None
    shown: str = ""
    pack: str = ""
    leading: int = 0
    stays: bool = True


@dataclass
class Entry:
    """A callable Core function. Its Core results are the result (none if `result` is None), then each `mut` parameter
    in order. `variants`, of a model's method, are the same for other numbers of leading dimensions (`*B`).
    `pace` says how long a call may last (link/pace.py)."""

    symbol: str
    params: list[Param]
    result: Type | None
    result_shown: str = ""
    doc: str | None = None
    pace: str = ""
    variants: list[Entry] = field(default_factory=list)


@dataclass
class Kind:
    """How a Core struct or enum looks from Python.

    kind      args and helpers
    str       none
    list      args (item,)
    map set deque heap graph   args as in the source; helpers "to_wire" and "from_wire" are Core functions to and from
              a list: of (key, value) for a map, of items for set and deque, of sorted (priority, item) for a heap;
              for a graph, a tuple of two: of nodes, which are also its first field, and of edges (from, to, value)
    struct    a user's struct: `title` its class, fields from the program, `shown` their types; helpers "default.FIELD"
    enum      a user's enum, likewise
    fn        a function value: args (param types..., result or ()), `muts`; helper "apply" calls it: (fn, args...) ->
              (result, muts...); case "Host" of the enum holds the id of a Python callable (an int)
    model     a concrete model: `title` is its key in `models`
    rng store none
    """

    kind: str
    args: list[Type] = field(default_factory=list)
    title: str = ""
    helpers: dict[str, str] = field(default_factory=dict)
    muts: list[bool] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    doc: str | None = None


@dataclass
class ModelParam:
    """A parameter's place in the flat vector."""

    path: str
    offset: int
    shape: list[int]


@dataclass
class ModelState:
    """A persistent value: its path from the model, its type, the fields to follow in the Core struct (a number is an
    index into a tuple or list), the function that compares a value's dimensions with the declared type, or "", and of a
    tensor the dimensions that its type says, None for any."""

    path: str
    type: Type
    route: list[str | int]
    check: str = ""
    dims: list[int | None] = field(default_factory=list)


@dataclass
class Model:
    """One configuration of a model. `struct` is its Core struct; its first field, `params`, is the flat vector (a
    tensor of rank 1), the others hold state. `init` is a Core function (seed: int) -> struct."""

    key: str
    name: str
    config: list[object]
    shown: str
    struct: str
    init: str
    elem: str
    size: int
    params: list[ModelParam]
    states: list[ModelState]
    methods: dict[str, Entry]
    gradients: dict[str, Entry] = field(default_factory=dict)
    """By method: (arguments) -> (what it gives, the derivative by the parameters)."""
    pullbacks: dict[str, Entry] = field(default_factory=dict)
    """Of `forward`: (arguments, the derivative by its result) -> (that by the parameters, by each float tensor)."""
    curvatures: dict[str, Entry] = field(default_factory=dict)
    """Of `pullbacks`: (its arguments, a tuple u like its result) -> (the derivatives of the sum of products with u by
    the parameters, by each float tensor, by that of the result)."""


@dataclass
class ModelClass:
    """A model as declared: configuration arguments (name, type as shown, default, has default), and `words`, the texts
    that stand for ints, by argument."""

    key: str
    name: str
    config: list[tuple[str, str, object, bool]]
    methods: list[str]
    doc: str | None = None
    words: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass
class Interface:
    """`fns`: for each public name its entries, more than one for a function over bare models (one per configuration)
    or exported for several types. `exports` maps public names ("small") to (model key, configuration)."""

    fns: dict[str, list[Entry]] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    """Public class name -> name of its Core struct or enum."""
    models: list[Model] = field(default_factory=list)
    model_classes: dict[str, ModelClass] = field(default_factory=dict)
    exports: dict[str, tuple[str, list[object]]] = field(default_factory=dict)
    constants: dict[str, object] = field(default_factory=dict)
    tests: list[tuple[str, str]] = field(default_factory=list)
    """(title, symbol) of each test."""
    externs: list[str] = field(default_factory=list)
    doc: str | None = None
