"""`hybridc train`: calls a training function again and again, and keeps where it is.

    arguments.py    what the function is called with
    checkpoint.py   everything that goes on from call to call, as one file
    curve.py        the losses as SVG
    run.py          the loop
"""
