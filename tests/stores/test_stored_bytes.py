"""Values as the bytes that stores keep: machine code and encoding.py write the same, and read the same or refuse."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from hybridc_runtime import encoding, stored
from hybridc_runtime.fastplan import CONTAINERS, MOST_ELEMENTS
from hybridc_runtime.memory import allocate, free
from hybridc_runtime.store import HEAD, NEW
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hybridc
from hybridc import driver

pytestmark = pytest.mark.usefixtures("unoptimised")

ints = st.integers(-(1 << 63), (1 << 63) - 1)
texts = st.text(max_size=20)
singles = st.floats(width=32)


def lists(items: Any, most: int = 5) -> Any:
    return st.lists(items, max_size=most)


def arrays(dtype: Any, *dims: int | None) -> Any:
    def filled(shape: tuple[int, ...]) -> Any:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return st.binary(min_size=size, max_size=size).map(lambda data: _array(data, dtype, shape))

    return st.tuples(*[st.integers(0, 4) if d is None else st.just(d) for d in dims]).flatmap(filled)


def _array(data: bytes, dtype: Any, shape: tuple[int, ...]) -> Any:
    a = np.frombuffer(data, np.uint8)
    return (a & 1).astype(bool).reshape(shape) if dtype is bool else a.view(dtype).reshape(shape).copy()


TYPES: dict[str, Any] = {
    "bool": st.booleans(),
    "u8": st.integers(0, 255),
    "i32": st.integers(-(1 << 31), (1 << 31) - 1),
    "int": ints,
    "f64": st.floats(),
    "f32": singles,
    "f16": st.floats(width=16),
    "bf16": st.sampled_from([0.0, -1.5, 3.0, float("inf"), 2.0**100]),
    "str": texts,
    "(int, str)": st.tuples(ints, texts),
    "(bool,)": st.tuples(st.booleans()),
    "int?": st.none() | ints,
    "list[f64]": lists(st.floats(), 20),
    "list[bool]": lists(st.booleans()),
    "list[str]": lists(texts),
    "list[(bool, i32, str)?]": lists(st.none() | st.tuples(st.booleans(), st.integers(0, 9), texts)),
    "list[list[list[u8]]]": lists(lists(lists(st.integers(0, 255)))),
    "f32[?]": arrays(np.float32, None),
    "f64[3]": arrays(np.float64, 3),
    "int[?, 2]": arrays(np.int64, None, 2),
    "bool[?, ?, ?]": arrays(bool, None, None, None),
    "f16[?]": arrays(np.float16, None),
    "list[f32[?]?]": lists(st.none() | arrays(np.float32, None)),
    "Record": st.builds(dict, id=ints, name=texts, weight=st.floats(), known=st.booleans(), parts=lists(singles)),
    "list[Colour]": lists(st.sampled_from(["Red", "Green", "Blue"])),
    "Tree": st.recursive(st.none(), lambda t: st.tuples(t, texts, t), max_leaves=12),
    "map[str, int]": st.dictionaries(texts, ints, max_size=5),
    "map[int, map[str, list[str]]]": st.dictionaries(ints, st.dictionaries(texts, lists(texts), max_size=3), max_size=4),
    "set[(int, bool)]": st.sets(st.tuples(ints, st.booleans()), max_size=5),
    "deque[str]": lists(texts).map(deque),
    "list[set[str]?]": lists(st.none() | st.sets(texts, max_size=3)),
    "(deque[int], map[int, f32[?]], str)": st.tuples(
        lists(ints).map(deque), st.dictionaries(ints, arrays(np.float32, None), max_size=3), texts),
    "heap[int, str]": lists(st.tuples(ints, texts)),
}
KEYS = {"int": ints, "str": texts, "(str, int)": st.tuples(texts, ints), "Colour": st.sampled_from(["Red", "Blue"]),
        "(bool, (u8, Colour))": st.tuples(st.booleans(), st.tuples(st.integers(0, 3), st.sampled_from(["Red", "Blue"])))}
SOURCE = """
struct Record:
    id: int
    name: str
    weight: f64
    known: bool
    parts: list[f32]

