"""The syntax tree to the typed tree (tree.py, tree_expr.py):

    checker.py                  from a file to a program or its errors
    declare.py, signatures.py, scope.py    what each module declares, and what names mean
    typeexpr.py                 types as they are written
    consts.py, config_*.py      what is known when the program is compiled: constants, configurations
    implicit.py, open_models.py    submodels that are held unseen, open configurations
    endless.py                  structs and types without end
    generic.py, infer.py, bounds.py, soft.py    type variables, unification, what a type can do, literals that have no
                                type of their own yet
    gradients.py                which derivatives do not exist
    kept.py, outline.py, same.py    modules that this process has checked before; what bodies are checked by beside
                                their own text, and whether it is what it was
    library.py                  names of the standard library that were not imported

Of one body:

    body.py, stmt.py, expr.py   the body itself, statement by statement, expression by expression
    match.py, exhaust.py, narrowing.py    patterns; do the cases cover everything? what a condition says of options
    call.py, fn.py, make.py, new.py, apply.py, builtin.py    calls, of what and with what
    access.py, place.py, ops.py, literal.py, fit.py    attributes and elements, what is assigned to, operators,
                                literals, and whether a value fits where it goes
    model.py, dims.py, export.py    models, sizes, what Python may call
    grad.py, custom.py, choice.py    derivatives, those that are given by hand, choices
    tensor.py, tensor_*.py      tensors
    format_specs.py             which format specifications there are
"""
