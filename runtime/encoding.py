"""Values as bytes, by type: what stores keep, and state that is no tensor. Little-endian, nothing but the value.

A *schema* is the type written out so that bytes can be read without the program: {"type": S, "defs": {NAME: DEF}} with

    S = "int" | ["tensor", ELEM, RANK] | ["tuple", [S, ...]] | ["option", S] | ["list" | "set" | "deque", S]
      | ["map" | "heap" | "graph", S, S] | "str" | "rng" | ["model", TITLE] | ["named", NAME]
    DEF = ["struct", TITLE, [[FIELD, S], ...]] | ["enum", TITLE, [[CASE, [[FIELD, S], ...]], ...]]

Neither direction recurses over values, but for a model that is held by another's state.
"""

from __future__ import annotations

import base64
import math
import struct
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hybridc_runtime import arrays, classes
from hybridc_runtime.convert_out import Ordered
from hybridc_runtime.manifest import Kind, Manifest, Type
from hybridc_runtime.values import rng

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec

SCALARS = {
    "bool": struct.Struct("<?"), "u8": struct.Struct("<B"), "i32": struct.Struct("<i"), "int": struct.Struct("<q"),
    "f64": struct.Struct("<d"), "f32": struct.Struct("<f"), "f16": struct.Struct("<e"), "bf16": struct.Struct("<f"),
}
_COUNT = struct.Struct("<Q")
_RNG = struct.Struct("<2q")
"""Key and counter; the rest of a generator is for the time of a derivative."""
MOST_EMPTY = 1 << 24
"""Items without bytes, of which damaged bytes may promise any number."""


def schema(manifest: Manifest, t: Type) -> dict[str, Any]:
    """The schema of a type; TypeError for one whose values cannot leave the program."""
    defs: dict[str, Any] = {}

    def of(t: Type) -> Any:
        if isinstance(t, str):
            return t
        match t[0]:
            case "tensor":
                return ["tensor", t[1], len(t[2])]
            case "tuple":
                return ["tuple", [of(i) for i in t[1]]]
            case "option":
                return ["option", of(t[1])]
        kind = manifest.kinds.get(t[1]) or Kind(t[0], title=t[1])
        match kind.kind:
            case "str" | "rng":
                return kind.kind
            case "list" | "set" | "deque" | "map" | "heap" | "graph":
                return [kind.kind, *[of(a) for a in kind.args]]
            case "model":
                return ["model", t[1]]
            case "struct" | "enum":
                name, title = t[1], (kind.title or t[1]).rpartition(":")[2]
                if name not in defs:
                    defs[name] = None  # a recursive type meets itself
                    if t[0] == "struct":
                        defs[name] = ["struct", title, [[f, of(ft)] for f, ft in manifest.structs[name]]]
                    else:
                        cases = [[c, [[f, of(ft)] for f, ft in fields]] for c, fields in manifest.enums[name]]
                        defs[name] = ["enum", title, cases]
                return ["named", name]
        raise TypeError(f"a {kind.title or t[1]} cannot be written to disk")

    return {"type": of(t), "defs": defs}


def shown(s: dict[str, Any]) -> str:
    """The type as a program writes it, without the numbers of dimensions."""

    def of(t: Any) -> str:
        if isinstance(t, str):
            return t
        match t[0]:
            case "tensor":
                return f"{t[1]}[{', '.join('?' * t[2])}]"
            case "tuple":
                return f"({', '.join(map(of, t[1]))}{',' if len(t[1]) == 1 else ''})"
            case "option":
                return f"{of(t[1])}?"
            case "named":
                return str(s["defs"][t[1]][1])
            case "model":
                return str(t[1])
        return f"{t[0]}[{', '.join(map(of, t[1:]))}]"

    return of(s["type"])


def shown_store(schemas: Sequence[dict[str, Any]]) -> str:
    """The type of a store of these keys and values."""
    return f"store[{', '.join(map(shown, schemas))}]"


