"""One module for each command of the command line, imported when that command runs; common.py: what they share."""
