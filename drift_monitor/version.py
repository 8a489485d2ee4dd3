"""The version of this program, for whoever can not import the whole package to learn it."""

__version__ = "0.1.0"