enum Colour:
    Red
    Green
    Blue

enum Tree:
    Leaf
    Node(left: Tree, name: str, right: Tree)

fn chain(path: str, n: int) -> int:
    var t = Leaf
    for i in range(n):
        t = Node(t, f"{i}", Leaf)
    var mem = store[int, Tree](path)
    mem[0] = t
    var depth = 0
    t = mem[0]
    while true:
        match t:
            case Leaf:
                return depth
            case Node(left, _, _):
                t = left
                depth += 1
""" + "".join(f"""
fn keep{i}(path: str, x: {t}) -> {t}:
    var mem = store[int, {t}](path)
    mem[0] = x
    mem.commit()
    return mem[0]

fn read{i}(path: str) -> {t}:
    var mem = store[int, {t}](path)
    return mem[0]
""" for i, t in enumerate(TYPES)) + "".join(f"""
fn key{i}(path: str, keys: list[{t}]) -> (list[{t}], list[int]):
    var mem = store[{t}, int](path)
    for i, k in enumerate(keys):
        mem[k] = i
    let found = mem.keys()
    let numbers = mem.values()
    for k in keys:
        if k in mem:
            mem.remove(k)
    assert len(mem) == 0 and mem.get(keys[0]) == none
    return (found, numbers)
""" for i, t in enumerate(KEYS))
PLAIN = [t for t in TYPES if not any(c in t for c in CONTAINERS)]
"""Types without containers that the program itself makes."""
DEEP = 2000


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("stored") / "stored.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path)


def made(mod: Any, t: str, x: Any) -> Any:
    """A drawn value as what the module takes."""
    if t == "Record":
        return mod.Record(**x)
    if t == "Tree":
        return mod.Tree.Leaf if x is None else mod.Tree.Node(made(mod, t, x[0]), x[1], made(mod, t, x[2]))
    if t == "Colour":
        return getattr(mod.Colour, x)
    if t == "(bool, (u8, Colour))":
        return (x[0], (x[1][0], made(mod, "Colour", x[1][1])))
    return [made(mod, "Colour", c) for c in x] if t == "list[Colour]" else x


def plain(x: Any) -> Any:
    """What can be compared: nan equals itself, and arrays are equal as wholes."""
    if isinstance(x, float):
        return repr(x)
    if isinstance(x, np.ndarray):
        return (str(x.dtype), x.shape, [plain(i) for i in x.ravel().tolist()])
    if isinstance(x, (set, frozenset)):
        return frozenset(map(plain, x))
    if isinstance(x, (list, tuple, deque)):
        return tuple(map(plain, x))
    if isinstance(x, dict):
        return tuple((plain(k), plain(v)) for k, v in x.items())
    return (type(x).__name__, plain(x.__dict__)) if hasattr(x, "__dict__") else x


class Memory:
    """Values of one type in native memory."""

    def __init__(self, mod: Any, t: str):
        self.codec = mod._parts[0].codec
        self.type = self.codec.manifest.fns[f"keep{list(TYPES).index(t)}"][0].params[1].type
        self.stored = stored.Stored(self.codec, self.type)
        self.schema = self.stored.schema
        self.at = allocate(self.stored.size)
        self.full = False

    def give(self, x: Any) -> None:
        leaves = self.codec.write_leaves(self.type, x, "x")
        self.codec.layouts.of(self.type).struct.pack_into(stored.MEMORY, self.at, *leaves)
        self.full = True

    def take(self) -> Any:
        """The value, which is let go of."""
        value = self.codec.read(self.type, self.at)
        self.clear()
        return value

    def clear(self) -> None:
        if self.full:
            self.codec.release_at(self.type, self.at)
        self.full = False

    def fast(self, data: bytes) -> bool:
        """Does machine code read the bytes?"""
        live = self.codec.program.live

        def run(context: int) -> int:
            return self.stored._unpack(self.stored._node, data, 0, self.at, live, context)

        self.full = bool(self.stored._in_context(run))
        return self.full

    def slow(self, data: bytes) -> Any:
        """The value that encoding.py makes of the bytes; None where it refuses them."""
        try:
            self.give(encoding.decode(self.schema, data, encoding.Maker(self.schema, self.codec)))
        except (encoding.Damaged, hybridc.ArgumentError):
            return None
        return [self.take()]

    def __enter__(self) -> Memory:
        self.before = self.codec.program.live_blocks()
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()
        free(self.at)
        if error[0] is None:
            assert self.codec.program.live_blocks() == self.before


check = settings(max_examples=25, deadline=None, derandomize=True, database=None,
                 suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("t", TYPES)
def test_both_ways_write_and_read_the_same(mod: Any, t: str) -> None:
    @check
    @given(TYPES[t])
    def holds(x: Any) -> None:
        x = made(mod, t, x)
        with Memory(mod, t) as m:
            m.give(x)
            data = m.stored._in_context(lambda context: m.stored._pack(m.stored._node, m.at, context))
            assert isinstance(data, bytes) and m.stored.read(m.at) == data
            value = m.take()
            if "set" not in t:  # whose order Python does not keep
                assert data == encoding.encode(m.schema, value)
            assert plain(encoding.decode(m.schema, data, encoding.Maker(m.schema, m.codec))) == plain(value)
            assert m.fast(data) and plain(m.take()) == plain(value)
            m.stored.write(b"head" + data, 4, m.at)
            m.full = True
            assert plain(m.take()) == plain(value)

    holds()


@st.composite
def damages(draw: Any, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data)))
    kind = draw(st.sampled_from(["cut", "flip", "more", "word", "swap"]))
    if kind == "cut":
        return data[:at]
    if kind == "flip" and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1:]
    if kind == "word":
        word = draw(st.sampled_from([0, 1, 2, 1 << 20, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]))
        return data[:at] + word.to_bytes(8, "little") + data[at + 8:]
    if kind == "swap":
        return data[at:] + data[:at]
    return data[:at] + draw(st.binary(min_size=1, max_size=9)) + data[at:]


@pytest.mark.parametrize("t", TYPES)
def test_damaged_bytes_are_refused_by_both_or_neither(mod: Any, t: str) -> None:
    @check
    @given(TYPES[t], st.data())
    def holds(x: Any, more: Any) -> None:
        with Memory(mod, t) as m:
            m.give(made(mod, t, x))
            data = m.stored.read(m.at)
            m.clear()
            data = more.draw(damages(data))
            slow = m.slow(data)
            if slow is not None and max(getattr(slow[0], "shape", (0,))) > MOST_ELEMENTS:
                return  # of no elements, which machine code leaves to encoding.py
            assert m.fast(data) == (slow is not None)
            if slow is not None:
                assert plain([m.take()]) == plain(slow)

    holds()


@pytest.mark.parametrize("t", TYPES)
def test_values_go_into_a_store_and_come_back(mod: Any, t: str, tmp_path: Path) -> None:
    i = list(TYPES).index(t)
    keep, read = getattr(mod, f"keep{i}"), getattr(mod, f"read{i}")
    path = str(tmp_path / "memory")

    @settings(check, max_examples=5)
    @given(TYPES[t])
    def holds(x: Any) -> None:
        x = made(mod, t, x)
        kept = plain(keep(path, x))
        assert plain(read(path)) == kept
        with hybridc.open_store(path) as mem:
            assert plain(mem[0]) == kept or hasattr(x, "__dict__") or t == "list[Colour]"  # of classes of its own
            mem[0] = mem[0]
            mem.commit()
        assert plain(read(path)) == kept

    holds()


@pytest.mark.parametrize("t", KEYS)
def test_keys(mod: Any, t: str, tmp_path: Path) -> None:
    def drawn(k: Any) -> Any:
        return made(mod, t, k)

    key = getattr(mod, f"key{list(KEYS).index(t)}")
    number = iter(range(10**6))

    @settings(check, max_examples=5)
    @given(st.lists(KEYS[t].map(drawn), min_size=1, max_size=8))
    def holds(keys: Any) -> None:
        last = {repr(k): i for i, k in enumerate(keys)}
        found, numbers = key(str(tmp_path / f"memory{next(number)}"), keys)
        assert [repr(k) for k in found] == list(last) and numbers == list(last.values())

    holds()


@pytest.mark.parametrize("t", ["str", "Record", "list[bool]", "Tree", "f64[3]", "map[str, int]", "int"])
def test_a_damaged_file_is_an_error_of_the_store(mod: Any, t: str, tmp_path: Path) -> None:
    path = str(tmp_path / "memory")
    i = list(TYPES).index(t)
    values = {"str": "text", "Record": {"id": 1, "name": "n", "weight": 1.0, "known": True, "parts": [1.0]},
              "list[bool]": [True], "Tree": (None, "x", None), "f64[3]": np.ones(3), "map[str, int]": {"a": 1}, "int": 5}
    getattr(mod, f"keep{i}")(path, made(mod, t, values[t]))
    read = getattr(mod, f"read{i}")
    with lmdb.open(path, subdir=False, max_dbs=4) as env:
        data = env.open_db(b"data")
        with env.begin(data, write=True) as txn:
            key, record = next(iter(txn.cursor()))
            txn.put(key, record[:-1])
    before = mod._parts[0].program.live_blocks()
    with pytest.raises(OSError, match="is damaged") as e:
        read(path)
    assert isinstance(e.value, hybridc.RuntimeFault) and mod._parts[0].program.live_blocks() == before
    with hybridc.open_store(path) as mem:
        assert len(record) > HEAD and list(mem) == [0]
        with pytest.raises(OSError, match="is damaged"):
            mem[0]
    with lmdb.open(path, subdir=False, max_dbs=4) as env, env.begin(env.open_db(b"data"), write=True) as txn:
        txn.put(key, record)
    read(path)


def test_what_is_nested_deeply_goes_the_slow_way(mod: Any, tmp_path: Path) -> None:
    for n in (5, 95, 105, DEEP):
        assert mod.chain(str(tmp_path / "memory"), n) == n


def test_plain_types_need_no_help(mod: Any) -> None:
    for t in PLAIN:
        assert Memory(mod, t).stored.node


def test_a_built_module_reads_what_another_wrote(mod: Any, tmp_path: Path) -> None:
    source = Path(mod._parts[0].codec.manifest.path)
    built = tmp_path / "stored.hybx"
    built.write_bytes(driver.artifact(driver.check(str(source))))
    other = hybridc.load(built)
    i, path = list(TYPES).index("Record"), str(tmp_path / "memory")
    x = {"id": 1, "name": "é", "weight": 2.0, "known": True, "parts": [0.5]}
    written = getattr(mod, f"keep{i}")(path, mod.Record(**x))
    assert plain(getattr(other, f"read{i}")(path)) == plain(written)


def test_what_files_hold(mod: Any, tmp_path: Path) -> None:
    """Files that exist stay readable: what is before a value, and the bytes of one."""
    record = (b"\x00" * 8 + b"\x01" + b"\x07" + b"\x00" * 7 + b"\x02" + b"\x00" * 7 + "é".encode() + b"\x00" * 7 + b"\x40"
              + b"\x01" + b"\x01" + b"\x00" * 7 + b"\x00\x00\x00\x3f")
    i, path = list(TYPES).index("Record"), str(tmp_path / "memory")
    getattr(mod, f"keep{i}")(path, mod.Record(id=7, name="é", weight=2.0, known=True, parts=[0.5]))
    with lmdb.open(path, subdir=False, max_dbs=4) as env:
        data, order, meta = (env.open_db(name) for name in (b"data", b"order", b"meta"))
        with env.begin() as txn:
            assert dict(txn.cursor(data)) == {b"=" + bytes(8): record} and dict(txn.cursor(order)) == {bytes(8): bytes(8)}
            assert txn.get(b"version", db=meta) == b"1"
    assert record[:HEAD] == NEW


def test_sets_keep_their_order(mod: Any) -> None:
    with Memory(mod, "list[set[str]?]") as m:
        texts = [(1).to_bytes(8, "little") + t for t in (b"b", b"a", b"c", b"A")]
        data = encoding.joined([b"\x01" + encoding.joined(texts)])
        assert m.fast(data) and m.stored.read(m.at) == data
