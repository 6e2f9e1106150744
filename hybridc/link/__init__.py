"""Objects and Core to what is kept and shipped.

    surface.py                  what of a program is called from outside
    artifact.py, manifest.py, pyi.py    the `.hybx` file, what Python needs to know, and what its editors do
    c_text.py, c_types.py       the header and the library for C
    pace.py, stays.py           what a call needs: how long it may last, which arguments stay in its results
    coherent.py                 is the interface of a stranger's artifact that of its Core?
    cache.py, std_cache.py      compiled units on disk, and the checked standard library
    later.py                    code that is made when it is called
    resident.py                 the compiler that stays, and who asks it
"""
