"""The `.pyi` of an artifact: its functions, classes and models for type checkers and editors."""

from __future__ import annotations

import keyword
from collections.abc import Collection, Sequence

from hybridc_runtime.classes import python_name

from hybridc.core import ir
from hybridc.core.interface import Entry, Interface, Model


class _Stub:
    def __init__(self, interface: Interface, program: ir.Program):
        self.interface = interface
        self.program = program
        self.instances: dict[str, list[str]] = {}
        """The names in Core of each class of the stub: of a generic one all its instances."""
        self.others: dict[str, str] = {}
        """Further names of a class, `from shapes import Point as P`."""
        known: dict[str, str] = {}
        for title, core in sorted(interface.classes.items(), key=lambda c: (_declared(c[1]) != c[0], c)):
            if known.setdefault(core, title) != title:
                self.others[title] = known[core]
                continue
            generic = core.partition("[")[0]
            alike = [n for n, kind in interface.kinds.items() if kind.title and n.partition("[")[0] == generic]
            self.instances[title] = [core, *sorted(n for n in alike if n != core)]
        self.titles = {core: title for title, names in self.instances.items() for core in names}

    def type(self, t: ir.Type | None) -> str:
        match t:
            case None:
                return "None"
            case ir.Prim(name):
                return "bool" if name == "bool" else "int" if name in ("int", "i32", "u8") else "float"
            case ir.TensorT():
                return "np.ndarray"
            case ir.TupleT(items):
                return f"tuple[{', '.join(map(self.type, items)) or '()'}]"
            case ir.OptionT(item):
                return f"{self.type(item)} | None"
            case ir.StructT(name) | ir.EnumT(name):
                return self.named(name)
        return "Any"

    def named(self, name: str) -> str:
        kind = self.interface.kinds.get(name)
        if kind is None:
            return "Any"
        args = [self.type(a) for a in kind.args]
        match kind.kind:
            case "str":
                return "str"
            case "list" | "set" | "deque":
                return f"{kind.kind}[{', '.join(args)}]"
            case "map":
                return f"dict[{', '.join(args)}]"
            case "heap":
                return f"list[tuple[{', '.join(args)}]]"
            case "struct" | "enum":
                return self.titles.get(name, "Any")
            case "model":
                return next((m.name for m in self.interface.models if m.struct == name), "Any")
            case "fn":
                return f"Callable[[{', '.join(args[:-1])}], {args[-1] if args else 'None'}]"
        return "Any"

    def signature(self, name: str, entry: Entry, method: bool) -> list[str]:
        params = ["self"] if method else []
        for p in entry.params[1 if method else 0:]:
            params.append(f"{python_name(p.name)}: {self.type(p.type)}" + (" = ..." if p.default else ""))
        indent = "    " if method else ""
        lines = [f"{indent}def {name}({', '.join(params)}) -> {self.type(entry.result)}:"]
        return lines + ([f"{indent}    {_doc(entry.doc)}", f"{indent}    ..."] if entry.doc else [f"{indent}    ..."])

    def text(self) -> str:
        lines = ["from collections import deque", "from collections.abc import Callable"]
        lines += ["from typing import Any, overload", ""]
        lines += ["import numpy as np", ""]
        for name, value in sorted(self.interface.constants.items()):
            lines += [f"{name}: {_constant(value)}", ""]
        for title, names in self.instances.items():
            lines += self.klass(title, names)
        for title, first in self.others.items():
            lines += [f"{title} = {first}", ""]
        by_name: dict[str, list[Model]] = {}
        for model in self.interface.models:
            by_name.setdefault(model.name, []).append(model)
        for name, models in sorted(by_name.items()):
            lines += self.model(name, models)
        for name, (key, _) in sorted(self.interface.exports.items()):
            if name in by_name:
                continue  # the class is what goes by this name
            lines += [f"def {name}(*, seed: int = ...) -> {key.rpartition(':')[2]}: ...", ""]
        for name, entries in sorted(self.interface.fns.items()):
            if keyword.iskeyword(name):
                lines += [f"# in Python `getattr(m, \"{name}\")`", ""]
                continue
            # configurations of a model are one class
            known = {tuple(self.signature(name, entry, False)): None for entry in entries}
            for signature in known:
                lines += [*(["@overload"] if len(known) > 1 else []), *signature]
            lines.append("")
        return "\n".join(lines).rstrip() + "\n"

    def klass(self, title: str, names: list[str]) -> list[str]:
        name = names[0]
        lines = [f"class {title}:"]
        helpers = self.interface.kinds[name].helpers if name in self.interface.kinds else {}
        if name in self.program.structs:
            fields = self.united([self.program.structs[n].fields for n in names])
            lines += [f"    {python_name(field)}: {t}" for field, t in fields]
            lines.append(f"    {_init(fields, helpers, '')}")
        else:
            enums = [self.program.enums[n].cases for n in names]
            for i, (case, here) in enumerate(enums[0]):
                if not here:
                    lines.append(f"    {case}: {title}")
                    continue
                fields = self.united([cases[i][1] for cases in enums])
                lines.append(f"    class {case}({title}):  # type: ignore[name-defined]")
                lines += [f"        {python_name(field)}: {t}" for field, t in fields]
                lines.append(f"        {_init(fields, helpers, f'{case}.')}")
        return [*lines, ""]

    def united(self, instances: Sequence[Sequence[tuple[str, ir.Type]]]) -> list[tuple[str, str]]:
        """The fields, each of any of the types that it has in the instances."""
        columns = zip(*instances, strict=True)
        return [(column[0][0], " | ".join({self.type(t): None for _, t in column})) for column in columns]

    def model(self, name: str, models: list[Model]) -> list[str]:
        declared = next((m for m in self.interface.model_classes.values() if m.key == models[0].key), None)
        rows = declared.config if declared is not None else []
        words = declared.words if declared is not None else {}
        config = [f"{python_name(n)}: {_config(shown)}" + (" | str" if n in words else "") + (" = ..." if has else "")
                  for n, shown, _, has in rows]
        lines = [f"class {name}:", *([f"    {_doc(declared.doc)}"] if declared is not None and declared.doc else [])]
        lines += [f"    {python_name(n)}: {_config(shown)}" for n, shown, _, _ in rows]
        lines.append(f"    def __init__(self, {', '.join([*config, '*', 'seed: int = ...'])}) -> None: ...")
        for method, entry in sorted(models[0].methods.items()):
            if keyword.iskeyword(method):
                continue
            lines += self.signature("__call__" if method == "forward" else method, entry, True)
        lines += [
            "    def save(self, path: str) -> None: ...",
            "    def load(self, path: str) -> None: ...",
            "    def state_dict(self) -> dict[str, Any]: ...",
            "    def load_state_dict(self, state: dict[str, Any]) -> None: ...",
            "    def value_and_grad(self, method: str, *args: Any, **kwargs: Any) -> Any: ...",
            "    def to_torch(self) -> Any: ...",
            "",
        ]
        return lines


def _declared(core: str) -> str:
    """The name that a class of Core was declared by."""
    return core.partition("[")[0].rpartition(":")[2].rpartition(".")[2]


def _init(fields: Sequence[tuple[str, str]], helpers: Collection[str], prefix: str) -> str:
    """How a struct or a case is made; fields from the first with a default on may be left out."""
    first = next((i for i, (f, _) in enumerate(fields) if f"default.{prefix}{f}" in helpers), len(fields))
    params = ", ".join(f"{python_name(f)}: {t}" + (" = ..." if i >= first else "") for i, (f, t) in enumerate(fields))
    return f"def __init__(self, {params}) -> None: ..."


def _config(shown: str) -> str:
    """A configuration argument's type, as shown, in Python."""
    plain = {"int": "int", "bool": "bool", "str": "str", "f32": "float", "f64": "float"}
    return plain.get(shown, "Any")


def _constant(value: object) -> str:
    """The type of a constant's value; of what a sequence holds nothing is said."""
    return type(value).__name__


def _doc(text: str) -> str:
    return '"""' + text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') + '"""'


def stub(interface: Interface, program: ir.Program) -> str:
    """The text of NAME.pyi."""
    return _Stub(interface, program).text()
