"""Stores on disks that fill up, beside writers that are killed, and in files that are something else."""
