"""Divides a program's LLVM text into pieces, each a module that becomes an object of its own: pieces are compiled side
by side, or when they are needed, and a piece whose text stays as it was is not compiled again.

Small helpers are written into every piece that uses them, so that LLVM can put them in place. What only one function
uses stands in its piece, known to be used nowhere else. Where a piece ends is decided by the names in it, so that an
edit changes the piece that it is in and not how all that follows is divided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from zlib import crc32

from hybridc.llvm.definitions import LOOP, NAME, Def, Text

COPIED = 12
"""Lines up to which a helper stands in each piece that uses it."""
SHOWN = 100
"""Lines up to which a piece that calls a function of another one shows LLVM what that does."""
WHOLE = 1500
"""Lines of a program that is not divided."""
LEAST = 500
"""Lines of a piece, if there is more to come."""
MOST = 1000
"""Lines beyond which nothing more is put to a function because it is the only one that uses it."""
ENDS = 3
"""One name in so many ends a piece of at least LEAST lines."""
FLAGS = '!{!"llvm.loop.unroll.disable"}'


def pieces(text: Text) -> list[str]:
    """The texts of all pieces. The last has the numbers that the whole program decides, and its variables: it is the
    one that changes with every edit. A small program is one piece."""
    if text.size <= WHOLE:
        return [whole_text(text)]
    partition = Partition(text)
    return [*partition.texts(partition.users), partition.numbers()]


def whole_text(text: Text) -> str:
    """The program as one module."""
    used = {n for d in text.defs.values() for n in d.uses}
    numbers = [f"{name} = internal constant i64 {n}" for name, n in text.numbers.items() if name in used]
    constants = [f"{name} = {definition}" for name, definition in sorted(text.constants.items())]
    declared = [f"declare {signature}" for _, signature in sorted(text.declared.items())]
    defs = [text.defs[name] for name in in_order(text, text.defs)]
    named = [(d, "" if d.exported else "internal") for d in defs]
    return _put_together([*text.more, *numbers, *constants, *declared], named)


def in_order(text: Text, names: Iterable[str]) -> list[str]:
    """Functions of the program in its order, then helpers by name, in whatever order they were asked for."""
    functions = [n for n in names if of_program(text.defs[n])]
    return functions + sorted(set(names).difference(functions))


def of_program(d: Def) -> bool:
    """Is it a function that the program has, or that is called from outside?"""
    return d.exported or d.name.startswith(("@f.", '@"f.'))


def _put_together(heads: Iterable[str], defs: Iterable[tuple[Def, str]]) -> str:
    """Loops that are not to be unrolled are numbered."""
    text = "\n".join([*heads, *(d.text(linkage) for d, linkage in defs)]) + "\n"
    first, *rest = text.split(LOOP)
    loops = "".join(f"!{i}{part}" for i, part in enumerate(rest, 2))
    notes = [f"!{i} = distinct !{{!{i}, {FLAGS}}}" for i in range(2, len(rest) + 2)]
    return "\n".join([first + loops + "!0 = !{}\n!1 = !{!\"branch_weights\", i32 2000, i32 1}", *notes]) + "\n"


@dataclass
class _Piece:
    """`names` are definitions that stand in it alone."""

    names: list[str] = field(default_factory=list)
    size: int = 0


class Partition:
    """Divides a program, all at once or bit by bit."""

    def __init__(self, text: Text):
        self.text = text
        known = text.defs.keys() | text.constants.keys() | text.declared.keys() | text.numbers.keys()
        self.uses: dict[str, list[str]] = {}
        """What the text of a definition or a constant names."""
        for name, d in text.defs.items():
            self.uses[name] = [n for n in d.uses if n in known]
        for name, definition in text.constants.items():
            self.uses[name] = [n for n in NAME.findall(definition) if n in known]
        self.users = self._users()
        self.given: set[str] = set()
        """Definitions whose pieces are made."""

    def copied(self, name: str) -> bool:
        """Does it stand in every piece that uses it?"""
        d = self.text.defs.get(name)
        if d is None:
            return name in self.text.constants
        return d.size <= COPIED and not of_program(d)

    def with_copies(self, name: str) -> Iterator[str]:
        """What a definition names, and what the copies among these name."""
        seen = {name}
        todo = [name]
        while todo:
            for other in self.uses.get(todo.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    yield other
                    if self.copied(other):
                        todo.append(other)

    def _users(self) -> dict[str, set[str]]:
        """Of each definition that stands in one piece, those that name it."""
        users: dict[str, set[str]] = {n: set() for n in self.text.defs if not self.copied(n)}
        for name in users:
            for other in self.with_copies(name):
                if other in users:
                    users[other].add(name)
        return users

    # ---- which piece
    def reached(self, names: Iterable[str]) -> list[str]:
        """What these definitions need, with themselves, of what was not given."""
        found: dict[str, None] = {}
        todo = list(names)
        while todo:
            name = todo.pop()
            if name in self.users and name not in self.given and name not in found:
                found[name] = None
                todo += self.with_copies(name)
        return [name for name in self.users if name in found]

    def _divided(self, names: Collection[str]) -> list[_Piece]:
        if sum(self.text.defs[name].size for name in names) <= WHOLE:
            return [_Piece(in_order(self.text, names))]
        found = [_Piece()]
        for group in self._groups(names):
            last = found[-1]
            last.names += group.names
            last.size += group.size
            ends = crc32(group.names[0].encode()) % ENDS == 0
            if last.size >= LEAST and (ends or last.size >= MOST):
                found.append(_Piece())
        return [p for p in found if p.names]

    def _groups(self, names: Iterable[str]) -> list[_Piece]:
        """Each definition with what only it uses."""
        home: dict[str, _Piece] = {}
        for name in in_order(self.text, names):
            self._home(name, home)
        return list({id(g): g for g in home.values()}.values())

    def _home(self, name: str, home: dict[str, _Piece]) -> None:
        way = []
        at = name
        while at not in home:  # to the one that has no single user
            way.append(at)
            users = self.users[at]
            if len(users) != 1 or self.text.defs[at].exported or (above := next(iter(users))) in way:
                break
            at = above
        for each in reversed(way):
            size = self.text.defs[each].size
            group = home.get(at)
            if group is None or group.size + size > MOST:
                group = _Piece()
            home[each] = group
            group.names.append(each)
            group.size += size
            at = each

    # ---- its text
    def numbers(self) -> str:
        """The piece with what the whole program decides."""
        numbers = [f"{name} = constant i64 {n}" for name, n in self.text.numbers.items()]
        return "\n".join([*numbers, *self.text.more]) + "\n"

    def texts(self, names: Collection[str]) -> list[str]:
        """The pieces of definitions that were not given, with all that these need of the others."""
        divided = self._divided(names)
        place = dict.fromkeys(self.given, -1)
        place.update((name, i) for i, piece in enumerate(divided) for name in piece.names)
        known = self._known_outside(names, place)
        return [self._text(i, piece, place, known) for i, piece in enumerate(divided)]

    def small(self, name: str) -> bool:
        """May LLVM put it in the place of a call in another piece, which is shown what it does?"""
        d = self.text.defs.get(name)
        return d is not None and not d.exported and d.size <= SHOWN and "noinline" not in d.head

    def _known_outside(self, names: Iterable[str], place: Mapping[str, int]) -> set[str]:
        """What other pieces name, or may name later, also in what they are shown."""
        found = {n for n in names if any(place.get(user) != place[n] for user in self.users[n])}
        todo = list(found)
        while todo:
            name = todo.pop()
            if self.small(name):
                more = {n for n in self.with_copies(name) if n in place} - found
                found |= more
                todo += more
        return found

    def _text(self, number: int, piece: _Piece, place: Mapping[str, int], known: set[str]) -> str:
        text = self.text
        named = {n for name in piece.names for n in self.with_copies(name)}
        shown = {n for n in named if place.get(n, number) != number and self.small(n)}
        found = dict.fromkeys(piece.names)
        for name in [*piece.names, *sorted(shown)]:
            found.update(dict.fromkeys(self.with_copies(name)))
        heads, defs = [], []
        for name in found:
            if name in text.numbers:
                heads.append(f"{name} = external constant i64")
            elif name in text.constants:
                heads.append(f"{name} = {text.constants[name]}")
            elif name in text.declared:
                heads.append(f"declare {text.declared[name]}")
            elif name in shown:
                defs.append((text.defs[name], "available_externally"))
            elif place.get(name, number) != number:
                heads.append(f"declare {text.defs[name].signature}")
            else:
                d = text.defs[name]
                defs.append((d, "" if d.exported or name in known else "internal"))
        return _put_together(sorted(heads), defs)
