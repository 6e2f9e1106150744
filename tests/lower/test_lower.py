"""What programs mean after lowering: each `main` gives a text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

PROGRAMS: dict[str, tuple[str, str]] = {
    "loops": ('''
fn main() -> str:
    var out = ""
    for i in range(5):
        if i == 1:
            continue
        if i == 4:
            break
        out += f"{i},"
    var n = 0
    while true:
        n += 1
        if n > 3:
            return f"{out}{n}"
''', "0,2,3,4"),
    "nested updates": ('''
struct Box:
    rows: list[list[int]]
    n: int = 0

fn add(n: int, mut xs: list[int]) -> int:
    xs.push(n)
    return len(xs)

fn main() -> str:
    var b = Box(rows=[[1], [2]])
    let before = b
    let k = add(3, mut b.rows[1])
    b.rows[0][0] += 10
    b.n -= 2
    b.rows[0], b.rows[1] = b.rows[1], b.rows[0]
    return f"{b.rows} {b.n} {k} {before.rows}"
''', "[[2, 3], [11]] -2 2 [[1], [2]]"),
    "closures": ('''
fn adder(n: int) -> fn(int) -> int:
    return fn(x): x + n

fn square(x: int) -> int:
    return x * x

fn compose(f: fn(int) -> int, g: fn(int) -> int) -> fn(int) -> int:
    return fn(x): f(g(x))

fn main() -> str:
    fn fact(n: int) -> int:
        return 1 if n == 0 else n * fact(n - 1)
    let f = compose(adder(1), compose(square, adder(2)))
    return f"{f(3)} {fact(5)}"
''', "26 120"),
    "match": ('''
enum Expr:
    Num(value: int)
    Neg(inner: Expr)
    Add(left: Expr, right: Expr)
    Unknown

fn simplify(e: Expr) -> Expr:
    match e:
        case Add(Num(0), x) | Add(x, Num(0)):
            return simplify(x)
        case Neg(Neg(x)):
            return simplify(x)
        case Neg(Num(n)) if n > 5:
            return Num(-n)
        case Add(l, r):
            return Add(simplify(l), simplify(r))
        case other:
            return other

fn main() -> str:
    let a = simplify(Add(Add(Num(0), Num(2)), Neg(Neg(Num(7)))))
    return f"{a} {simplify(Neg(Num(6)))} {simplify(Neg(Num(4)))} {a == Add(Num(2), Num(7))} {Unknown}"
''', "Add(left=Num(value=2), right=Num(value=7)) Num(value=-6) Neg(inner=Num(value=4)) true Unknown"),
    "deep values": ('''
enum Chain:
    End
    Link(head: int, tail: Chain)

fn chain(n: int) -> Chain:
    var c = End
    for i in range(n):
        c = Link(i, c)
    return c

fn main() -> str:
    return f"{chain(20000) == chain(20000)} {chain(20000) == chain(20001)} {chain(3)}"
''', "true false Link(head=2, tail=Link(head=1, tail=Link(head=0, tail=End)))"),
    "maps and sets": ('''
fn main() -> str:
    var m: map[str, list[int]] = {"a": [1]}
    m["b"] = []
    m["a"].push(2)
    for k in m:
        m[k].push(0)
    let s = {x % 3 for x in range(10)}
    return f"{m} {len(s)} {[k for k, v in m.items() if len(v) > 1]} {('a' in m)}"
''', "{'a': [1, 2, 0], 'b': [0]} 3 ['a'] true"),
    "lists": ('''
fn main() -> str:
    let xs = [3, 1, 2]
    let ys = sorted(xs)
    let zs = xs.map(fn(x): x * 2).filter(fn(x): x > 2)
    match ys:
        case [first, *rest]:
            return f"{first} {rest} {zs} {xs[-1]} {xs[1:]} {max(xs)} {sum(xs)} {xs == [3, 1, 2]}"
        case []:
            return "empty"
''', "1 [2, 3] [6, 4] 2 [1, 2] 3 6 true"),
    "options": ('''
fn find(xs: list[int], x: int) -> int?:
    for i, y in enumerate(xs):
        if x == y:
            return i
    return none

fn main() -> str:
    let a = find([4, 5], 5)
    let b = find([4, 5], 6)
    if a != none:
        return f"{a + 1} {b ?? 7} {a} {b}"
    return "no"
''', "2 7 1 none"),
    "short circuits": ('''
fn next(mut n: int) -> int:
    n += 1
    return n

fn main() -> str:
    var n = 0
    let yes = 0 < next(mut n) < 5
    var k = 0
    let no = 5 < next(mut k) < next(mut k)
    let both = no and next(mut k) > 0
    return f"{yes} {n} {no} {k} {both} {[next(mut n) * 10 + next(mut n), next(mut n)]}"
''', "true 1 false 1 false [23, 4]"),
    "parallel": ('''
fn main() -> str:
    let xs = parallel [x * x for x in range(4) if x != 2]
    return f"{xs} {parallel [a * b for a, b in zip(xs, [1, 2, 3])]}"
''', "[0, 1, 9] [0, 2, 27]"),
    "tensors": ('''
fn mul(a: f32[N, K], b: f32[K, M]) -> f32[N, M]:
    return a @ b

fn main() -> str:
    let a: f32[2, 2] = [[1, 2], [3, 4]]
    var t = mul(a, a)
    t[0, 0] += 1
    t[:, 1] = 0.0
    var total = 0.0
    for row in t:
        total += sum(row)
    return f"{t} {total} {a * 2 == a + a}"
''', "[[8.0, 0.0], [15.0, 0.0]] 23.0 [[true, true], [true, true]]"),
    "models": ('''
model Block(d: int):
    param w: f32[d, d] = ones()
    state seen: int = 0

    mut fn step(x: f32[d]) -> f32[d]:
        self.seen += 1
        return self.w @ x

model Net(d: int, depth: int):
    let layers = [Block(d) for i in range(depth)]
    param b: f32[d] = constant(2)

    mut fn run(x: f32[d]) -> f32[d]:
        var h = x
        for i in range(len(self.layers)):
            h = self.layers[i].step(h)
        return h + self.b

    fn count() -> int:
        var n = 0
        for layer in self.layers:
            n += layer.seen
        return n

fn main() -> str:
    var m = Net(2, 2)
    let y = m.run([1, 2])
    let z = m.run([0, 1])
    let before = m
    set_params(mut m, params(m) * 0)
    return f"{y} {z} {m.count()} {num_params(m)} {sum(params(m))} {sum(params(before))}"
''', "[8.0, 8.0] [4.0, 4.0] 4 10 0.0 12.0"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str, run: Callable[..., str]) -> None:
    source, expected = PROGRAMS[name]
    assert run(source) == expected