def encode(s: dict[str, Any], value: Any) -> bytes:
    """The bytes of a value; ValueError where it is not of the type."""
    defs = s["defs"]
    out: list[bytes] = []
    todo: list[tuple[Any, Any]] = [(s["type"], value)]
    while todo:
        t, v = todo.pop()
        if isinstance(t, str):
            out.append(_encode_plain(t, v))
            continue
        match t[0]:
            case "tensor":
                try:
                    a, _ = arrays.as_array(v, t[1])
                except arrays.Unfit as e:
                    raise ValueError(f"expected {t[1]} of {t[2]} dimensions, found {e.found}") from None
                out += [_COUNT.pack(d) for d in a.shape] + [a.tobytes()]
            case "tuple":
                if not isinstance(v, tuple) or len(v) != len(t[1]):
                    raise ValueError(f"expected a tuple of {len(t[1])}, found {arrays.kind_of(v)}")
                todo += reversed(list(zip(t[1], v, strict=True)))
            case "option":
                out.append(b"\0" if v is None else b"\1")
                if v is not None:
                    todo.append((t[1], v))
            case "list" | "set" | "deque":
                out.append(_COUNT.pack(len(v)))
                todo += [(t[1], x) for x in reversed(list(v))]
            case "map" | "heap":
                pairs = list(v.items()) if t[0] == "map" else list(v)
                out.append(_COUNT.pack(len(pairs)))
                for k, x in reversed(pairs):
                    todo += [(t[2], x), (t[1], k)]
            case "graph":
                parts = v if isinstance(v, tuple) else v._owned.codec.to_python(v._owned, ordered=True)
                todo.append((_parts_of_graph(t), parts))
            case "model":
                contents = v._packed()
                out += [_COUNT.pack(len(contents)), contents]
            case _:
                kind, title, parts = defs[t[1]]
                if not isinstance(v, classes.Record):
                    raise ValueError(f"expected {title}, found {arrays.kind_of(v)}")
                if kind == "enum":
                    case = type(v).__name__
                    tag = [c for c, _ in parts].index(case)
                    out.append(_COUNT.pack(tag))
                    parts = parts[tag][1]
                own = v.__dict__
                todo += [(ft, own[f]) for f, ft in reversed(parts)]
    return b"".join(out)


def _encode_plain(t: str, v: Any) -> bytes:
    if t == "str":
        if not isinstance(v, str):
            raise ValueError(f"expected str, found {arrays.kind_of(v)}")
        data = v.encode()
        return _COUNT.pack(len(data)) + data
    if t == "rng":
        return _RNG.pack(*(*v._state, 0)[:2])
    v = v.item() if hasattr(v, "item") else v
    good = isinstance(v, bool) if t == "bool" else isinstance(v, (int, float)) if t[0] in "fb" else type(v) is int
    try:
        if good:
            return SCALARS[t].pack(v)
    except (struct.error, OverflowError):
        pass
    raise ValueError(f"expected {t}, found {v!r}")


class Maker:
    """Makes values of named types: the program's own classes, or ones made from the schema."""

    def __init__(self, s: dict[str, Any], codec: Codec | None = None, ordered: bool = False):
        self.defs, self.codec = s["defs"], codec
        self.kinds: dict[str, type[Any]] = {"list": list, "set": Ordered if ordered else set, "deque": deque}
        self.made: dict[str, Any] = {}

    def class_of(self, name: str) -> Any:
        cls = self.made.get(name)
        if cls is None:
            kind, title, parts = self.defs[name]
            if self.codec is not None:
                cls = self.codec.class_of((kind, name))
            elif kind == "struct":
                cls = classes.struct_class(title, [f for f, _ in parts], {})
            else:
                cls = classes.enum_class(title, [(c, [f for f, _ in fields]) for c, fields in parts], {})
            self.made[name] = cls
        return cls

    def model(self, title: str, contents: bytes) -> Any:
        return contents if self.codec is None else self.codec.model_from(title, contents)


class Damaged(ValueError):
    """Bytes that are of no value of the type."""


def joined(items: Sequence[bytes]) -> bytes:
    """A list of what these are the bytes of."""
    return _COUNT.pack(len(items)) + b"".join(items)


def decode(s: dict[str, Any], data: bytes, maker: Maker, copy: bool = True) -> Any:
    """The value of bytes that `encode` made; Damaged for others. Without a `copy` arrays look into these, and cannot be
    written."""
    try:
        value, end = _decode(s, data, maker, copy)
    except (ValueError, IndexError, OverflowError, struct.error) as e:
        raise Damaged(str(e)) from None
    if end != len(data):
        raise Damaged("too many bytes" if end < len(data) else "too few bytes")
    return value


