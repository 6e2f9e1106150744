"""From a file's text to Core, in three steps with a tree between each two.

Text to the syntax tree (syntax.py, syntax_expr.py):

    modules.py, kept.py         files, what they import, and modules that this process has checked before
    lexer.py, literals.py       tokens and layout, what a literal says
    tables.py, parse.py         the parser of grammar/hyb.lark, and what it makes of a text
    build_*.py, operators.py    nodes, rule by rule
    explain_syntax.py, habits.py    what is said of text that is none
    dump.py                     tokens and trees as text

The syntax tree to the typed tree (tree.py, tree_expr.py):

    check.py                    the checker, from a file to a program or its errors
    declare.py, signatures.py, scope.py    what each module declares, and what names mean
    typeexpr.py, as_type.py     types as they are written
    consts.py, config_*.py      what is known when the program is compiled: constants, configurations
    implicit.py, open_models.py    submodels that are held unseen, open configurations
    endless.py                  structs and types without end
    check_body.py               of one body; check_*.py: what stands in it, construct by construct
    infer.py, bounds.py, soft.py    unification, what a type can do, literals that have no type of their own yet
    narrowing.py, exhaust.py    what a condition says of options; do the cases of a `match` cover everything?
    tensor_check.py             tensors; tensor_*rules.py, tensor_args.py, tensor_index.py and tensor_types.py with it
    gradients.py                which derivatives do not exist
    format_specs.py             which format specifications there are
    outline.py, same.py         what bodies are checked by beside their own text, and whether it is what it was

The typed tree to Core:

    lower.py                    functions made concrete, with all that they call
    lower_context.py, lower_core.py, lower_values.py    the program, the function and its values in the making
    lower_*.py                  construct by construct
    lower_kept.py, lower_notes.py    functions that this process has lowered before
    tensor_lower*.py            tensors
    derive.py, derive_deep.py   equality, hash, order and text of every type
"""
