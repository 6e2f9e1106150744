"""What every stage uses and none owns.

    source.py, diagnostic.py, codes.py    where text stands; errors as data, and every code of one
    types.py, dims.py           types and dimensions of the language, as the checker sees them
    targets.py, knobs.py        targets by name; every HYB_* variable
    immutable.py                records that never change
    suggest.py                  what may have been meant by a name
    made.py, names.py           files made from the package's own sources; names that no other has
    recursion.py, garbage.py    Python's limits while a program is compiled
"""
