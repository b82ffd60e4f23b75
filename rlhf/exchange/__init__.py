"""Votes from other tools into the store, and out of it as a data set.

A format is one file here and one line in `formats.py`.
"""
