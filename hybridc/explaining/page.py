"""A report as one HTML page: the source at the left, coloured by where each line runs, and what it becomes beside
it. The page needs no network and no other file (its policy forbids both); page.html is what all of them have alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources

from hybridc.explaining.report import Called, Flow, Function, Item, Kernel, Move, Place, Report
from hybridc.explaining.text import NOTHING

WHERE = {"gpu": "on the GPU", "cpu": "in a CPU kernel", "host": "on the host"}


def page(report: Report) -> str:
    template = (resources.files("hybridc.explaining") / "page.html").read_text(encoding="utf-8")
    shown = _Page(report)
    parts = {"title": escape(report.path), "target": escape(report.target), "source": shown.source(),
             "functions": shown.functions()}
    for name, text in parts.items():
        template = template.replace(f"<!--{name}-->", text)
    return template


class _Page:
    def __init__(self, report: Report):
        self.report = report
        self.paths = {p: i for i, p in enumerate(self._paths())}
        self.number = 0
        self.lines: dict[Place, dict[str, str]] = {}
        """By line the kernels that it is part of, and where these run; transfers are `move`."""
        self.right = "".join(map(self.function, report.functions))

    def _paths(self) -> list[str]:
        """The file itself, then the others that kernels come from."""
        found = dict.fromkeys([self.report.path])
        for f in self.report.functions:
            for kernel in _kernels(f.items):
                found.update(dict.fromkeys(p for p, _ in kernel.lines))
        return [p for p in found if p in self.report.sources]

    # ---- the source
    def source(self) -> str:
        return "".join(map(self.file, self.paths))

    def file(self, path: str) -> str:
        text = self.report.sources[path].text
        rows = "".join(self.line((path, i + 1), line) for i, line in enumerate(text.splitlines()))
        return f'<section aria-label="{escape(path)}"><h2>{escape(path)}</h2><ol class="code">{rows}</ol></section>'

    def line(self, place: Place, text: str) -> str:
        kernels = self.lines.get(place, {})
        kinds = set(kernels.values())
        kind = "gpu" if "gpu" in kinds else "cpu" if "cpu" in kinds else "host" if place in self.report.hosts else ""
        code = f"<code>{escape(text) or ' '}</code>"
        if not kernels:
            return f'<li class="{kind}">{code}</li>'
        names = " ".join(kernels)
        label = f"line {place[1]}, {WHERE.get(kind, 'moved')}: {text.strip()}"
        given = f'id="{self.id(place)}" data-of="{names}" tabindex="0" aria-label="{escape(label)}"'
        return f'<li class="{kind}" {given}>{code}</li>'

    def id(self, place: Place) -> str:
        return f"l{self.paths.get(place[0], 'x')}-{place[1]}"

    def link(self, place: Place | None) -> str:
        if place is None or place[0] not in self.paths:
            return ""
        name = place[0].rpartition("/")[2]
        return f'<span class="at">{escape(name)}:{place[1]}</span>'

    # ---- what it becomes
    def functions(self) -> str:
        return self.right or f"<p>{NOTHING[0].upper()}{NOTHING[1:]}.</p>"

    def function(self, f: Function) -> str:
        kernels = list(_kernels(f.items))
        head = f"<summary><strong>{escape(f.title)}</strong> {self.link(f.place)} " \
               f"<small>{len(kernels)} kernel{'s' * (len(kernels) != 1)}, {_moves(f.items)} transfers</small></summary>"
        notes = "".join(_notes(title, of) for title, of in (
            ("Not in one kernel", f.apart), ("Copied", f.copies), ("On the host", f.hosted),
            ("Checked when it runs", f.checks), ("In lanes", f.lanes), ("Turn by turn", f.single)))
        body = f'<p class="signature"><code>({escape(f.signature)})</code></p>{self.items(f.items)}{notes}'
        return f"<details{'' if f.derivative else ' open'}>{head}{body}</details>"

    def items(self, items: Sequence[Item]) -> str:
        return f'<ol class="flow">{"".join(map(self.item, items))}</ol>' if items else ""

    def item(self, item: Item) -> str:
        match item:
            case Kernel():
                return f"<li>{self.kernel(item)}</li>"
            case Move():
                to, kind = ("to the host, which waits", "out") if item.to_host else ("to the GPU", "in")
                return (f'<li><div class="move {kind}">transfer {to}: <code>{escape(item.name)}</code>, '
                        f"{escape(item.bytes)} bytes {self.link(item.place)}</div></li>")
            case Called():
                return f'<li><div class="called">call of {escape(item.title)} {self.link(item.place)}</div></li>'
            case Flow():
                head = f"{escape(item.kind)} {self.link(item.place)}"
                return f'<li><div class="around">{head}</div>{self.items(item.items)}</li>'

    def kernel(self, k: Kernel) -> str:
        name, kind = f"k{self.number}", "gpu" if k.gpu else "cpu"
        self.number += 1
        for place in k.lines:
            self.lines.setdefault(place, {})[name] = kind
        of = " ".join(self.id(p) for p in k.lines)
        rows = [("operators", ", ".join(k.operators)), ("bytes", f"{k.read} read, {k.written} written"),
                ("operations", k.operations), *([("", "the host waits for its result, a number")] if k.waits else [])]
        table = "".join(f"<dt>{t}</dt><dd>{escape(v)}</dd>" for t, v in rows)
        title = f"{'GPU kernel' if k.gpu else 'kernel'} {k.number}"
        return (f'<article class="kernel {kind}" id="{name}" data-of="{of}" tabindex="0" aria-label="{title}">'
                f"<h3>{title} {self.link(k.place)}</h3><dl>{table}</dl></article>")


def _notes(title: str, notes: Sequence[str]) -> str:
    rows = "".join(f"<li>{escape(n)}</li>" for n in notes)
    return f'<div class="notes"><h4>{title}</h4><ul>{rows}</ul></div>' if notes else ""


def _kernels(items: Sequence[Item]) -> Iterator[Kernel]:
    for item in items:
        if isinstance(item, Kernel):
            yield item
        elif isinstance(item, Flow):
            yield from _kernels(item.items)


def _moves(items: Sequence[Item]) -> int:
    return sum(isinstance(i, Move) or (_moves(i.items) if isinstance(i, Flow) else 0) for i in items)


__all__ = ["page"]
