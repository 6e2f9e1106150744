"""A program for callers from C: the text of NAME.h, and the C file that stands between it and the compiled code.

Each exported function is `int PREFIX_f(arguments..., RESULT *result)`: 0, or the number of a fault, whose text
PREFIX_error() gives. A model is a handle. What has no form in C is named in the header, with the type that has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hybridc_runtime.faults import DEFAULTS
from hybridc_runtime.layout import type_key
from hybridc_runtime.manifest import Entry, Manifest, Model, Param, Type
from hybridc_runtime.weights import CODES

from hybridc.link.c_types import SCALARS, CType, NotInC, Types, identifier, named
from hybridc.llvm.definitions import symbol as llvm_name

SUPPORT = Path(__file__).with_name("c_support.c")


@dataclass
class Given:
    """A parameter: its name in the definition, where it is none of those used there, its declaration in the header and
    in the definition, its type in compiled code; `type`, or for a model the name of it."""

    name: str
    declared: str
    defined: str
    core: str
    mut: bool
    core_type: Type
    type: CType | None = None
    model: str = ""


@dataclass
class Library:
    """`functions`: prototypes with what they do; `code`: their definitions."""

    manifest: Manifest
    prefix: str
    functions: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    externs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.types = Types(self.manifest, self.prefix)
        self.taken = {f"{self.prefix}_error", f"{self.prefix}_free"}
        """Names of functions."""
        for m in self.manifest.models:
            try:
                self.model(m)
            except NotInC as e:
                self.absent.append(f"{e}")
        for name, entries in sorted(self.manifest.fns.items()):
            if len(entries) == 1:
                self.function(f"{self.prefix}_{name}", name, entries[0])
            else:
                self.absent.append(f"{name}: it is built for several types or configurations")

    # ---- functions
    def symbol(self, name: str) -> str:
        """The C name of a symbol of the object."""
        return self.externs.setdefault(name, f"compiled_{len(self.externs)}")

    def function(self, name: str, shown: str, entry: Entry) -> None:
        """A function or method; a model is given as its handle."""
        params: list[Given] = []
        called = ["result"]
        try:
            for i, p in enumerate(entry.params):
                called.append(named("model" if p.name == "self" else p.name, called))
                params.append(self.parameter(p, called[-1], f"p{i}"))
            result = None if entry.result is None else self.types.of(entry.result)
        except NotInC as e:
            self.absent.append(f"{shown}: {e} has no form in C")
            return
        last = [_declared(result.public, "*result")] if result else []
        c_name = named(name, self.taken)
        self.taken.add(c_name)
        declared = ", ".join([*(p.declared for p in params), *last]) or "void"
        defined = ", ".join([*(p.defined for p in params), *last]) or "void"
        doc = _comment((entry.doc or "").strip())
        self.functions.append((f"/* {doc} */\n" if doc else "") + f"int {c_name}({declared});")
        self.code.append(f"PUBLIC int {c_name}({defined}) {{\n{self.body(entry, params, result)}}}")

    def parameter(self, p: Param, called: str, name: str) -> Given:
        m = next((m for m in self.manifest.models if p.type == ("struct", m.struct)), None)
        if m is not None:
            self.elem(m)
            public = f"{'' if p.mut else 'const '}{self.prefix}_{self.name_of(m)} *"
            return Given(name, public + called, public + name, f"core_{self.name_of(m)}", p.mut, p.type,
                         model=self.name_of(m))
        c = self.types.of(p.type)
        public = "const char *" if c.public == "char *" and not p.mut else c.public
        at = "*" if p.mut else ""
        return Given(name, _declared(public, at + called), _declared(public, at + name), c.core, p.mut, p.type, c)

    def body(self, entry: Entry, params: Sequence[Given], result: CType | None) -> str:
        """Arguments in, the call, results out; what was made on the way is let go of on every way out."""
        muts = [(f"a{i}", p) for i, p in enumerate(params) if p.mut]
        ins = " ".join(f"{p.core} a{i};" for i, p in enumerate(params))
        outs = " ".join([*([f"{result.core} result;"] if result else []), *(f"{p.core} {at};" for at, p in muts)])
        lines = ["void *ctx = begin();", f"struct {{ {ins or 'char nothing;'} }} args;",
                 f"struct {{ {outs or 'char nothing;'} }} results;", "memset(&args, 0, sizeof args);",
                 "memset(&results, 0, sizeof results);", "int code = 0;"]
        moves = [f"(code = in_{p.type.name}({'*' if p.mut else ''}{p.name}, &args.a{i}))"
                 for i, p in enumerate(params) if p.type is not None]
        lines.append(f"if ({' || '.join(moves) or '0'}) {{")
        made = [(f"args.a{i}", p.core_type) for i, p in enumerate(params) if p.type]
        lines += [f"    {line}" for line in self.releases(made)]
        lines += ["    return code;", "}"]
        for i, p in enumerate(params):
            if p.model:
                lines += [f"args.a{i} = {p.name}->value;", f"retain_all(&args.a{i}, counted_{p.model});"]
        lines.append(f"if ({self.symbol('hyb.' + entry.symbol)}(ctx, &args, &results)) return take_fault(ctx);")
        gives = [(result, "result", "result")] if result else []
        gives += [(p.type, at, p.name) for at, p in muts if p.type is not None]
        if gives:
            lines += [f"{_declared(c.public, f'given{i}')};" for i, (c, _, _) in enumerate(gives)]
            lines += [f"memset(&given{i}, 0, sizeof given{i});" for i in range(len(gives))]
            tries = [f"(code = out_{c.name}(&results.{at}, &given{i}))" for i, (c, at, _) in enumerate(gives)]
            lines += [f"(void)({' || '.join(tries)});", "if (code) {"]
            lines += [f"    free_{c.name}(&given{i});" for i, (c, _, _) in enumerate(gives) if c.memory]
            lines += ["} else {", *(f"    *{to} = given{i};" for i, (_, _, to) in enumerate(gives)), "}"]
        kept = [*([("results.result", entry.result)] if result and entry.result is not None else []),
                *((f"results.{at}", p.core_type) for at, p in muts if p.type)]
        lines += self.releases(kept)
        for at, p in muts:
            if p.model:
                release = self.release(p.core_type)
                lines += ["if (code) {", f"    {release}(ctx, &results.{at});", "} else {",
                          f"    {release}(ctx, &{p.name}->value);", f"    {p.name}->value = results.{at};", "}"]
        lines.append("return code;")
        return "".join(f"    {line}\n" for line in lines)

    def releases(self, places: Iterable[tuple[str, Type]]) -> list[str]:
        return [f"{self.release(t)}(ctx, &{place});" for place, t in places if any(self.types.layouts.of(t).counted)]

    def release(self, t: Type) -> str:
        return self.symbol("hyb release " + type_key(t))

    # ---- models
    def name_of(self, m: Model) -> str:
        """As it is exported, else its type."""
        found = [n for n, (key, config) in self.manifest.exports.items() if (key, config) == (m.key, m.config)]
        return identifier(found[0] if found else m.shown)

    def elem(self, m: Model) -> str:
        """The C type of its parameters."""
        if m.elem not in SCALARS:
            raise NotInC(f"{m.shown} with parameters of {m.elem}")
        return SCALARS[m.elem]

    def model(self, m: Model) -> None:
        name = self.name_of(m)
        handle, core, layout = f"{self.prefix}_{name}", f"core_{name}", self.types.layouts.of(("struct", m.struct))
        elem, release = self.elem(m), self.release(("struct", m.struct))
        offsets = [layout.offsets[i] for i in layout.blocks]
        places = ", ".join(f'{{{_text(p.path)}, {p.offset}, {_product(p.shape)}}}' for p in m.params)
        self.taken |= {handle, *(f"{handle}_{f}" for f in ("new", "free", "get_params", "set_params", "load"))}
        self.types.public.append(f"typedef struct {handle} {handle};")
        self.types.private.append(
            f"typedef struct {{ _Alignas({layout.align}) char bytes[{max(layout.size, 1)}]; }} {core};\n"
            f"struct {handle} {{ {core} value; }};\n"
            f"static const int counted_{name}[] = {{{', '.join(map(str, [*offsets, -1]))}}};\n"
            f"static const struct tensor_place tensors_{name}[] = {{{places or '{0, 0, 0}'}}};")
        self.functions += [
            f"/* {_comment(m.shown)}, its parameters as the seed says; {handle}_free ends it. Calls that do not"
            f" change it may be made from several threads at once. */\n"
            f"int {handle}_new(int64_t seed, {handle} **result);",
            f"void {handle}_free({handle} *model);",
            f"/* Its {m.size} parameters, one after the other: */\n"
            f"int {handle}_get_params(const {handle} *model, {elem} *values);\n"
            f"int {handle}_set_params({handle} *model, const {elem} *values, int64_t count);",
            f"/* The parameters of a .safetensors file; state stays as it is. */\n"
            f"int {handle}_load({handle} *model, const char *path);",
        ]
        vector = f"(({elem} **)&model->value)[1]"
        self.code.append(
            f"PUBLIC int {handle}_new(int64_t seed, {handle} **result) {{\n    void *ctx = begin();\n"
            f"    {handle} *model = calloc(1, sizeof *model);\n    if (!model) return no_memory();\n"
            f"    if ({self.symbol('hyb.' + m.init)}(ctx, &seed, &model->value)) {{\n        free(model);\n"
            f"        return take_fault(ctx);\n    }}\n    *result = model;\n    return 0;\n}}\n"
            f"PUBLIC void {handle}_free({handle} *model) {{\n    if (!model) return;\n"
            f"    {release}(begin(), &model->value);\n    free(model);\n}}\n"
            f"PUBLIC int {handle}_get_params(const {handle} *model, {elem} *values) {{\n"
            f"    if ({m.size}) memcpy(values, {vector}, {m.size} * sizeof({elem}));\n    return 0;\n}}\n"
            f"static int put_{name}({handle} *model, block *b) {{\n    block **owner = (block **)&model->value;\n"
            f"    drop(*owner);\n    *owner = b;\n    {vector} = ({elem} *)b->data;\n    return 0;\n}}\n"
            f"PUBLIC int {handle}_set_params({handle} *model, const {elem} *values, int64_t count) {{\n"
            f"    if (count != {m.size}) return fail(VALUE_ERROR, {_text(f'{m.shown} has {m.size} parameters')});\n"
            f"    block *b = new_block({m.size}, {m.size} * sizeof({elem}));\n    if (!b) return no_memory();\n"
            f"    if ({m.size}) memcpy(b->data, values, {m.size} * sizeof({elem}));\n"
            f"    return put_{name}(model, b);\n}}\n"
            f"PUBLIC int {handle}_load({handle} *model, const char *path) {{\n"
            f"    block *b = new_block({m.size}, {m.size} * sizeof({elem}));\n    if (!b) return no_memory();\n"
            f"    int code = load_tensors(path, tensors_{name}, {len(m.params)}, \"{CODES[m.elem]}\", sizeof({elem}),"
            f" b->data);\n"
            f"    if (code) {{\n        free(b);\n        return code;\n    }}\n    return put_{name}(model, b);\n}}")
        for method, entry in sorted(m.methods.items()):
            shown = f"{m.shown}.{method}"
            self.function(f"{handle}_{method}", shown, entry)

    # ---- the files
    def header(self) -> str:
        guard = f"HYB_{self.prefix.upper()}_H"
        absent = "".join(f"   {_comment(line)}\n" for line in self.absent)
        return "\n".join([
            f"/* {self.manifest.name}, compiled by hybridc. A function gives 0, or the number of a fault, and then"
            f" {self.prefix}_error()\n   says what it was; `result` and `mut` arguments are as before. Text is UTF-8."
            f" Arrays and text that come out\n   (in a result, or in place of a `mut` argument) are the caller's:"
            f" {self.prefix}_free(x.data). */",
            f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n",
            "#ifdef __cplusplus\n#define _Bool bool\nextern \"C\" {\n#endif\n",
            *self.types.public, "",
            f"/* The text of this thread's last fault: what, why, and where. */\n"
            f"const char *{self.prefix}_error(void);",
            f"void {self.prefix}_free(void *memory);\n",
            *(f + "\n" for f in self.functions),
            *([f"/* Not for C:\n{absent}*/\n"] if absent else []),
            "#ifdef __cplusplus\n}\n#undef _Bool\n#endif\n\n#endif", ""])

    def thunks(self) -> str:
        """LLVM's text of functions with C's names, which call those of the object: its names are no assembler's."""
        lines = []
        for name, c in self.externs.items():
            shown = llvm_name(name)
            if name.startswith("hyb release "):
                lines += [f"declare void {shown}(ptr, ptr)", f"define void @{c}(ptr %ctx, ptr %value) {{",
                          f"  tail call void {shown}(ptr %ctx, ptr %value)", "  ret void", "}"]
            else:
                lines += [f"declare i32 {shown}(ptr, ptr, ptr)",
                          f"define i32 @{c}(ptr %ctx, ptr %args, ptr %results) {{",
                          f"  %status = tail call i32 {shown}(ptr %ctx, ptr %args, ptr %results)",
                          "  ret i32 %status", "}"]
        return "\n".join(lines)

    def source(self, abi: dict[str, int], fault_names: Sequence[str]) -> str:
        """The C file of the library. `abi`: offsets and sizes by the names that c_support.c has for them."""
        m = self.manifest
        sites = [(None, 0) if hidden else (path, line) for path, line, _, _, hidden in m.sites]
        known = {"print": "PRINT", "_print": "PRINT", "_str_is_printable": "IS_PRINTABLE"}
        services = [known.get(name, "0") for name, _, _ in m.hosts]
        lines = [f"#define {name} {value}" for name, value in abi.items()]
        lines += [f"#define SITES {len(sites)}", f"#define FAULT_KINDS {len(fault_names)}", "#define PRINT 1",
                  "#define IS_PRINTABLE 2",
                  "#include <stddef.h>", f'#include "{self.prefix}.h"',
                  '#define PUBLIC __attribute__((visibility("default")))',
                  f"static const char *const faults[] = {{{_strings(fault_names)}}};",
                  f"static const char *const messages[] = {{{_strings(DEFAULTS.get(n, '') for n in fault_names)}}};",
                  "static const struct { const char *path; int line; } sites[] = {"
                  + (", ".join(f"{{{_text(path)}, {line}}}" for path, line in sites) or "{0, 0}") + "};",
                  f"static const char services[] = {{{', '.join([*services, '0'])}}};",
                  "struct tensor_place { const char *name; int64_t offset, size; };",
                  SUPPORT.read_text(encoding="utf-8")]
        for name, c in self.externs.items():
            kind = "void" if name.startswith("hyb release ") else "int32_t"
            more = "" if kind == "void" else ", void *results"
            lines.append(f"extern {kind} {c}(void *ctx, void *value{more});")
        lines += [*self.types.private,
                  f"PUBLIC const char *{self.prefix}_error(void) {{ return error_text; }}",
                  f"PUBLIC void {self.prefix}_free(void *memory) {{ free(memory); }}", *self.code, ""]
        return "\n".join(lines)


def _declared(type_: str, name: str) -> str:
    return f"{type_}{'' if type_.endswith('*') else ' '}{name}"


def _text(s: str | None) -> str:
    return "NULL" if s is None else json.dumps(s, ensure_ascii=False)


def _comment(s: str) -> str:
    """Text within a comment, which it does not end."""
    return s.replace("*/", "* /")


def _strings(texts: Iterable[str]) -> str:
    return ", ".join(map(_text, texts))


def _product(shape: Sequence[int]) -> int:
    n = 1
    for d in shape:
        n *= d
    return n
