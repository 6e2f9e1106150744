"""What a model holds: its parameters as one vector, its state, both by name, and both in a file."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hybridc_runtime import arrays, encoding, weights
from hybridc_runtime.holds import SHOWN, show
from hybridc_runtime.manifest import Manifest, Model, ModelState, Type
from hybridc_runtime.memory import HEADER, LINE, MEMORY, align_up, allocate, free, into_large_pages, set_word, word
from hybridc_runtime.state import put, spill, step_to
from hybridc_runtime.values import Owned

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec
    from hybridc_runtime.module import Part


class Contents:
    """Parameters and state of a model, whose value is `_owned`."""

    _part: Part
    _model: Model
    _owned: Owned
    _lock: threading.RLock

    # ---- parameters
    def _flat(self) -> tuple[int, int]:
        """Where the parameters are, and how many."""
        _, data, count = self._owned.leaves[:3]
        return data, count

    def _vector(self) -> Any:
        """All parameters as one new vector."""
        with self._lock:
            dtype = arrays.DTYPES[self._model.elem]
            data, count = self._flat()
            out = np.empty(count, dtype)
            if count:
                out.view(np.uint8)[:] = MEMORY[data:data + out.nbytes]
            return out

    def _shared_vector(self) -> Any:
        """All parameters as one vector over the model's own memory. It counts as an owner: compiled code that changes
        the parameters gives the model new memory. What was made of them is not kept, nor will be."""
        with self._lock:
            owner, data, count = self._owned.leaves[:3]
            if not owner or word(owner) != 1 or word(owner + 8) not in (count, SHOWN):
                self._set_vector(self._vector())  # so that no other value sees what is written
                owner, data, count = self._owned.leaves[:3]
            show(owner)
            dtype = arrays.DTYPES[self._model.elem]
            set_word(owner, word(owner) + 1)
            program = self._part.program
            held = arrays.Holder(data, count * dtype.itemsize, lambda: program.drop_block(owner))
            return np.frombuffer(held.memory, dtype, count)

    def _shown(self) -> bool:
        """May Python write to the parameters?"""
        owner = self._owned.leaves[0]
        return bool(owner) and word(owner + 8) == SHOWN

    def _set_vector(self, vector: Any) -> None:
        """Put all parameters back."""
        size = vector.nbytes
        block = allocate(HEADER + size + LINE)
        data = align_up(block + HEADER, LINE)
        set_word(block, 1)
        set_word(block + 8, vector.size)
        if size:
            MEMORY[data:data + size] = np.ascontiguousarray(vector).view(np.uint8).data
        self._part.program.count_live(1)
        with self._lock:
            old = self._owned.leaves[0]
            self._owned.leaves = (block, data, vector.size, *self._owned.leaves[3:])
            if old:
                self._part.program.drop_block(old)
            self._settle()

    def _settle(self) -> None:
        """Parameters are read at each call."""
        data, count = self._flat()
        into_large_pages(data, count * arrays.DTYPES[self._model.elem].itemsize)

    # ---- state
    def _state_values(self, ordered: bool = False) -> dict[str, tuple[ModelState, Any]]:
        """Every persistent value that can leave the model; with sets as `Ordered`, if asked."""
        codec, model = self._part.codec, self._model
        out = {}
        address = spill(self._owned)
        try:
            for state in model.states:
                t, at = self._walk(("struct", model.struct), address, state.route)
                if not isinstance(t, str) and t[0] == "struct" and codec.kind(t).kind == "store":
                    continue
                out[state.path] = (state, codec.read(t, at, ordered=ordered))
        finally:
            free(address)
        return out

    def _walk(self, t: Type, address: int, route: list[Any]) -> tuple[Type, int]:
        """The place that a route leads to from a value in memory."""
        codec = self._part.codec
        for step in route:
            t, address = step_to(codec, t, address, step)
        return t, address

    def state_dict(self) -> dict[str, Any]:
        """Copies of the parameters, then of the state, by path."""
        out = {name: array for name, (_, array) in self._tensors().items()}
        for path, (_, value) in self._state_values().items():
            out[path] = value
        return out

    def _tensors(self) -> dict[str, tuple[str, Any]]:
        flat, elem = self._vector(), self._model.elem
        out = {}
        for p in self._model.params:
            size = int(np.prod(p.shape, dtype=np.int64))
            out[p.path] = (elem, flat[p.offset:p.offset + size].reshape(p.shape).copy())
        return out

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace parameters and state; what does not fit changes nothing."""
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict() takes a dict of arrays by name, not {type(state).__name__}")
        states = self._state_values()
        if not any(name in state for name in states):
            states = {}  # weights alone, from PyTorch say: the state stays
        wrong = unlike(self._model, states, state)
        if wrong:
            raise KeyError(wrong)
        self._replace(state, states)

    def _replace(self, state: Mapping[str, Any], states: Mapping[str, tuple[ModelState, Any]]) -> None:
        codec = self._part.codec
        flat = self._vector()
        for p in self._model.params:
            try:
                array, _ = arrays.as_array(state[p.path], self._model.elem)
            except arrays.Unfit as e:
                expected = arrays.shown(self._model.elem, p.shape)
                raise ValueError(f"{p.path}: expected {expected}, found {e.found}") from None
            check_shape(p.path, self._model.elem, p.shape, array.shape)
            flat[p.offset:p.offset + array.size] = array.reshape(-1)
        news: list[tuple[ModelState, Type, tuple[Any, ...]]] = []
        try:
            for path, (row, _) in states.items():
                news.append((row, row.type, codec.write_leaves(row.type, state[path], path)))
                if row.check:
                    codec.helper(row.check, [row.type], None)((state[path],))
        except ValueError as e:
            for _, t, leaves in news:
                codec.release_leaves(t, leaves)
            raise ValueError(str(e)) from None
        with self._lock:
            self._set_vector(flat)
            if news:
                self._set_states(news)

    def _set_states(self, news: list[tuple[ModelState, Type, tuple[Any, ...]]]) -> None:
        codec, t = self._part.codec, ("struct", self._model.struct)
        layout = codec.layouts.of(t)
        address = spill(self._owned)
        try:
            for row, item, leaves in news:
                put(codec, t, address, row.route, item, leaves)
            self._owned.leaves = layout.struct.unpack_from(MEMORY, address)
        finally:
            free(address)

    # ---- files
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and state as safetensors under the names of the source."""
        weights.save(path, *self._contents())

    def _contents(self) -> tuple[dict[str, tuple[str, Any]], dict[str, str]]:
        """Parameters and state as tensors, and the state that is none as metadata."""
        codec = self._part.codec
        tensors = self._tensors()
        rest = {}
        for name, (row, value) in self._state_values(ordered=True).items():
            t = row.type
            if isinstance(t, str) or t[0] == "tensor":
                if isinstance(t, str):
                    tensors[name] = (t, arrays.as_array([value], t)[0].reshape(()))
                else:
                    tensors[name] = (t[1], _tensor(value, t[1]))
            else:
                try:
                    rest[name] = encoding.to_text(encoding.schema(codec.manifest, t), value)
                except TypeError as e:
                    raise TypeError(f"{self._model.shown}.{name}: {e}") from None
        return tensors, {f"state.{k}": v for k, v in rest.items()}

    def load(self, path: str | os.PathLike[str]) -> None:
        """Read what `save` wrote; a file that does not fit changes nothing."""
        tensors, metadata = weights.load(path)
        self._take_contents(tensors, metadata, os.fspath(path))

    def _take_contents(self, tensors: dict[str, tuple[str, Any]], metadata: dict[str, str], source: str) -> None:
        """Replace parameters and state by what `_contents` gave; what does not fit changes nothing."""
        codec = self._part.codec
        try:
            self.load_state_dict(entries(codec.manifest, self._model, tensors, metadata, codec))
        except KeyError as e:
            raise ValueError(f"{source}: {e.args[0]}") from None


def states_of(manifest: Manifest, model: Model) -> dict[str, ModelState]:
    """The persistent values that can leave a model, by path: all but stores."""
    kinds = ((s, manifest.kinds.get(s.type[1]) if s.type[0] == "struct" else None) for s in model.states)
    return {s.path: s for s, kind in kinds if kind is None or kind.kind != "store"}


def entries(
    manifest: Manifest, model: Model, tensors: Mapping[str, tuple[str, Any]], metadata: Mapping[str, str],
    codec: Codec | None,
) -> dict[str, Any]:
    """What a file has, as `load_state_dict` takes it; ValueError for a parameter of another element type and for state
    that cannot be read. Without `codec`, values of the program's classes are of classes that only look like them."""
    states = states_of(manifest, model)
    found: dict[str, Any] = {}
    for name, (elem, array) in tensors.items():
        row = states.get(name)
        if row is not None and isinstance(row.type, str) and array.shape == () and elem == row.type:
            found[name] = arrays.from_bf16(array).item() if elem == "bf16" else array.item()
        else:
            found[name] = array
            if row is None and elem != model.elem and any(p.path == name for p in model.params):
                raise ValueError(f"{name}: expected {model.elem}, found {elem}")
    for key, text in metadata.items():
        row = states.get(key.removeprefix("state."))
        if key.startswith("state.") and row is not None:
            found[row.path] = encoding.from_text(encoding.schema(manifest, row.type), text, codec)
    return found


def unlike(model: Model, states: Iterable[str], given: Collection[str]) -> str:
    """Which entries are missing and which are unknown, as text; "" if they are what the model has."""
    wanted = dict.fromkeys([*(p.path for p in model.params), *states])
    wrong = {"missing": [k for k in wanted if k not in given], "unknown": [k for k in given if k not in wanted]}
    parts = [f"{what} {', '.join(names)}" for what, names in wrong.items() if names]
    return f"{model.shown}: {'; '.join(parts)}" if parts else ""


def check_shape(name: str, elem: str, wanted: Sequence[int | None], found: Sequence[int]) -> None:
    """ValueError for an entry of another shape; None is any number."""
    if len(wanted) != len(found) or any(w not in (None, f) for w, f in zip(wanted, found, strict=True)):
        shown = arrays.shown(elem, ["?" if d is None else d for d in wanted])
        raise ValueError(f"{name}: expected {shown}, found {arrays.shown(elem, found)}")


def _tensor(value: Any, elem: str) -> Any:
    """State as it is kept on disk; bf16 came out as float32."""
    return arrays.to_bf16(value) if elem == "bf16" else value
