"""Spellings of other languages that Hyb writes otherwise, recognised where they make an error."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hybridc.front.parse import torch_names
from hybridc.front.parse.lexer import Token

WORDS = {
    "def": ("a function begins with `fn`", "write `fn`"),
    "function": ("a function begins with `fn`", "write `fn`"),
    "func": ("a function begins with `fn`", "write `fn`"),
    "class": ("there are no classes", "write `struct`, `enum` or `model`"),
    "lambda": ("a function expression begins with `fn`", "write `fn(x): x + 1`"),
    "is": ("there is no `is`", "write `==`, or `!=` for `is not`"),
    "del": ("there is no `del`", "write `m.remove(k)`"),
    "try": ("there is no `try`", "a failure ends the call; return an option `T?` for what may be missing"),
    "except": ("there is no `except`", "return an option `T?` for what may be missing"),
    "finally": ("there is no `finally`", None),
    "with": ("there is no `with`", "nothing is opened or closed; `stop_gradient(x)` keeps a derivative out"),
    "async": ("there is no `async`", "`parallel [f(x) for x in xs]` runs on all cores"),
    "await": ("there is no `await`", "`parallel [f(x) for x in xs]` runs on all cores"),
    "yield": ("there is no `yield`", "build a list and return it"),
    "global": ("there is no `global`", "pass the value as a `mut` parameter"),
    "nonlocal": ("there is no `nonlocal`", "pass the value as a `mut` parameter"),
    "switch": ("there is no `switch`", "write `match`"),
    "elseif": ("there is no `elseif`", "write `elif`"),
    "elsif": ("there is no `elsif`", "write `elif`"),
    "foreach": ("there is no `foreach`", "write `for x in xs`"),
    "do": ("there is no `do`", "write `while true` with a `break`"),
    "print": ("`print` is a function", "write `print(...)`"),
    "type": ("there is no `type`", "write `struct` or `enum`"),
    "interface": ("there are no interfaces", "bound a type parameter by a method: `[F: forward(T) -> U]`"),
    "trait": ("there are no traits", "bound a type parameter by a method: `[F: forward(T) -> U]`"),
    "impl": ("there is no `impl`", "methods stand in the body of their `struct`, `enum` or `model`"),
    "val": ("there is no `val`", "write `let`"),
    "module": ("there is no `module`", "each file is a module"),
    "loop": ("there is no `loop`", "write `while true`"),
    "new": ("there is no `new`", "write `P(1, 2)`"),
}
"""What is said of a foreign word that stands before another word, or before a colon or string."""

MEMBERS = {
    "append": ("push",),
    "add": ("push",),
    "add_all": ("extend",),
    "push_back": ("push",),
    "push_front": ("appendleft",),
    "pop_back": ("pop",),
    "pop_front": ("popleft",),
    "popright": ("pop",),
    "enqueue": ("push",),
    "dequeue": ("popleft", "pop"),
    "delete": ("remove",),
    "discard": ("remove",),
    "erase": ("remove",),
    "index": ("find",),
    "index_of": ("find",),
    "indexOf": ("find",),
    "trim": ("strip",),
    "to_lower": ("lower",),
    "toLowerCase": ("lower",),
    "to_upper": ("upper",),
    "toUpperCase": ("upper",),
    "starts_with": ("startswith",),
    "startsWith": ("startswith",),
    "ends_with": ("endswith",),
    "endsWith": ("endswith",),
    "reduce": ("fold",),
    "isnumeric": ("isdigit",),
    "isdecimal": ("isdigit",),
}
"""What methods are called elsewhere, and here."""

SEQUENCES = frozenset({"list", "str"})
SEARCHED = SEQUENCES | {"map", "set"}
"""What `in` is for."""
CONTAINERS = SEARCHED | {"deque", "heap", "graph", "store"}
EVERY = CONTAINERS | {"tensor"}

WRITTEN = {
    "len": ("write `len(x)`", EVERY),
    "length": ("write `len(x)`", EVERY),
    "size": ("write `len(x)`", CONTAINERS),
    "count": ("write `len(x)`, or `sum([1 for y in x if ...])`", EVERY),
    "empty": ("write `len(x) == 0`", EVERY),
    "is_empty": ("write `len(x) == 0`", EVERY),
    "isEmpty": ("write `len(x) == 0`", EVERY),
    "contains": ("write `y in x`", SEARCHED),
    "contains_key": ("write `y in x`", SEARCHED),
    "has": ("write `y in x`", SEARCHED),
    "includes": ("write `y in x`", SEARCHED),
    "setdefault": ("write `if k not in m: m[k] = ...`", {"map"}),
    "slice": ("write `x[1:3]`", SEQUENCES | {"tensor"}),
    "substr": ("write `x[1:3]`", SEQUENCES),
    "substring": ("write `x[1:3]`", SEQUENCES),
    "copy": ("everything is a value: `let y = x` is a copy", EVERY),
    "clone": ("everything is a value: `let y = x` is a copy", EVERY),
    "to_string": ("write `str(x)`", EVERY),
    "toString": ("write `str(x)`", EVERY),
    "forEach": ("write `for y in x:`", EVERY),
    "concat": ("write `x + y`", SEQUENCES),
    "format": ("write an f-string: f\"{x}\"", {"str"}),
    "join": ("write `\", \".join(x)`", {"list"}),
    "add": ("a map takes `m[k] = v`; a set without elements is `set[int]()`, for `{}` alone is a map", {"map"}),
    "popitem": ("`k = m.keys()[-1]` is the last key, and `m.pop(k)` takes it out", {"map"}),
    **dict.fromkeys(("rsplit", "rpartition"), ("`i = x.rfind(y)` is where it is: `x[:i]`, `x[i + len(y):]`", {"str"})),
}
"""What is no method here, how it is written, and of which types."""
TENSORS = {
    "size": "write `shape(x)`, or `len(x)` for the first axis",
    "contains": "compare and reduce: `any(x == y)`",
    "view": "write `reshape(x, [a, b])`",
    "t": "write `x.T`",
    "detach": "write `stop_gradient(x)`",
    "backward": "derivatives are functions: `grad(f)(x)`, `value_and_grad(f)(x)`",
    "append": "`concat(x, y)` makes a longer one; a `list` grows",
    "item": "write `x[0]`; without dimensions it is a number already",
    "to": "write a cast, `f64(x)`; where it runs is the compiler's business",
    "numpy": "it is one from Python: tensors cross as arrays",
}
"""The same, of tensors alone."""

NUMBERS = {name: TENSORS[name] for name in ("backward", "detach", "item", "to", "numpy")}
"""Of tensors without dimensions."""

_SLOPE = "with `g = grad(m.loss)(x)` it is `opt.update(mut m, g)`"
_VECTOR = "`params(m)` is all of them as one vector, and `set_params(mut m, v)` puts one back"
OF_TYPES = {
    "tensor": torch_names.FUNCTIONS | TENSORS,
    "number": NUMBERS,
    "model": {
        **dict.fromkeys(("params", "parameters", "weights"), _VECTOR),
        "zero_grad": "derivatives are values, and nothing has to be set to zero",
        "grad": "derivatives are functions: `grad(m.loss)(x)` is a vector like `params(m)`",
        "copy": "`var n = m` is a copy",
        "clone": "`var n = m` is a copy",
        "eval": "`forward` is for inference; layers that differ in training have `train` beside it",
    },
    **dict.fromkeys(("SGD", "Adam", "AdamW", "RMSProp"), {
        "step": _SLOPE,
        "apply_gradients": _SLOPE,
        "zero_grad": "derivatives are values, and nothing has to be set to zero",
    }),
    "graph": {
        "nodes": "nodes are numbers: `[g.node(u) for u in range(len(g))]`",
        "successors": "it is called `neighbors`",
        "add_vertex": "it is called `add_node`",
    },
}
"""What is no member of a type here, and how it is written."""

BUILT = frozenset("bool int i32 u8 f64 f32 f16 bf16 str list map set".split())
"""Types that go for names of functions where a declaration begins with one."""

_ADJACENT = {
    (".", "."): ("there is no `..`", "numbers from a to b are `range(a, b)`"),
    ("&", "&"): ("there is no `&&`", "write `and`"),
    ("|", "|"): ("there is no `||`", "write `or`"),
    ("<", ">"): ("there is no `<>`", "write `!=`"),
    ("=", ">"): ("there is no `=>`", "write `fn(x): x + 1` for a function, `:` before a body"),
    (":", "="): ("there is no `:=`", "write `let x = ...` on a line before"),
    ("==", "="): ("there is no `===`", "write `==`"),
    ("!=", "="): ("there is no `!==`", "write `!=`"),
    (">=", "="): ("there is no `>==`", "write `>=`"),
}

NAMES = {
    **torch_names.FUNCTIONS,
    "True": "write `true`", "False": "write `false`", "None": "write `none`", "null": "write `none`",
    "nil": "write `none`", "append": "write `push`", "dict": "write `map`", "string": "write `str`",
    "float": "write `f32` or `f64`", "detach": "write `stop_gradient`", "cat": "write `concat`",
    "chunk": "write `split`", "view": "write `reshape`", "matmul": "write `a @ b`", "mm": "write `a @ b`",
    "bmm": "write `a @ b`", "mse_loss": "write `mse`", "scaled_dot_product_attention": "write `attention`",
    **dict.fromkeys(("torch", "np", "numpy", "math", "F"),
                    "the functions of tensors and numbers are built in: `exp(x)`, `sum(x, axis=0)`"),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like"),
                    "`zeros()` and `ones()` take shape and elements from what is asked for: `let y: f32[n] = zeros()`"),
    **dict.fromkeys(("random", "rand", "randn", "randint"),
                    "numbers come from a generator: `var g = rng(seed)`, then `g.uniform()`, `g.normal[3]()`"),
    "isinstance": "cases of an enum are told apart by `match`",
    "nn": "write `from nn import Linear`", "optim": "write `from optim import Adam`",
    "divmod": "write `(a // b, a % b)`",
    "bin": "write `f\"{n:b}\"`", "hex": "write `f\"{n:x}\"`", "oct": "write `f\"{n:o}\"`",
    **dict.fromkeys(("parseInt", "parse_int", "atoi"), "write `int(s)`"),
    **dict.fromkeys(("parseFloat", "parse_float", "atof"), "write `f64(s)`"),
    **dict.fromkeys(("defaultdict", "Counter"), "write `m[k] = (m.get(k) ?? 0) + 1`, with a `map`"),
    **dict.fromkeys(("input", "open"), "who calls the function reads, and passes the text"),
    "pi": "declare it: `const PI = 3.141592653589793`",
    "assertEqual": "write `assert a == b`",
    **dict.fromkeys(("Exception", "ValueError", "TypeError", "KeyError", "IndexError", "RuntimeError"),
                    "`raise` takes the text alone: `raise \"why\"`"),
}
"""How what elsewhere is a name is written."""
MODULES = {
    **dict.fromkeys(("torch", "numpy", "math", "jax"), NAMES["math"]),
    "random": NAMES["random"],
    "collections": "`deque[T]()`, and a `map` with `m.get(k) ?? 0`, are built in",
    "heapq": "`heap[P, T]()` is built in",
    "typing": "types are built in: `list[int]`, `map[str, int]`, `T?`, `fn(A) -> B`",
}
"""What stands for a module of Python's."""

