"""Kernels to Triton's source, and ahead of time to machine code for GPUs.

    source.py                   the module of a program, with what its launcher has to know
    rows.py, reductions.py, scalars.py    a kernel graph: blocks of rows; reductions and products; scalar operators
    attention.py, windows.py    attention, convolutions and pools
    single.py                   operators that are kernels of their own
    schedules.py, blocks.py     how a kernel is cut up
    text.py                     source as text
    binaries.py, aot.py         machine code, compiled in processes of its own
"""
