"""Types as a program writes them ("list[(Tree, int)]"), for `mod.native`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hybridc_runtime.layout import SCALARS, erased
from hybridc_runtime.manifest import Type

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec

_TOKEN = re.compile(r"\s*(->|[A-Za-z_][\w.]*|\d+|[\[\](),?*+-])")


class _Parser:
    def __init__(self, text: str, codec: Codec):
        self.text, self.codec = text, codec
        self.tokens = _TOKEN.findall(text)
        if "".join(self.tokens) != re.sub(r"\s", "", text):
            raise ValueError(f"{text!r} is not a type")
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, token: str = "") -> str:
        found = self.peek()
        if not found or token and found != token:
            raise ValueError(f"{self.text!r} is not a type: expected {token or 'more'}, found {found or 'its end'!r}")
        self.at += 1
        return found

    def type(self) -> Type:
        t = self.plain()
        while self.peek() == "?":
            self.take()
            t = ("option", t)
        return t

    def plain(self) -> Type:
        if self.peek() == "(":
            return self.group()
        name = self.take()
        if name == "fn":
            return self.function()
        if name in SCALARS:
            return ("tensor", name, self.dims()) if self.peek() == "[" else name
        args: list[Type] = []
        if self.peek() == "[":
            self.take()
            while self.peek() != "]":
                args.append(self.type() if not _is_dim(self.peek()) else self.take())
                if self.peek() == ",":
                    self.take()
            self.take("]")
        return self.named(name, args)

    def group(self) -> Type:
        self.take("(")
        items: list[Type] = []
        comma = False
        while self.peek() != ")":
            items.append(self.type())
            if self.peek() == ",":
                comma = True
                self.take()
        self.take(")")
        return ("tuple", tuple(items)) if comma or not items else items[0]

    def dims(self) -> tuple[int | None, ...]:
        self.take("[")
        dims: list[int | None] = []
        depth = 0
        words: list[str] = []
        while True:
            token = self.take()
            if token in "([":
                depth += 1
            if token in ")]":
                if depth == 0:
                    break
                depth -= 1
            if token == "," and depth == 0:
                dims.append(int(words[0]) if len(words) == 1 and words[0].isdigit() else None)
                words = []
            else:
                words.append(token)
        if words:
            dims.append(int(words[0]) if len(words) == 1 and words[0].isdigit() else None)
        return tuple(dims)

    def function(self) -> Type:
        params = self.tuple_of_params()
        result: Type = ("tuple", ())
        if self.peek() == "->":
            self.take()
            result = self.type()
        return self.find("fn", [*params, result])

    def tuple_of_params(self) -> list[Type]:
        self.take("(")
        out: list[Type] = []
        while self.peek() != ")":
            if self.peek() == "mut":
                self.take()
            out.append(self.type())
            if self.peek() == ",":
                self.take()
        self.take(")")
        return out

    def named(self, name: str, args: list[Type]) -> Type:
        if name in ("str", "list", "map", "set", "deque", "heap", "graph", "rng", "store"):
            return self.find(name, args)
        manifest = self.codec.manifest
        full = re.sub(r"\s+", "", name + (f"[{','.join(map(self.codec.show, args))}]" if args else ""))
        for kinds, table in (("struct", manifest.structs), ("enum", manifest.enums)):
            for core in table:
                if re.sub(r"\s+", "", core) == full or not args and core == manifest.classes.get(name):
                    return (kinds, core)
        args = [a for a in args if not (isinstance(a, str) and _is_dim(a))]  # Core's structs and enums have none
        for core, kind in manifest.kinds.items():
            named = kind.kind in ("struct", "enum", "model") and kind.title.rpartition(":")[2] == name
            if named and (not args or kind.args == args):
                return ("enum" if core in manifest.enums else "struct", core)
        if name in manifest.model_classes:
            raise ValueError(
                f"{self.text!r}: no {full} was built or exported; a model has a configuration, `{name}[8]`"
            )
        raise ValueError(f"{self.text!r}: the program has no type {full}")

    def find(self, name: str, args: list[Type]) -> Type:
        manifest = self.codec.manifest
        want = [erased(a) for a in args]
        known = []
        for core, kind in manifest.kinds.items():
            if kind.kind == name:
                t = ("enum" if core in manifest.enums else "struct", core)
                if [erased(a) for a in kind.args] == want:
                    return t
                known.append(self.codec.show(t))
        shown = f"{name}[{', '.join(map(self.codec.show, args))}]"
        others = f"; it knows {', '.join(sorted(known))}" if known else ""
        raise ValueError(f"{self.text!r}: no function of the program takes or gives a {shown}{others}")


def _is_dim(word: str) -> bool:
    return word == "?" or word.isdigit()


def read_type(text: str, codec: Codec) -> Type:
    """The Core type with the sizes that are said; ValueError where it is none or the program does not use it."""
    if not isinstance(text, str):
        raise TypeError(f'a type is text such as "list[int]", not {type(text).__name__}')
    parser = _Parser(text, codec)
    t = parser.type()
    if parser.peek():
        raise ValueError(f"{text!r} is not a type: found {parser.peek()!r} after it")
    return t