LAYERS = {
    **{name: f"it is a function: `{name.lower()}(x)`"
       for name in ("ReLU", "GELU", "SiLU", "Sigmoid", "Tanh", "Softplus")},
    "Softmax": "it is a function: `softmax(x)`", "LogSoftmax": "it is a function: `log_softmax(x)`",
    "CrossEntropyLoss": "it is a function: `cross_entropy(logits, label)`", "MSELoss": "it is a function: `mse(a, b)`",
    "Flatten": "it is a function: `reshape(x, [n, m])`", "MaxPool2d": "it is a function: `max_pool2d(x, 2)`",
    "AvgPool2d": "it is a function: `avg_pool2d(x, 2)`",
    "Module": "declare a `model`", "Parameter": "declare it in a model: `param w: f32[n] = zeros()`",
    "Sequential": "hold the layers, `let a = Linear(2, 3)`, and call one after the other in `forward`",
    **dict.fromkeys(("ModuleList", "ModuleDict"), "a list or map: `let layers = [Linear(d, d) for i in range(4)]`"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "a loop over a cell: `h = cell(x, h)`"),
    "BatchNorm1d": "it is called `BatchNorm`", "BatchNorm2d": "it is called `BatchNorm`",
    "MultiheadAttention": "it is called `Attention`", "TransformerEncoderLayer": "it is called `TransformerBlock`",
}
"""What the module `nn` of torch has, and is written otherwise."""
PREFIXES = {
    **dict.fromkeys(("r", "rf", "fr"), "a backslash is written twice"),
    **dict.fromkeys(("b", "rb", "br"), "`\"...\".bytes()` is a list of bytes"),
    "u": "every string is of Unicode characters",
}
"""What Python's prefixes of strings stand for."""
HOOKS = {
    "__init__": "what stands in the header or as a field is given when one is built: `model M(n: int):`, `M(8)`; a "
                "first value stands beside its name, `param w: f32[n] = zeros()`",
    "__call__": "`m(x)` calls a model's `forward`",
    **dict.fromkeys(("__str__", "__repr__"), "a value is shown as it is built; any other text is a method's, as "
                                             "`fn text() -> str:`"),
    **dict.fromkeys(("__eq__", "__ne__", "__hash__"), "values are compared as a whole"),
}
"""What is meant by a method that Python calls by itself. Any other has an operator's meaning."""


