"""Calls of compiled entries from Python: arguments in, results out, `mut` arguments written back after success."""

from __future__ import annotations

import functools
import itertools
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from hybridc_runtime import arrays
from hybridc_runtime.classes import Record
from hybridc_runtime.codec import Codec
from hybridc_runtime.convert_in import Writing
from hybridc_runtime.convert_leaf import Misfit
from hybridc_runtime.convert_out import Reading
from hybridc_runtime.faults import ArgumentError
from hybridc_runtime.manifest import Entry, Type
from hybridc_runtime.memory import MEMORY, align_up, allocate, free, zero
from hybridc_runtime.native import Context
from hybridc_runtime.needs import needs
from hybridc_runtime.values import Native, Owned, rng


class Caller:
    """One entry. Values come complete and in order; defaults and names are the caller's business."""

    def __init__(self, codec: Codec, entry: Entry):
        self.codec, self.entry = codec, entry
        layouts = codec.layouts
        types = [p.type for p in entry.params]
        self.types = types
        self.results: list[Type] = ([] if entry.result is None else [entry.result])
        self.muts = [i for i, p in enumerate(entry.params) if p.mut]
        self.results += [types[i] for i in self.muts]
        self.alike = [(i, j) for i, j in itertools.combinations(self.muts, 2) if types[i] == types[j]]
        """Pairs of `mut` parameters for which one object must not be given: one of the two changes would be lost."""
        self.args_layout, self.results_layout = layouts.row(types), layouts.row(self.results)
        self.offsets, self.result_offsets = layouts.offsets(types), layouts.offsets(self.results)
        self.result_at = align_up(self.args_layout.size, 64)
        self.size = self.result_at + self.results_layout.size
        self.appliers = {i: self._applier(i) for i in self.muts}
        self.keeps = any(self._stays_native(t) for t in self.results)
        self._parts: list[tuple[Any, Any]] | None = None
        self._ready: tuple[int, list[tuple[Callable[[int, int], object], int]]] | None = None

    def _stays_native(self, t: Type) -> bool:
        """Does a result of this type hold on to native memory after the call?"""
        seen: set[Type] = set()

        def stays(t: Type) -> bool:
            if isinstance(t, str) or t[0] == "tensor" or t in seen:
                return False
            seen.add(t)
            if t[0] in ("option", "buffer"):
                return stays(t[1])
            if t[0] == "tuple":
                return any(map(stays, t[1]))
            kind = self.codec.kind(t)
            if kind.kind in ("fn", "model", "graph"):
                return True
            if kind.args and kind.kind not in ("struct", "enum"):
                return any(map(stays, kind.args))
            if t[0] == "enum":
                return any(stays(ft) for _, fields in self.codec.layouts.enums[t[1]] for _, ft in fields)
            return any(map(stays, self.codec.layouts.fields(t)))

        return stays(t)

    def ready(self) -> tuple[int, list[tuple[Callable[[int, int], object], int]]]:
        """The address of the compiled entry, what releases results, and where these are. The code may be made only
        now, with what arguments and results need."""
        if self._ready is None:
            code, name = self.codec.program.code, "hyb." + self.entry.symbol
            if code.later is not None:
                code.make([name, *needs(self.codec, [*self.types, *self.results])])
            found = zip(map(self.codec.releaser, self.results), self.result_offsets, strict=True)
            self._ready = code.entry(name), [(release, at) for release, at in found if release is not None]
        return self._ready

    @functools.cached_property
    def plain(self) -> bool:
        """Does the entry give tensors, numbers and tuples of them that numpy knows, and change nothing but models?"""
        result = self.entry.result
        return result is not None and _plain(result) and all(self.codec.is_model(self.types[i]) for i in self.muts)

    # ---- the call
    def __call__(self, values: Any, native: bool = False) -> Any:
        """The result; `mut` arguments are changed in place."""
        codec = self.codec
        for i in self.muts:
            self._check_mut(i, values[i])
        for i, j in self.alike:
            if values[i] is values[j]:
                error = ArgumentError(f"{self._what(j)}: what is changed is given as {self._what(i)} already")
                error.fits = len(values) if self.takes_models(values) else 0
                raise error
        context = codec.program.acquire()
        base = context.scratch if self.size <= Context.SCRATCH else allocate(self.size)
        try:
            return self._run(values, native, context, base)
        finally:
            if base != context.scratch:
                free(base)
            codec.program.release(context)

    def _run(self, values: Any, native: bool, context: Context, base: int) -> Any:
        codec = self.codec
        address, releases = self.ready()  # before anything is written that would have to go again
        keep = native or self.keeps or any(type(values[i]) is Native for i in self.muts)
        writing = self._write(values, base, keep)
        target = base + self.result_at
        if releases:
            zero(target, self.results_layout.size)
        try:
            try:
                codec.program.call(address, context, base, target)
                writing.commit()
            except BaseException:  # a signal's may come before the code has the arguments
                writing.commit() if context.entered else writing.undo()
                raise
            finally:
                for number in writing.callables:
                    codec.callables.pop(number, None)
            return self._finish(values, target, native, writing.torch)
        finally:
            for release, offset in releases:
                release(context.address, target + offset)

    def complete(self, target: int, *values: Any) -> Any:
        """The end of a fast call whose results are not for machine code: read them, change `mut` arguments."""
        return self._finish(values, target, False, False)

    def _finish(self, values: Any, target: int, native: bool, torch: bool) -> Any:
        codec = self.codec
        reading = Reading(torch, alone=True)
        try:
            result, first = None, 0
            if self.entry.result is not None:
                first = 1
                if native:
                    result = Native(self._take(0, target))
                else:
                    result = codec.readers.read(self.results[0], target + self.result_offsets[0], reading)
            news = []
            for k, i in enumerate(self.muts, first):
                if getattr(values[i], "_owned", None) is not None:
                    news.append(self._take(k, target))
                else:
                    news.append(codec.readers.read(self.types[i], target + self.result_offsets[k], reading))
            reading.finish()
        finally:
            codec.finish(reading)
        for i, new in zip(self.muts, news, strict=True):
            self.appliers[i](values[i], new)
        return result

    def leaves(self, values: Any) -> list[tuple[Any, ...]]:
        """Call, and give each result as leaves that the caller owns."""
        address, _ = self.ready()
        base = allocate(self.size)
        context = self.codec.program.acquire()
        try:
            self._write(values, base, True).commit()
            self.codec.program.call(address, context, base, base + self.result_at)
            return [
                self.codec.layouts.of(t).struct.unpack_from(MEMORY, base + self.result_at + offset)
                for t, offset in zip(self.results, self.result_offsets, strict=True)
            ]
        finally:
            self.codec.program.release(context)
            free(base)

    def _write(self, values: Any, base: int, keep: bool) -> Writing:
        codec = self.codec
        writing = Writing(codec, keep)
        parts = self._parts
        if parts is None:
            parts = self._parts = [(codec.writers.row(t), codec.layouts.of(t).struct.pack_into) for t in self.types]
        i = 0
        try:
            for i, (write, pack) in enumerate(parts):
                value = values[i]
                at = base + self.offsets[i]
                writing.copy = keep and self.entry.params[i].stays
                if type(value) is Native:
                    pack(MEMORY, at, *self._native(value, i, writing))
                else:
                    pack(MEMORY, at, *write(value, writing, at))
                    writing.finish()
        except Misfit as e:
            writing.undo()
            param, beyond = self.entry.params[i], self._beyond(i, values[i]) or 0
            most = f"`*{param.pack}` for at most {param.leading} dimensions"
            remedy = f"; an artifact has {most}, its source for any number" if beyond > 0 else ""
            error = ArgumentError(e.message(self._what(i)) + remedy)
            error.fits = i + 1 / (2 + abs(beyond))  # of entries for several numbers of dimensions, the nearest
            raise error from None
        except BaseException:  # what a user's value raises when it is read, or a signal's: nothing is left written
            writing.undo()
            raise
        return writing

    def leading(self, values: Any) -> dict[str, int]:
        """What each `*` name would have to stand for to fit the first tensor of each argument."""
        found: dict[str, int] = {}
        for i, param in enumerate(self.entry.params):
            beyond = self._beyond(i, values[i])
            if beyond is not None and param.leading + beyond >= 0:
                found.setdefault(param.pack, param.leading + beyond)
        return found

    def _beyond(self, i: int, value: Any) -> int | None:
        """How many dimensions more the first tensor of an argument has than its type with a `*` name."""
        t = self.types[i]
        if not self.entry.params[i].pack:
            return None
        while not isinstance(t, str) and t[0] != "tensor":
            if t[0] == "option" and value is not None:
                t = t[1]
            elif self.codec.kind(t).kind == "list" and isinstance(value, (list, tuple)) and value:
                t, value = self.codec.kind(t).args[0], value[0]
            else:
                return None
        return arrays.depth(value) - (0 if isinstance(t, str) else len(t[2]))

    def _what(self, i: int) -> str:
        name = self.entry.params[i].name
        return name if name.startswith("argument ") or name == "function" else f"argument {name}"

    def _native(self, value: Native, i: int, writing: Writing) -> tuple[Any, ...]:
        """The leaves of a native argument: shared, or converted if it comes from another program."""
        owned, t = value._owned, self.types[i]
        if self.codec.accepts(owned, t):
            leaves = owned.share()
            writing.log.append(lambda: self.codec.release_leaves(t, leaves))
            return leaves
        if owned.codec.show(owned.type) != self.codec.show(t):
            raise Misfit(self.entry.params[i].shown or self.codec.show(t), f"a native {owned.codec.show(owned.type)}")
        return self.codec.writers.row(t)(value.to_python(), writing, 0)

    def _take(self, k: int, target: int) -> Owned:
        """A result's leaves, taken out of the results."""
        t = self.results[k]
        layout = self.codec.layouts.of(t)
        at = target + self.result_offsets[k]
        leaves = layout.struct.unpack_from(MEMORY, at)
        layout.struct.pack_into(MEMORY, at, *layout.zeros)
        return Owned(self.codec, t, leaves)

    # ---- mut arguments
    def takes_models(self, values: Any) -> bool:
        """Whether the models among the arguments are of its configurations, or of none: an entry is for one of each."""
        return all(self.codec.accepts(v._owned, t) for t, v in zip(self.types, values, strict=True)
                   if isinstance(getattr(v, "_owned", None), Owned) and self.codec.is_model(t))

    def _check_mut(self, i: int, value: Any) -> None:
        if type(value) is Native:
            return
        fits = self.appliers[i].__dict__["fits"]
        if not fits(value):
            shown = self.entry.params[i].shown or self.codec.show(self.types[i])
            raise TypeError(
                f"{self._what(i)}: a mut parameter of type {shown} changes its argument in place; "
                f"{_a(value)} cannot be changed"
            )

    def _applier(self, i: int) -> Callable[[Any, Any], None]:
        """f(object, new value): change the object; its attribute `fits` says which objects can be."""
        t = self.types[i]
        what = self._what(i)

        def by(fits: Callable[[Any], bool], change: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
            def apply(value: Any, new: Any) -> None:
                if isinstance(new, Owned):
                    leaves, new.leaves = new.leaves, None
                    value._owned.replace(leaves)
                else:
                    change(value, new)

            apply.__dict__["fits"] = fits
            return apply

        if not isinstance(t, str) and t[0] == "tensor":
            return by(_changeable_array, lambda value, new: _change_array(value, new, what))
        kind = self.codec.kind(t).kind if not isinstance(t, str) and t[0] == "struct" else ""
        match kind:
            case "list" | "heap":
                return by(lambda v: isinstance(v, list), _change_list)
            case "map":
                return by(lambda v: isinstance(v, dict), _change_dict)
            case "set":
                return by(lambda v: isinstance(v, set), _change_set)
            case "deque":
                return by(lambda v: isinstance(v, deque), _change_deque)
            case "struct":
                return by(lambda v: isinstance(v, Record), lambda v, new: v.__dict__.update(new.__dict__))
            case "rng":
                return by(lambda v: isinstance(v, rng), _change_rng)
            case "model" | "graph" | "store":
                return by(lambda v: getattr(v, "_owned", None) is not None, lambda v, new: None)
        return by(lambda v: False, lambda v, new: None)


def _plain(t: Type) -> bool:
    if isinstance(t, str):
        return t != "bf16"
    return t[0] == "tensor" and t[1] != "bf16" or t[0] == "tuple" and all(map(_plain, t[1]))


def _a(value: Any) -> str:
    kind = type(value)
    # A class of elsewhere may have the name of one of the program's.
    name = kind.__name__ if hasattr(kind, "_hyb_name") or kind.__module__ == "builtins" else (
        f"{kind.__module__}.{kind.__qualname__}")
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        name = f"read-only {name}"
    return "none" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _changeable_array(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.flags.writeable) and value.ndim > 0
    return isinstance(value, list) or arrays.is_torch(value)


def _change_array(value: Any, new: Any, what: str) -> None:
    if isinstance(value, list):
        value[:] = new.tolist()
    elif tuple(value.shape) != tuple(new.shape):
        raise ArgumentError(
            f"{what}: the function made an array of shape {list(new.shape)}, which does not fit in place of "
            f"{list(value.shape)}"
        )
    elif isinstance(value, np.ndarray):
        value[...] = np.asarray(new)
    else:
        torch = sys.modules["torch"]
        with torch.no_grad():
            value.copy_(torch.as_tensor(new))


def _change_list(value: list[Any], new: list[Any]) -> None:
    value[:] = new


def _change_dict(value: dict[Any, Any], new: dict[Any, Any]) -> None:
    value.clear()
    value.update(new)


def _change_set(value: set[Any], new: set[Any]) -> None:
    value.clear()
    value.update(new)


def _change_deque(value: deque[Any], new: deque[Any]) -> None:
    value.clear()
    value.extend(new)


def _change_rng(value: rng, new: rng) -> None:
    value._state = new._state
