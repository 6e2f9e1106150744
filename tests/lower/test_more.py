"""Corners of lowering: what happens in which order, what is kept apart, what is checked at run time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hybridc.core import ir
from hybridc.core.interp import Interpreter
from hybridc.core.values import InterpFault
from hybridc.core.walk import statements

PROGRAMS: dict[str, tuple[str, str]] = {
    "guards that assign": ('''
fn bump(mut n: int) -> bool:
    n += 1
    return n > 2

fn main() -> str:
    var n = 0
    var out = ""
    for x in [1, 2, 3]:
        match x:
            case k if bump(mut n):
                out += f"a{k}{n} "
            case 2 if bump(mut n):
                out += f"b{n} "
            case _:
                out += f"c{n} "
    return out
''', "c1 b3 a34 "),
    "assigned in alternatives": ('''
enum E:
    A(x: int)
    B(x: int, y: int)
    C

fn main() -> str:
    var total = 0
    for e in [A(1), B(2, 3), C, B(0, 7)]:
        match e:
            case A(x) | B(x, 3):
                total += x
            case B(_, y):
                total += 100 * y
            case C:
                continue
        total += 1000
    return f"{total}"
''', "3703"),
    "places within one variable": ('''
fn swap(mut a: int, mut b: int):
    a, b = b, a

struct P:
    x: int
    y: int

fn main() -> str:
    var xs = [P(1, 2), P(3, 4)]
    swap(mut xs[0].x, mut xs[1].y)
    var p = P(5, 6)
    swap(mut p.x, mut p.y)
    var ys = [1, 2]
    swap(mut ys[0], mut ys[1])
    return f"{xs} {p} {ys}"
''', "[P(x=4, y=2), P(x=3, y=1)] P(x=6, y=5) [2, 1]"),
    "index expressions once": ('''
fn next(mut n: int) -> int:
    n += 1
    return n

fn main() -> str:
    var n = -1
    var xs = [10, 20, 30]
    xs[next(mut n)] += 5
    xs[next(mut n)] = xs[0] + n
    var m = {"a": [1]}
    m["a"][next(mut n) - 2] += 7
    return f"{xs} {n} {m}"
''', "[15, 15, 30] 2 {'a': [8]}"),
    "tuples kept apart": ('''
fn main() -> str:
    var t = (1, ("a", [2]))
    t[1][1].push(3)
    t[0] += 1
    let a, (b, c) = t
    var u = t
    u[1][0] = "z"
    return f"{t} {a}{b}{c} {u}"
''', "(2, ('a', [2, 3])) 2a[2, 3] (2, ('z', [2, 3]))"),
    "nested comprehensions": ('''
fn main() -> str:
    let xs = [(i, j) for i in range(3) for j in range(i) if (i + j) % 2 == 1]
    let m = {k: [v for v in range(k)] for k in range(3)}
    var calls = 0
    fn one() -> int:
        return 1
    let ys = [x + one() for x, _ in xs]
    return f"{xs} {m} {ys} {calls}"
''', "[(1, 0), (2, 1)] {0: [], 1: [0], 2: [0, 1]} [2, 3] 0"),
    "a closure in a struct and a list": ('''
struct Rule:
    name: str
    apply: fn(int) -> int

fn main() -> str:
    var fs: list[fn(int) -> int] = []
    for i in range(3):
        fs.push(fn(x): x * 10 + i)
    let r = Rule("double", fn(y): y + y)
    let f = r.apply
    return f"{[f(1) for f in fs]} {f(4)}"
''', "[10, 11, 12] 8"),
    "mut through a value": ('''
fn add(n: int, mut xs: list[int]) -> int:
    xs.push(n)
    return len(xs)

fn main() -> str:
    let f: fn(int, mut list[int]) -> int = add
    var rows = [[1], [2]]
    let k = f(4, mut rows[1])
    return f"{k} {rows}"
''', "2 [[1], [2, 4]]"),
    "dimension names": ('''
struct Pair[N]:
    a: f32[N]
    b: f32[2 * N]

fn size(p: Pair[N], xs: list[f32[M]]) -> int:
    return N * 10 + M

fn fill(n: int) -> f32[?]:
    let k = n + 1
    let t: f32[k] = ones()
    return t

fn main() -> str:
    let p = Pair(a=ones(2), b=ones(4))
    let f: fn(f32[3]) -> f32[3] = fn(x): x * 2
    return f"{size(p, [ones(3)])} {fill(2)} {f(ones(3))}"
''', "23 [1.0, 1.0, 1.0] [2.0, 2.0, 2.0]"),
    "dimension names in an enum": ('''
enum Tree[N]:
    Leaf(x: f32[N])
    Node(left: Tree[N], right: Tree[N])

fn total(t: Tree[N]) -> f32[N]:
    match t:
        case Leaf(x):
            return x
        case Node(l, r):
            return total(l) + total(r) + f32(N) * zeros(N)

fn size(t: Tree[N]) -> int:
    return N

fn main() -> str:
    let t = Node(Node(Leaf(ones(2)), Leaf(ones(2))), Leaf(ones(2)))
    return f"{total(t)} {size(t)}"
''', "[3.0, 3.0] 2"),
    "packs": ('''
fn total(x: f32[*B, N]) -> f32[*B]:
    return sum(x, axis=-1)

fn main() -> str:
    return f"{total(ones(3))} {total(ones(2, 3))} {shape(total(ones(2, 4, 3)))}"
''', "3.0 [3.0, 3.0] [2, 4]"),
    "bounds of methods": ('''
struct Twice:
    k: int
    fn forward(x: int) -> int:
        return x * self.k

fn apply[F: forward(int) -> int](f: F, x: int) -> int:
    return f.forward(f.forward(x))

fn main() -> str:
    return f"{apply(Twice(3), 2)}"
''', "18"),
    "options of structs": ('''
struct P:
    x: int
    y: f64 = 2

fn main() -> str:
    var best: P? = none
    for i in range(3):
        if best == none:
            best = P(i)
        else:
            best = P(best.x + 10)
    match best:
        case none:
            return "none"
        case p:
            return f"{p} {best}"
''', "P(x=20, y=2.0) P(x=20, y=2.0)"),
    "a model in a model": ('''
model Inner(d: int, act: str = "relu"):
    param w: f32[d] = ones()
    state n: int = 0

    mut fn tick():
        self.n += 1

    fn forward(x: f32[d]) -> f32[d]:
        return x * self.w * 3

model Outer(d: int, inner: model):
    let a = inner
    let pair = (Inner(d), Inner(d + 1, "tanh"))
    let named = {"x": Inner(d), "y": Inner(d)}
    let extra: Inner[2, "relu"]? = Inner(2) if d > 1 else none

    mut fn tick():
        self.pair[1].tick()
        self.named["y"].tick()
        self.named["y"].tick()

    fn show() -> str:
        return f"{self.pair[1].act} {self.pair[1].n} {self.named['y'].n} {self.named['x'].n} {self.extra == none}"

    fn forward(x: f32[d]) -> f32[d]:
        return self.a(x) + 1

fn main() -> str:
    var m = Outer(2, Inner[2, "relu"])
    m.tick()
    return f"{m.show()} {num_params(m)} {m([1, 2])}"
''', "tanh 1 2 0 false 13 [4.0, 7.0]"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str, run: Callable[..., str]) -> None:
    source, expected = PROGRAMS[name]
    assert run(source) == expected


FAULTS: dict[str, tuple[str, str, str]] = {
    "a named dimension": ('''
fn dot(a: f32[N], b: f32[N]) -> f32:
    return sum(a * b)

fn give(n: int) -> f32[?]:
    let k = n
    let t: f32[k] = ones()
    return t

fn main() -> f32:
    return dot(give(2), give(3))
''', "ValueError", "3"),
    "a declared ? does not broadcast": ('''
fn main() -> f32:
    let x: f32[?] = [1.0]
    let w: f32[3] = ones()
    return sum(x + w)
''', "ValueError", "shapes [1] and [3]"),
    "a declared ? is checked where more is asked for": ('''
fn main() -> f32:
    let x: f32[?] = [1.0]
    let y: f32[2] = x
    return sum(y)
''', "ValueError", "1, not 2"),
    "an empty list binds nothing": ('''
fn size(xs: list[f32[N]]) -> int:
    return N

fn main() -> int:
    return size([])
''', "ValueError", "N"),
    "assert": ('''
fn main() -> int:
    let n = -1
    assert n > 0, f"{n} is not positive"
    return n
''', "AssertionError", "-1 is not positive"),
    "raise": ('''
fn main() -> int:
    raise "no"
''', "HybError", "no"),
    "index": ('''
fn main() -> int:
    let xs = [1]
    return xs[3]
''', "IndexError", "3"),
    "key": ('''
fn main() -> int:
    let m: map[(int, str), int] = {}
    return m[(1, "x")]
''', "KeyError", "(1, 'x')"),
    "range step": ('''
fn main() -> int:
    var n = 0
    for i in range(0, 5, n):
        n += i
    return n
''', "ValueError", "0"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(name: str, core: Callable[[str], ir.Program]) -> None:
    source, kind, words = FAULTS[name]
    with pytest.raises(InterpFault) as caught:
        Interpreter(core(source)).call("main", [])
    assert caught.value.kind == kind
    assert words in caught.value.message


def test_an_update_in_a_loop_keeps_one_owner(core: Callable[[str], ir.Program]) -> None:
    """The buffer goes from turn to turn as a variable of the loop, outside any struct."""
    program = core('''
fn main() -> int:
    var xs: list[int] = []
    for i in range(9):
        xs.push(i)
    return len(xs)
''')
    loops = [s for s in statements(program.fns["main"].body) if isinstance(s, ir.Loop)]
    assert [p.type for p in loops[0].params] == [ir.BufferT(ir.INT), ir.INT, ir.INT]


def test_two_types_of_one_name_differ(core: Callable[[str], ir.Program]) -> None:
    """Instances are shared where only dimensions differ."""
    program = core('''
fn first[T](xs: list[T]) -> T:
    return xs[0]

fn main() -> int:
    let a = first([zeros(2)])
    let b = first([zeros(3)])
    return first([len(a), len(b)])
''')
    assert sorted(n for n in program.fns if n.startswith("first")) == ["first[f32[?]]", "first[int]"]