def hook(name: str) -> tuple[str, str] | None:
    """What is said of a method that Python would call by itself."""
    if not (len(name) > 4 and name.startswith("__") and name.endswith("__")):
        return None
    help = HOOKS.get(name, "there is no operator overloading: call a method by its name, as `a.plus(b)`")
    return f"nothing calls a method because it is called `{name}`", help


FOREIGN_TYPES = {
    "float": "f32` or `f64", "double": "f64", "float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16",
    "half": "f16", "Int": "int", "integer": "int", "long": "int", "i64": "int", "int64": "int", "int32": "i32",
    "uint8": "u8", "boolean": "bool", "Bool": "bool", "string": "str", "String": "str", "dict": "map", "Dict": "map",
    "List": "list", "Set": "set", "tuple": "(int, str)", "Tuple": "(int, str)", "Optional": "T?", "array": "list",
    "Tensor": "f32[N, M]", "tensor": "f32[N, M]", "ndarray": "f32[N, M]", "Callable": "fn(int) -> int",
}
"""What types are called elsewhere."""
NO_TYPES = {
    **dict.fromkeys(("None", "void"), "a fn that gives nothing has no `->`; a value that may be missing is `T?`"),
    **dict.fromkeys(("number", "key", "order"), "it is a bound: `fn f[T: number](x: T) -> T:`"),
    "model": "a configuration argument is one model, `inner: model`; a list of models is a `let`",
    "Any": "a type parameter stands for any type: `fn f[T](x: T) -> T:`",
}
"""What stands for a type elsewhere, or beside types here."""


