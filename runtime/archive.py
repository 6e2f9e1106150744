"""Machine code of one program as one file: an `ar` archive of ELF objects, which the system's tools read as well."""

from __future__ import annotations

from collections.abc import Sequence

MAGIC = b"!<arch>\n"
HEAD = 60
"""Bytes before each member: name 16, date 12, owner 6, group 6, mode 8, size 10, and two that end it."""
END = b"`\n"


def archive(objects: Sequence[bytes]) -> bytes:
    """The bytes of the file; the same for the same objects."""
    parts = [MAGIC]
    for i, data in enumerate(objects):
        name = f"{i}.o/"
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'644':<8}{len(data):<10}".encode() + END
        parts += [head, data, b"\n" * (len(data) % 2)]
    return b"".join(parts)


def objects(data: bytes) -> list[bytes]:
    """What `archive` was given; ValueError for what is no archive."""
    found = []
    at = len(MAGIC)
    if data[:at] != MAGIC:
        raise ValueError("machine code that is no archive of objects")
    while at < len(data):
        head = data[at:at + HEAD]
        size = head[48:58].decode("ascii", "replace").strip()
        if len(head) < HEAD or head[58:] != END or not size.isdecimal():
            raise ValueError("machine code that is no archive of objects")
        at += HEAD
        found.append(data[at:at + int(size)])
        at += int(size) + int(size) % 2
    return found
