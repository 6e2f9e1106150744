"""Core, the one language that all passes read and write.

    ir.py                       what it is, on one page
    ops.py, tensor_ops.py       its operators; optable.py: what each of them declares
    interp.py, interp_*.py, tensor_interp.py    what it means: the reference interpreter
    values.py, rounding.py, tensor_arrays.py    the values that this has
    builder.py, tensor_build.py    making it
    walk.py, types.py           going through it and making it anew; questions about its types
    tensor_faults.py            which tensor operators may stop a program
    verify.py                   is it well formed?
    printer.py, tokens.py, reader.py    as text, and back
    interface.py                what a program in Core offers to its callers
"""
