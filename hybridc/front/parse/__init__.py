"""Text to the syntax tree (syntax.py, syntax_expr.py):

    modules.py                  files, and what they import
    lexer.py, literals.py       tokens and layout, what a literal says
    tables.py, parser.py        the parser of grammar/hyb.lark, and what it makes of a text
    build_*.py, operators.py    nodes, rule by rule
    as_type.py                  an expression that is a type
    explain_syntax.py, habits.py    what is said of text that is none
    torch_names.py              how functions of torch's that are none here are written
    dump.py                     tokens and trees as text
"""
