"""Tests of the sources room: real tables in both databases, against an oracle that shares no code with them."""
