"""The `.pyi` of an artifact: its functions, classes and models for type checkers and editors."""

from __future__ import annotations

from hybridc.core import ir
from hybridc.core.interface import Entry, Interface, Model


class _Stub:
    def __init__(self, interface: Interface, program: ir.Program):
        self.interface = interface
        self.program = program

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
            case "struct" | "enum" | "model":
                return kind.title.rpartition(":")[2] or "Any"
            case "fn":
                return f"Callable[[{', '.join(args[:-1])}], {args[-1] if args else 'None'}]"
        return "Any"

    def signature(self, name: str, entry: Entry, method: bool) -> list[str]:
        params = ["self"] if method else []
        for p in entry.params[1 if method else 0:]:
            params.append(f"{p.name}: {self.type(p.type)}" + (" = ..." if p.default else ""))
        indent = "    " if method else ""
        lines = [f"{indent}def {name}({', '.join(params)}) -> {self.type(entry.result)}:"]
        return lines + ([f"{indent}    {_doc(entry.doc)}", f"{indent}    ..."] if entry.doc else [f"{indent}    ..."])

    def text(self) -> str:
        lines = ["from collections.abc import Callable", "from typing import Any, overload", ""]
        lines += ["import numpy as np", ""]
        for title, name in sorted(self.interface.classes.items()):
            lines += self.klass(title, name)
        by_name: dict[str, list[Model]] = {}
        for model in self.interface.models:
            by_name.setdefault(model.name, []).append(model)
        for name, models in sorted(by_name.items()):
            lines += self.model(name, models)
        for name, (key, _) in sorted(self.interface.exports.items()):
            lines += [f"def {name}(*, seed: int = 0) -> {key.rpartition(':')[2]}: ...", ""]
        for name, entries in sorted(self.interface.fns.items()):
            for entry in entries:
                lines += (["@overload"] if len(entries) > 1 else []) + self.signature(name, entry, False)
            lines.append("")
        return "\n".join(lines).rstrip() + "\n"

    def klass(self, title: str, name: str) -> list[str]:
        lines = [f"class {title}:"]
        if name in self.program.structs:
            fields = self.program.structs[name].fields
            lines += [f"    {field}: {self.type(t)}" for field, t in fields]
            params = ", ".join(f"{f}: {self.type(t)} = ..." for f, t in fields)
            lines.append(f"    def __init__(self, {params}) -> None: ...")
        else:
            for case, fields in self.program.enums[name].cases:
                if not fields:
                    lines.append(f"    {case}: {title}")
                    continue
                lines.append(f"    class {case}({title}):  # type: ignore[name-defined]")
                lines += [f"        {field}: {self.type(t)}" for field, t in fields]
                params = ", ".join(f"{f}: {self.type(t)}" for f, t in fields)
                lines.append(f"        def __init__(self, {params}) -> None: ...")
        return [*lines, ""]

    def model(self, name: str, models: list[Model]) -> list[str]:
        declared = self.interface.model_classes.get(models[0].key)
        config = [f"{n}: Any" + (" = ..." if has else "") for n, _, _, has in declared.config] if declared else []
        lines = [f"class {name}:", f"    def __init__(self, {', '.join([*config, 'seed: int = 0'])}) -> None: ..."]
        for method, entry in sorted(models[0].methods.items()):
            lines += self.signature("__call__" if method == "forward" else method, entry, True)
        lines += [
            "    def save(self, path: str) -> None: ...",
            "    def load(self, path: str) -> None: ...",
            "    def state_dict(self) -> dict[str, Any]: ...",
            "    def load_state_dict(self, state: dict[str, Any]) -> None: ...",
            "",
        ]
        return lines


def _doc(text: str) -> str:
    return '"""' + text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') + '"""'


def stub(interface: Interface, program: ir.Program) -> str:
    """The text of NAME.pyi."""
    return _Stub(interface, program).text()
