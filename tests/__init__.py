"""Tests mirror the rooms of the package; each name is a sentence of behaviour."""

import os
import sys

# Hundreds of processes import the same modules: where Python keeps no bytecode, each would compile all of them anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
