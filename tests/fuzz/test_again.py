"""What a process compiled before changes nothing: generated programs and edits of them, whose functions have the names
of others before, become the text and the manifest that they become in a process of their own."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hybridc_runtime import artifact

from hybridc import driver
from hybridc.base.diagnostic import CompileError
from hybridc.checking import check
from hybridc.llvm import backend, partition
from hybridc.passes.recognise import Recogniser
from tests.fuzz.program import case

SECONDS = float(os.environ.get("HYB_FUZZ_SECONDS", "86")) / 4
SUBJECTS = ("data", "all", "tiny", "gradients", "tensors", "data", "models")
NUMBER = re.compile(r"(?<![\w.])\d(?![\w.])")


class Compiler:
    """Compiles with or without what was compiled before; LLVM is left out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.texts: list[str] = []
        self.kept = driver.RECOGNISER
        self.patch = monkeypatch
        monkeypatch.setattr(backend, "objects", self.objects)
        monkeypatch.setattr(partition, "WHOLE", 400)

    def objects(self, jobs: Sequence[tuple[str, str]], opt: int, kept: object = None) -> Iterator[bytes]:
        self.texts = [text for text, _ in jobs]
        return iter([b""] * len(jobs))

    def compiled(self, path: Path, fresh: bool) -> tuple[list[str], bytes] | list[str]:
        """The texts and the manifest, or the errors."""
        self.patch.setattr(driver, "RECOGNISER", Recogniser() if fresh else self.kept)
        try:
            data = driver.artifact(check(str(path)), all_names=True, portable=False)
        except CompileError as e:
            return [f"{d.code} {d.message} {d.span}" for d in e.diagnostics]
        return self.texts, artifact.read(data).member("manifest.json").data


def edited(text: str, rng: random.Random) -> str:
    """A text with a line more, another number, its declarations in another order, or one of them gone."""
    parts = re.split(r"\n(?=\S)", text)
    match rng.randint(0, 4):
        case 0:
            parts.insert(rng.randrange(len(parts) + 1), "# a line")
        case 1 | 2:
            numbers = list(NUMBER.finditer(text))
            if numbers:
                at = rng.choice(numbers)
                return f"{text[:at.start()]}{rng.randint(0, 9)}{text[at.end():]}"
        case 3:
            rng.shuffle(parts)
        case 4:
            del parts[rng.randrange(len(parts))]
    return "\n".join(parts)


def steps(seed: str) -> Iterator[str]:
    """Programs of several cases, each with a few edits."""
    for n in range(100_000):
        rng = random.Random(f"{seed} {n}")
        cases = [case(f"{seed} {n} {name}", name, rng.choice(SUBJECTS)).source for name in "abc"[:rng.randint(1, 3)]]
        text = "\n".join(cases)
        yield text
        for _ in range(rng.randint(1, 4)):
            text = edited(text, rng)
            yield text


def test_what_was_compiled_before_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(monkeypatch)
    path = tmp_path / "case.hyb"
    compared = divided = 0
    until = time.monotonic() + SECONDS
    for text in steps(os.environ.get("HYB_FUZZ_SEED", "ci")):
        path.write_text(text)
        warm = compiler.compiled(path, fresh=False)
        cold = compiler.compiled(path, fresh=True)
        assert warm == cold, text
        compared += not isinstance(warm, list)
        divided += not isinstance(warm, list) and len(warm[0]) > 1
        if time.monotonic() > until:
            break
    assert compared >= 5 and divided > 0
