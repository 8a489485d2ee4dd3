"""Ids in tables are as short as tells them apart, and their beginnings are understood."""

import pytest

from drift_monitor.cli.tables import completed, shortened
from drift_monitor.errors import InputError

ONE, TWO, THREE = "aaaaaaaa-1111", "aaaaaaaa-2222", "bbbbbbbb-1111"


def test_ids_are_cut_to_eight_characters_where_that_tells_them_apart() -> None:
    assert shortened([ONE, THREE]) == {ONE: "aaaaaaaa", THREE: "bbbbbbbb"}


def test_ids_that_begin_alike_stay_long_enough_to_be_told_apart() -> None:
    assert shortened([ONE, TWO, THREE]) == {ONE: "aaaaaaaa-1", TWO: "aaaaaaaa-2", THREE: "bbbbbbbb-1"}


def test_ids_of_which_one_begins_with_the_other_are_whole() -> None:
    assert shortened(["12345678", "123456789"]) == {"12345678": "12345678", "123456789": "123456789"}
    assert shortened([]) == {}


def test_the_beginning_of_an_id_is_enough() -> None:
    assert completed("b", [ONE, THREE]) == THREE
    assert completed(ONE, [ONE, f"{ONE}-longer"]) == ONE


def test_nothing_is_meant_by_what_no_id_begins_with() -> None:
    assert completed("c", [ONE]) is None
    assert completed("", [ONE]) is None


def test_a_beginning_of_several_is_refused_with_all_of_them() -> None:
    with pytest.raises(InputError, match=f"{ONE}, {TWO}"):
        completed("aaaa", [THREE, TWO, ONE])
