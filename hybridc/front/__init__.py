"""From a file's text to Core, in three steps, each a folder:

    parse/     text to the syntax tree (parse/syntax.py)
    check/     the syntax tree to the typed tree (check/tree.py), or to errors
    lower/     the typed tree to Core

A folder imports only from those above it in this list.
"""
