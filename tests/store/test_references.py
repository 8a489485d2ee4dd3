"""References and bin specs are frozen under the hash of their content."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from drift_monitor.core.bins import BinSpec, BooleanBins, CategoricalBins, NumericBins, ValueType
from drift_monitor.core.schedule import Span
from drift_monitor.store import references
from drift_monitor.store.connection import Store, Transaction
from drift_monitor.store.references import StoredReference
from drift_monitor.store.schema import reference
from tests.store.making import AGES, COUNTRIES, HOUR, add_monitor, hour

FIRST = StoredReference(
    segment="",
    monitor="loans",
    feature="age",
    definition="d1",
    kind="FixedRange",
    spec=AGES,
    counts=(0, 10, 2**53 + 1, 0, 0, 0),
    built_at=hour(0),
    span=Span(hour(-240), hour(-24)),
)
SLIDING = StoredReference(
    segment="",
    monitor="loans",
    feature="country",
    definition="d2",
    kind="Trailing",
    spec=COUNTRIES,
    counts=None,
    built_at=hour(0),
)


def save(store: Store, *frozen: StoredReference) -> tuple[str, ...]:
    def work(connection: Transaction) -> tuple[str, ...]:
        add_monitor(connection)
        return references.save(connection, frozen)

    return store.transact(work)


def current(store: Store) -> dict[str, StoredReference]:
    with store.read() as connection:
        return references.current(connection, "loans")


def test_a_reference_comes_back_as_it_was_frozen(store: Store) -> None:
    save(store, FIRST, SLIDING)
    assert current(store) == {"age": FIRST, "country": SLIDING}


def test_the_reference_built_last_is_the_current_one(store: Store) -> None:
    rebuilt = replace(FIRST, counts=(1, 1, 1, 1, 1, 1), built_at=hour(1))
    save(store, FIRST)
    save(store, rebuilt)
    assert current(store) == {"age": rebuilt}


def test_freezing_the_same_content_again_adds_no_row_and_makes_it_current(store: Store) -> None:
    other = replace(FIRST, counts=(1, 1, 1, 1, 1, 1), built_at=hour(1))
    again = replace(FIRST, built_at=hour(2))
    assert save(store, FIRST) == save(store, again)
    save(store, other, again)
    assert current(store) == {"age": again}
    with store.read() as connection:
        assert len(connection.execute(reference.select()).all()) == 2


def test_when_it_was_built_is_no_part_of_the_content() -> None:
    assert replace(FIRST, built_at=FIRST.built_at + HOUR).id == FIRST.id
    assert replace(FIRST, counts=None).id != FIRST.id
    assert replace(FIRST, monitor="cards").id != FIRST.id


labels = st.lists(st.text(), unique=True, max_size=6).map(tuple)
floats = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=6, unique=True)
decimals = st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3), min_size=2, max_size=6, unique=True)
specs = st.one_of(
    st.just(BooleanBins()),
    labels.map(lambda texts: CategoricalBins(texts[: len(texts) // 2], texts[len(texts) // 2 :])),
    floats.map(lambda edges: NumericBins(tuple(sorted(set(edges) | {0.5, 1.5})), ValueType.FLOAT)),
    decimals.map(lambda edges: NumericBins(tuple(sorted({Decimal(edge) for edge in edges})), ValueType.DECIMAL)),
)


def test_any_spec_comes_back_exactly_with_labels_no_database_would_take_as_text(store: Store) -> None:
    @given(specs)
    def check(spec: BinSpec) -> None:
        store.transact(lambda connection: references.save_specs(connection, [spec]))
        with store.read() as connection:
            assert references.specs(connection, [spec.id, "unknown"]) == {spec.id: spec}

    check()


def test_labels_with_nul_and_lone_surrogates_come_back_exactly(store: Store) -> None:
    spec = CategoricalBins(("a\x00b", "\udc80", "naïve"), ("\x00",))
    store.transact(lambda connection: references.save_specs(connection, [spec]))
    with store.read() as connection:
        assert references.specs(connection, [spec.id]) == {spec.id: spec}
