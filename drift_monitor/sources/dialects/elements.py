"""SQL elements which SQLAlchemy lacks: the user's own SQL, verbatim; a dataset under one name; its columns.

User SQL stands on its own lines in parentheses, so that a trailing comment ends where it should; `%` and `:x` in it
mean nothing to us. Identifiers are always quoted, and only ones that were seen to exist get here.
"""

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement, FromClause

ALIAS = "dataset"

ResultRows: TypeAlias = "sa.CursorResult[*tuple[Any, ...]]"
"""A result of rows about whose types nothing is known before."""


@dataclass(frozen=True)
class Relation:
    """A table or view that exists, as its catalog spells it."""

    name: str
    schema: str | None = None


class UserSql(ColumnElement[Any]):
    """An expression or a condition in the user's words."""

    inherit_cache = False

    def __init__(self, text: str) -> None:
        self.text = text


class DatasetColumn(ColumnElement[Any]):
    """A column of the dataset, qualified: an unknown name is an error, never a string."""

    inherit_cache = False

    def __init__(self, name: str) -> None:
        self.name = name


class DatasetRows(FromClause):
    """The rows of a table, view or query under the name `dataset`."""

    inherit_cache = False
    named_with_column = False

    def __init__(self, origin: Relation | str) -> None:
        self.origin = origin


@compiles(UserSql)
def _compile_user_sql(element: UserSql, compiler: SQLCompiler, **_: Any) -> str:
    return _verbatim(compiler, element.text)


@compiles(DatasetColumn)
def _compile_column(element: DatasetColumn, compiler: SQLCompiler, **_: Any) -> str:
    return f"{ALIAS}.{compiler.preparer.quote_identifier(element.name)}"


@compiles(DatasetRows)
def _compile_rows(element: DatasetRows, compiler: SQLCompiler, **_: Any) -> str:
    if isinstance(element.origin, str):
        return f"{_verbatim(compiler, element.origin)} AS {ALIAS}"
    quote = compiler.preparer.quote_identifier
    schema = f"{quote(element.origin.schema)}." if element.origin.schema else ""
    return f"{schema}{quote(element.origin.name)} AS {ALIAS}"


def _verbatim(compiler: SQLCompiler, text: str) -> str:
    """User SQL without the semicolon that ends it in a terminal; nothing in it is a parameter of the driver's."""
    tidy = re.sub(r"[\s;]+\Z", "", text)
    return f"(\n{compiler.post_process_text(tidy)}\n)"  # type: ignore[no-untyped-call]