def _decode(s: dict[str, Any], data: bytes, maker: Maker, copy: bool) -> tuple[Any, int]:
    """The value, and where its bytes end."""
    defs = s["defs"]
    at = 0
    root: list[Any] = [None]
    # What to read, and where to put it; ("close", ...) builds from parts that were read.
    todo: list[tuple[Any, Any, Any]] = [(s["type"], root, 0)]
    while todo:
        t, target, key = todo.pop()
        if isinstance(t, str):
            if t == "str":
                size = _COUNT.unpack_from(data, at)[0]
                at += 8
                target[key] = data[at:at + size].decode()
                at += size
            elif t == "rng":
                target[key] = rng(0)
                target[key]._state = _RNG.unpack_from(data, at)
                at += _RNG.size
            else:
                if t == "bool" and data[at] > 1 or t == "bf16" and data[at:at + 2] != b"\0\0":
                    raise ValueError(f"no {t}")
                target[key] = SCALARS[t].unpack_from(data, at)[0]
                at += SCALARS[t].size
            continue
        match t[0]:
            case "close":
                target[key] = t[1](t[2])
            case "tensor":
                shape = tuple(_COUNT.unpack_from(data, at + 8 * i)[0] for i in range(t[2]))
                at += 8 * t[2]
                dtype = arrays.DTYPES[t[1]]
                count = math.prod(shape)
                a = np.frombuffer(data, dtype, count, at).reshape(shape)
                if t[1] == "bool" and (a.view(np.uint8) > 1).any():
                    raise ValueError("neither true nor false")
                a = a.copy() if copy else a
                target[key] = arrays.from_bf16(a) if t[1] == "bf16" else a
                at += count * dtype.itemsize
            case "tuple":
                parts: list[Any] = [None] * len(t[1])
                todo.append((("close", tuple, parts), target, key))
                todo += [(x, parts, i) for i, x in reversed(list(enumerate(t[1])))]
            case "option":
                at += 1
                if data[at - 1] > 1:
                    raise ValueError("neither a value nor none")
                if data[at - 1]:
                    todo.append((t[1], target, key))
                else:
                    target[key] = None
            case "list" | "set" | "deque":
                size = _items(s, data, at, t[1])
                at += 8
                parts = [None] * size
                todo.append((("close", maker.kinds[t[0]], parts), target, key))
                todo += [(t[1], parts, i) for i in range(size - 1, -1, -1)]
            case "map" | "heap":
                size = _items(s, data, at, t[1])
                at += 8
                parts = [None] * (2 * size)
                todo.append((("close", _pairs_to_dict if t[0] == "map" else _pairs, parts), target, key))
                todo += [(t[1 + i % 2], parts, i) for i in range(2 * size - 1, -1, -1)]
            case "graph":
                todo.append((_parts_of_graph(t), target, key))
            case "model":
                size = _items(s, data, at, "u8")
                target[key] = maker.model(t[1], bytes(data[at + 8:at + 8 + size]))
                at += 8 + size
            case _:
                kind, _, parts = defs[t[1]]
                cls = maker.class_of(t[1])
                if kind == "enum":
                    tag = _COUNT.unpack_from(data, at)[0]
                    at += 8
                    case, parts = parts[tag]
                    if not parts:
                        target[key] = getattr(cls, case)
                        continue
                    cls = cls._hyb_classes[tag]
                value = object.__new__(cls)
                target[key] = value
                # In the order of the fields, which is the order of the instance's dictionary.
                todo += [(ft, value.__dict__, f) for f, ft in reversed(parts)]
    return root[0], at


def _items(s: dict[str, Any], data: bytes, at: int, item: Any) -> int:
    """The count that stands at a place, of items for which there is room in memory."""
    count: int = _COUNT.unpack_from(data, at)[0]
    if count > len(data) - at - 8 and (_has_bytes(s, item) or count > MOST_EMPTY):
        raise ValueError("too few bytes")
    return count


def _has_bytes(s: dict[str, Any], t: Any) -> bool:
    """Does every value of the type have bytes? Structs and tuples may have no parts."""
    if isinstance(t, str) or t[0] not in ("tuple", "named"):
        return True
    if t[0] == "tuple":
        return any(_has_bytes(s, part) for part in t[1])
    kind, _, parts = s["defs"][t[1]]
    return kind == "enum" or any(_has_bytes(s, part) for _, part in parts)


def _parts_of_graph(t: Any) -> Any:
    """What a graph is written as: nodes and edges."""
    return ["tuple", [["list", t[1]], ["list", ["tuple", ["int", "int", t[2]]]]]]


def _pairs(parts: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(parts[::2], parts[1::2], strict=True))


def _pairs_to_dict(parts: list[Any]) -> dict[Any, Any]:
    return dict(_pairs(parts))


def to_text(s: dict[str, Any], value: Any) -> str:
    return base64.b64encode(encode(s, value)).decode()


def from_text(s: dict[str, Any], text: str, codec: Codec | None) -> Any:
    """The value that `to_text` wrote; ValueError for another text."""
    try:
        return decode(s, base64.b64decode(text), Maker(s, codec, ordered=True))
    except ValueError as e:
        raise ValueError("state that does not fit the model") from e
