"""Values as C has them: for each type of the program its C type, the struct that compiled code has for it, and the
functions that move a value in and out.

    bool u8 i32 int f32 f64   _Bool, uint8_t, int32_t, int64_t, float, double
    str                       const char *in, char *out: UTF-8, ended by a null character
    tensors, lists of scalars a struct of `data` and `shape`, row by row; PREFIX_f32_2 has two dimensions
    tuples, structs           a struct; the items of a tuple are a, b, c... (item26 and so on after z)
    T?                        a struct of `there` and `value`
    enums without fields      int64_t, with a constant for each case

What comes out is a copy in memory of malloc's, the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from hybridc_runtime.layout import Layouts
from hybridc_runtime.manifest import Manifest, Type

SCALARS = {"bool": "_Bool", "u8": "uint8_t", "i32": "int32_t", "int": "int64_t", "f32": "float", "f64": "double"}


class NotInC(Exception):
    """A type that C has no form for; its text says which."""


def identifier(text: str) -> str:
    """A C identifier for a file's name or a type as shown."""
    made = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return made if made[:1].isalpha() else "_" + made


@dataclass
class CType:
    """`public`: its C type; `core`: that of compiled code; `name`: in the names of its functions; `memory`: whether a
    value of it holds memory of the caller's."""

    public: str
    core: str
    name: str
    memory: bool


