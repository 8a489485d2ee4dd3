"""Tests mirror the rooms of the package; each name is a sentence of behaviour."""