def member(kind: str, name: str, names: Collection[str]) -> str | None:
    """How a member of other languages is called among these, or written. `kind`: `tensor`, `number`, or the name of
    the type."""
    for called in MEMBERS.get(name, ()):
        if called in names:
            return f"it is called `{called}`"
    written, kinds = WRITTEN.get(name, (None, EVERY))
    if written is not None and kind in kinds:
        return written
    return OF_TYPES.get(kind, {}).get(name)


def type_called(name: str) -> str | None:
    """What is written for a type that is called otherwise elsewhere."""
    return f"write `{FOREIGN_TYPES[name]}`" if name in FOREIGN_TYPES else NO_TYPES.get(name)


@dataclass(frozen=True)
class Habit:
    message: str
    help: str | None
    first: Token
    last: Token


def recognise(tokens: list[Token], at: int, begins: int) -> Habit | None:
    """The habit behind the unexpected token `at`; `begins` is the first token of its line."""
    token = tokens[at]
    previous = tokens[at - 1] if at > begins else None
    before = tokens[at - 2] if at - 1 > begins else None
    following = tokens[at + 1] if at + 1 < len(tokens) else None

    if previous is None:
        if token.type == "NAME" and token.value in WORDS and following is not None:
            if following.type in ("NAME", "STRING", "FSTRING", "COLON", "NUMBER", "SELF"):
                return Habit(*WORDS[token.value], token, token)
        return None
    if previous.type == "NAME" and previous.value in WORDS:
        if token.type in ("NAME", "STRING", "FSTRING", "NUMBER", "SELF", "NONE", "TRUE", "FALSE", "NOT", "FN", "FOR"):
            return Habit(*WORDS[previous.value], previous, previous)
        if token.type in ("COLON", "LBRACE", "LSQB") and at - 1 == begins:
            return Habit(*WORDS[previous.value], previous, previous)
    if tokens[begins].type == "EXPORT" and token.type == "COMMA":
        return Habit("an `export` names one thing", "write each on a line of its own, with `export`", token, token)
    if previous.type in ("IF", "ELIF", "WHILE") and token.type in ("LET", "VAR"):
        return Habit(f"there is no `{previous.value} {token.value}`", "name it on a line before: `let x = ...`, then "
                     "`if x != none:`", previous, token)
    if previous.type == "PARALLEL" and token.type == "FOR":
        return Habit("there is no `parallel for`", "`parallel [f(x) for x in xs]` gives what each turn made",
                     previous, token)
    if previous.type == "ELSE" and token.type == "IF":
        return Habit("there is no `else if`", "write `elif`", previous, token)
    if token.type == "VAR" and following is not None and following.type == "LPAR":
        return Habit("`var` declares a variable", f"a variance is written out: {torch_names.FUNCTIONS['variance'][6:]}",
                     token, token)
    if previous.type in ("LET", "VAR") and token.type == "MUT":
        return Habit("there is no `let mut`", "write `var` for what is assigned again", previous, token)
    if token.type == "NAME" and token.value == "is":
        return Habit(*WORDS["is"], token, token)
    if following is not None and token.end_pos == following.start_pos:
        pair = token.value, following.value
        if pair in ((":", "="), ("=", ">")):
            return Habit(*_ADJACENT[pair], token, following)
    if previous.end_pos == token.start_pos and (previous.value, token.value) in _ADJACENT:
        return Habit(*_ADJACENT[previous.value, token.value], previous, token)
    if before is not None and token.type in ("NEWLINE", "RPAR", "EQUAL") and before.end_pos == previous.start_pos:
        if previous.value == before.value and previous.value in ("+", "-"):
            sign = previous.value
            return Habit(f"there is no `{sign}{sign}`", f"write `{sign}= 1`", before, previous)
    if before is not None and before.type == "NAME" and before.value in WORDS and at - 2 == begins:
        # `class A(B):` and the like: the first word went for a name, and the mistake shows only later.
        if previous.type == "NAME":
            return Habit(*WORDS[before.value], before, before)
    if previous.type == "NAME" and previous.end_pos == token.start_pos and token.type in ("STRING", "FSTRING"):
        written = PREFIXES.get(previous.value.lower())
        if written is not None:
            return Habit(f"a string has no prefix `{previous.value}`", written, previous, token)
    if previous.type == "FSTRING" and previous.end_pos == token.start_pos and previous.value.count("{") > (
        previous.value.count("}")
    ):
        return Habit("the f-string ends within its braces", "a string in there takes the other kind of quote, as in "
                     """`f"{m['k']}"`""", previous, token)
    if previous.type == token.type == "NUMBER" and previous.end_pos == token.start_pos:
        return Habit(*_ADJACENT[".", "."], previous, token) if previous.value[-1] == "." else None
    if token.type == "LBRACE" and previous.type == "NAME" and previous.value[:1].isupper():
        return Habit(f"a value of `{previous.value}` is made by a call", f"write `{previous.value}(x=1, y=2)`",
                     previous, token)
    if previous.type == "NAME" and previous.value in BUILT and at - 1 == begins and token.type == "NAME":
        return Habit("a variable is declared by `let` or `var`, and its type stands behind its name",
                     f"write `var {token.value}: {previous.value} = ...`", previous, token)
    if previous.type == "QMARK" and token.type in ("NAME", "NUMBER", "STRING", "SELF", "LPAR"):
        return Habit("there is no `c ? a : b`", "write `a if c else b`", previous, previous)
    return None
