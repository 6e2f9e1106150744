"""A small differentiable program: a loss by a float and by a list, tensor, struct, map, tuple, option or enum, and the
function that is called, `slope_NAME`."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.slopes.tensors import Tensors

QUICK = ("branch while_ for_range for_list for_text match_int match_list match_tuple leave nest assertion several_at_once built folds tuples changed function_values nested_fn "
         "defaults custom model checkpointed second second_of_function second_by_container generic kernel closure").split()  # fmt: skip
"""What is compiled in a third of the time of others, so that there are more of them in a row of programs."""
OTHERS = ("in_place slices list_methods table mapping heap options struct recursion mutual over_list higher parallel forward matrix elements slices_of_tensors "
          "matrix_in_place rows layers tree second_of_tensor").split()  # fmt: skip
DEAR = "grid deque seen graph held_in_maps cases jacobians product many".split()
DEAREST = ("second_by_enum", "named_sizes")
"""What takes ten times as long as others: one of 128 programs has one in any case."""
CONSTRUCTS = (*QUICK, *OTHERS, *DEAR)
LATER = "handed_on"
"""In one of 16 programs: it came when the others had been looked at, which stayed as they were."""
TURNS = (*CONSTRUCTS, *CONSTRUCTS, *QUICK, *OTHERS, *QUICK * 8)
"""What the programs of a row have in turn; more of it in some."""

KINDS = ("list",) * 26 + ("tensor",) * 6 + ("struct", "struct", "map", "tuple", "tuple", "option", "option")


class Slopes(Tensors):
    def write(self, turn: int, woven: bool) -> None:
        """Declares the program; `turn` says which construct is in it in any case, and if it is `woven`, some more are."""
        k = self.prefix
        self.kind = "enum" if turn % 64 == 31 else self.rng.choice(KINDS)
        self.uses(f"by a float and {'an' if self.kind[0] in 'oe' else 'a'} {self.kind}")
        kind, make, back, first = self.given()
        with self.function(f"fn loss_{k}(p: int, x: f64, w: {kind}, q: int) -> f64:", ["x", "a", "b"], ["p", "q"]):
            self.loops = 0
            for text in (*first, "let a = xs[0]", "let b = xs[-1]"):
                self.line(text)
            self.line(f"var y = {self.real(1)}")
            self.reals.append("y")
            self.vars.append("y")
            for name in (self.turn(turn), *self.rng.choices(CONSTRUCTS, k=self.rng.randint(2, 5) if woven else 0 if turn % 32 else 2)):
                construct: Callable[[], None] = getattr(self, name)
                construct()
            rest = [r for r in self.reals[4:] if r != "y"]
            self.line("return " + " + ".join(["y", *(f"{self.one('0.7 * ', '-0.4 * ', 'sin')}({r})" for r in rest), "0.1 * x * a"]))
        given = "p: int, x: f64, xs: list[f64], q: int"
        self.declare(f"fn slope_{k}({given}) -> (f64, f64, list[f64]):",
                     f'    let v, (gx, gw) = value_and_grad(loss_{k}, wrt=("x", "w"))(p, x, {make}, q)', *back)  # fmt: skip
        self.declare(f"export slope_{k}")

    def turn(self, turn: int) -> str:
        if turn % 16 == 7:
            return LATER
        return DEAREST[turn // 128 % len(DEAREST)] if turn % 128 == 127 else TURNS[turn % len(TURNS)]

    def given(self) -> tuple[str, str, list[str], list[str]]:
        """The type of what the loss is given, how it is made of a list, how its derivative becomes a list again, and
        the lines that make a list of it within the loss."""
        k = self.prefix
        match self.kind:
            case "tensor":
                return "f64[N]", "stack(xs)", ["    return (v, gx, [g for g in gw])"], ["let xs = [v for v in w]"]
            case "struct":
                self.declare(f"struct W_{k}:", "    a: f64", "    n: int", "    rest: list[f64]")
                return (f"W_{k}", f"W_{k}(xs[0], q, xs[1:])", ["    return (v, gx, [gw.a] + gw.rest)"],
                        ["var xs = [w.a * 1.0]", "xs.extend(w.rest)"])  # fmt: skip
            case "map":
                return ("map[int, f64]", "{i: v for i, v in enumerate(xs)}", ["    return (v, gx, [gw[i] for i in range(len(xs))])"],
                        ["let xs = w.values()"])  # fmt: skip
            case "tuple":
                return ("(f64, (int, list[f64]))", "(xs[0], (q, xs[1:]))", ["    return (v, gx, [gw[0]] + gw[1][1])"],
                        ["let xs = [w[0]] + w[1][1]"])  # fmt: skip
            case "option":
                return "list[f64]?", "xs", ["    return (v, gx, gw ?? list[f64]())"], ["let xs = w ?? [x]"]
            case "enum":
                e = f"W{k}"
                self.declare(f"enum {e}:", f"    Some{e}(head: f64, tail: {e})", f"    No{e}")
                self.declare(f"fn made_{k}(xs: list[f64], i: int) -> {e}:", f"    return No{e} if i == len(xs) else Some{e}(xs[i], made_{k}(xs, i + 1))")
                self.declare(f"fn taken_{k}(e: {e}) -> list[f64]:", "    match e:", f"        case Some{e}(head, tail):", f"            return [head] + taken_{k}(tail)",
                             f"        case No{e}:", "            return []")  # fmt: skip
                return e, f"made_{k}(xs, 0)", [f"    return (v, gx, taken_{k}(gw))"], [f"let xs = taken_{k}(w)"]
        return "list[f64]", "xs", ["    return (v, gx, gw)"], ["let xs = w"]


def slopes(seed: str, name: str, woven: bool = False) -> Slopes:
    """The program of a seed, which ends in its number; a `woven` one is of several constructs."""
    number = seed.rpartition("-")[2]
    made = Slopes(seed, name)
    made.write(int(number) if number.isdigit() else made.rng.randrange(len(TURNS)), woven)
    return made
