"""Whether a process can live long with compiled code: memory, faults, threads, forks, interrupts, many modules.

    python -m tests.longlife WHAT      the long form of one of the tests here, or of all; its line for docs/testing.md
"""