@dataclass
class Types:
    """The types of one program, declared as they are met."""

    manifest: Manifest
    prefix: str
    public: list[str] = field(default_factory=list)
    """Declarations for the header."""
    private: list[str] = field(default_factory=list)
    """Definitions for the library."""
    known: dict[Type, CType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layouts = Layouts(self.manifest)

    def of(self, t: Type) -> CType:
        """NotInC for a type without a form."""
        if t not in self.known:
            self.known[t] = self._make(t)
        return self.known[t]

    def _make(self, t: Type) -> CType:
        if isinstance(t, str):
            if t not in SCALARS:
                raise NotInC(t)
            self._scalar(t)
            return CType(SCALARS[t], SCALARS[t], t, False)
        match t[0]:
            case "tensor" if t[1] in SCALARS and t[2]:
                return self._array(t[1], t[2])
            case "tuple" if t[1]:
                fields = [(chr(97 + i) if i < 26 else f"item{i}", item) for i, item in enumerate(t[1])]
                return self._fields("_".join(self.of(i).name for i in t[1]), fields)
            case "option":
                return self._option(self.of(t[1]))
        kind = self.manifest.kinds.get(t[1]) if t[0] in ("struct", "enum") else None
        match kind.kind if kind else "":
            case "str":
                return CType("char *", "core_str", "str", True)
            case "list" if kind and kind.args[0] in SCALARS:
                return self._list(str(kind.args[0]))
            case "struct" if kind:
                return self._fields(kind.title.rpartition(":")[2] or t[1], list(self.manifest.structs[t[1]]))
            case "enum" if kind and self.layouts.plain(t[1]):
                return self._enum(kind.title.rpartition(":")[2] or t[1], [c for c, _ in self.manifest.enums[t[1]]])
        title = kind.title.rpartition(":")[2] if kind else ""
        raise NotInC(title or (t[1] if isinstance(t[1], str) else t[0]))

    def _unused(self, name: str) -> str:
        """The name, or with a number where another type has it (`Pair[int]` and `Pair[str]`)."""
        taken = {c.name for c in self.known.values()}
        return next(n for i in range(len(taken) + 1) if (n := f"{name}_{i + 1}" if i else name) not in taken)

    # ---- each kind of type
    def _scalar(self, t: str) -> None:
        c = SCALARS[t]
        self.private.append(
            f"static int in_{t}({c} v, {c} *out) {{ *out = v; return 0; }}\n"
            f"static int out_{t}(const {c} *v, {c} *out) {{ *out = *v; return 0; }}")

    def _vector(self, elem: str, rank: int) -> str:
        """The public struct of arrays."""
        name = f"{self.prefix}_{elem}_{rank}"
        text = f"typedef struct {{ {SCALARS[elem]} *data; int64_t shape[{rank}]; }} {name};"
        if text not in self.public:
            self.public.append(text)
        return name

    def _array(self, elem: str, dims: tuple[int | None, ...]) -> CType:
        rank = len(dims)
        public = self._vector(elem, rank)
        name = f"{elem}_" + "_".join("n" if d is None else str(d) for d in dims)
        core = f"core_{elem}_{rank}"
        text = f"typedef struct {{ block *owner; {SCALARS[elem]} *data; int64_t shape[{rank}]; }} {core};"
        if text not in self.private:
            self.private.append(text)
        size = f"sizeof({SCALARS[elem]})"
        checks = "".join(
            f"    if (v.shape[{i}] != {d}) return fail(VALUE_ERROR, \"dimension {i} of an array is not {d}\");\n"
            for i, d in enumerate(dims) if d is not None)
        self.private.append(
            f"static int in_{name}({public} v, {core} *out) {{\n{checks}"
            f"    int code = in_block(v.data, v.shape, {rank}, {size}, &out->owner);\n    if (code) return code;\n"
            f"    out->data = ({SCALARS[elem]} *)out->owner->data;\n"
            f"    memcpy(out->shape, v.shape, sizeof v.shape);\n    return 0;\n}}\n"
            f"static int out_{name}(const {core} *v, {public} *out) {{\n"
            f"    memcpy(out->shape, v->shape, sizeof v->shape);\n"
            f"    return out_data(v->data, v->shape, {rank}, {size}, (void **)&out->data);\n}}\n"
            f"static void free_{name}({public} *v) {{ free(v->data); }}")
        return CType(public, core, name, True)

    def _list(self, elem: str) -> CType:
        public = self._vector(elem, 1)
        size = f"sizeof({SCALARS[elem]})"
        self.private.append(
            f"static int in_list_{elem}({public} v, core_list *out) {{\n"
            f"    int code = in_block(v.data, v.shape, 1, {size}, &out->data);\n    if (code) return code;\n"
            f"    out->size = v.shape[0];\n    return 0;\n}}\n"
            f"static int out_list_{elem}(const core_list *v, {public} *out) {{\n    out->shape[0] = v->size;\n"
            f"    return out_data(v->data ? v->data->data : NULL, out->shape, 1, {size}, (void **)&out->data);\n}}\n"
            f"static void free_list_{elem}({public} *v) {{ free(v->data); }}")
        return CType(public, "core_list", f"list_{elem}", True)

    def _fields(self, title: str, fields: list[tuple[str, Type]]) -> CType:
        parts = list(zip(members(n for n, _ in fields), [self.of(t) for _, t in fields], strict=True))
        name = self._unused(identifier(title))
        public, core = f"{self.prefix}_{name}", f"core_{name}"
        rows = " ".join(f"{c.public}{'' if c.public.endswith('*') else ' '}{n};" for n, c in parts)
        self.public.append(f"typedef struct {{ {rows or 'char nothing;'} }} {public};")
        rows = " ".join(f"{c.core} {n};" for n, c in parts)
        self.private.append(f"typedef struct {{ {rows} }} {core};")
        moves_in = " || ".join(f"(code = in_{c.name}(v.{n}, &out->{n}))" for n, c in parts) or "0"
        moves_out = " || ".join(f"(code = out_{c.name}(&v->{n}, &out->{n}))" for n, c in parts) or "0"
        self.private.append(
            f"static int in_{name}({public} v, {core} *out) {{\n    int code = 0;\n    (void)({moves_in});\n"
            f"    return code;\n}}\n"
            f"static int out_{name}(const {core} *v, {public} *out) {{\n    int code = 0;\n    (void)({moves_out});\n"
            f"    return code;\n}}")
        frees = " ".join(f"free_{c.name}(&v->{n});" for n, c in parts if c.memory)
        if frees:
            self.private.append(f"static void free_{name}({public} *v) {{ {frees} }}")
        return CType(public, core, name, bool(frees))

    def _option(self, item: CType) -> CType:
        name = f"optional_{item.name}"
        public, core = f"{self.prefix}_{name}", f"core_{name}"
        gap = "" if item.public.endswith("*") else " "
        self.public.append(f"typedef struct {{ _Bool there; {item.public}{gap}value; }} {public};")
        self.private.append(
            f"typedef struct {{ _Bool there; {item.core} value; }} {core};\n"
            f"static int in_{name}({public} v, {core} *out) {{\n    out->there = v.there;\n"
            f"    return v.there ? in_{item.name}(v.value, &out->value) : 0;\n}}\n"
            f"static int out_{name}(const {core} *v, {public} *out) {{\n    out->there = v->there;\n"
            f"    return v->there ? out_{item.name}(&v->value, &out->value) : 0;\n}}")
        if item.memory:
            self.private.append(f"static void free_{name}({public} *v) {{ free_{item.name}(&v->value); }}")
        return CType(public, core, name, item.memory)

    def _enum(self, title: str, cases: list[str]) -> CType:
        name = self._unused(identifier(title))
        self.public.append(f"enum {{ {', '.join(f'{self.prefix}_{name}_{c}' for c in members(cases))} }};")
        self.private.append(
            f"static int in_{name}(int64_t v, int64_t *out) {{\n"
            f"    if (v < 0 || v >= {len(cases)}) return fail(VALUE_ERROR, \"not a case of {title}\");\n"
            f"    *out = v;\n    return 0;\n}}\n"
            f"static int out_{name}(const int64_t *v, int64_t *out) {{ *out = *v; return 0; }}")
        return CType("int64_t", "int64_t", name, False)


WORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long"
    " register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while"
    " asm typeof alignas alignof bool constexpr false nullptr static_assert thread_local true and and_eq bitand"
    " bitor catch char16_t char32_t char8_t class compl concept const_cast consteval constinit co_await co_return"
    " co_yield decltype delete dynamic_cast explicit export friend import module mutable namespace new noexcept not"
    " not_eq operator or or_eq private protected public reinterpret_cast requires static_cast template this throw"
    " try typeid typename using virtual wchar_t xor xor_eq errno linux stderr stdin stdout unix int32_t int64_t"
    " size_t uint8_t".split())
"""Of C and C++, and what their headers and compilers define."""


def named(name: str, taken: Iterable[str] = ()) -> str:
    """A name of the source in C: letters beyond ASCII by their numbers, with `_` behind what is a word or taken."""
    made = "".join(c if c.isascii() else f"u{ord(c):04x}" for c in name)
    while made in WORDS or made in taken:
        made += "_"
    return made


def members(names: Iterable[str]) -> list[str]:
    """Names that stand beside each other."""
    made: list[str] = []
    for name in names:
        made.append(named(name, made))
    return made
