"""The typed tree to Core: functions made concrete, with all that they call.

    program.py                  the worklist of instances
    context.py, core.py, values.py    the program, the function and its values in the making
    interface.py, types.py, layout.py    what Python sees, types of Core, how values lie
    instance.py, static.py, evaluate.py, dims.py    what an instance is known by: types, constants, sizes
    kept.py, notes.py           functions that this process has lowered before
    scan.py, inside.py          looking through trees and types
    stmt.py, expr.py, match.py, place.py    statements, expressions, patterns, places
    put_back.py                 elements that are read, changed and written back by hand
    call.py, apply.py, builtin.py, closure.py, fits.py    calls, function values, values that fit elsewhere
    comp.py, cursor.py, folds.py    comprehensions, what goes through a container, and what is made without a list
    model.py, submodel.py, mixed.py    models, submodels, lists of several configurations
    gradient.py, pullback.py, choice.py    derivatives, those that are given by hand, choices
    derive.py, derive_deep.py, ranks.py    equality, hash, order and text of every type
    keys.py                     keys as maps keep them
    tensor.py, tensor_*.py      tensors
"""
