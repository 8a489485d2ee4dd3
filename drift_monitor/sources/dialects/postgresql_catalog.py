"""The catalog of PostgreSQL: what it knows of relations, columns and types, and how we watch each type."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from drift_monitor.core.bins import Kind, ValueType
from drift_monitor.sources.dialects.base import CatalogEntry, ColumnInfo, ErrorKind
from drift_monitor.sources.dialects.elements import Relation

INTEGERS = {"int2", "int4", "int8"}
FLOATS = {"float4", "float8", "date", "interval"}  # what is compared as a float, see `number`
DECIMALS = {"numeric", "money"}
TEXTS = {"text", "varchar", "bpchar", "name", "citext", "char"}
TYPES: Mapping[str, tuple[Kind, ValueType]] = {
    **dict.fromkeys(INTEGERS, (Kind.NUMERIC, ValueType.INTEGER)),
    **dict.fromkeys(FLOATS, (Kind.NUMERIC, ValueType.FLOAT)),
    **dict.fromkeys(TEXTS, (Kind.CATEGORICAL, ValueType.TEXT)),
    **dict.fromkeys(DECIMALS, (Kind.NUMERIC, ValueType.DECIMAL)),
    "bool": (Kind.BOOLEAN, ValueType.BOOLEAN),
}
FAULTS = {
    "08": ErrorKind.UNAVAILABLE,  # connection
    "28": ErrorKind.UNAVAILABLE,  # authorization
    "3D": ErrorKind.UNAVAILABLE,  # no such database
    "53": ErrorKind.UNAVAILABLE,  # out of memory, disk, connections
    "57P": ErrorKind.UNAVAILABLE,  # shutting down, starting up
    "57014": ErrorKind.TIMEOUT,
    "55P03": ErrorKind.LOCKED,
    "40001": ErrorKind.CONFLICT,
    "40P01": ErrorKind.CONFLICT,
    "42P01": ErrorKind.TABLE_MISSING,
    "3F000": ErrorKind.TABLE_MISSING,
    "42703": ErrorKind.COLUMN_MISSING,
    "42501": ErrorKind.PERMISSION,
}

# Error classes whose messages hold names and syntax, but no values of rows.
SPEAKING_CLASSES = ("42", "3F", "3D", "28", "08", "53", "57")

ENUM = "e"  # the category of enumerated types, whose names are the user's
ZONED = "timestamptz"
EPOCHS = {"int4": sa.BigInteger, "int8": sa.BigInteger, "numeric": sa.Numeric, "float8": sa.Double}  # times as numbers
NAIVE_TIMES = {"timestamp", "date"}

CATALOG = """
SELECT n.nspname AS schema, c.relname AS relation, c.reltuples::float8 AS estimate,
       c.relkind IN ('r', 'p', 'm') AND has_table_privilege(c.oid, 'SELECT') AS places_rows,
       row_security_active(c.oid) AND NOT EXISTS (
         SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('r', '*')
           AND EXISTS (SELECT FROM unnest(p.polroles) AS of(role) WHERE of.role = 0 OR pg_has_role(of.role, 'MEMBER'))
       ) AS hides_rows,
       a.attname AS name, has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable,
       format_type(a.atttypid, a.atttypmod) AS sql_type,
       t.typname AS native, t.typtype::text AS category, t.modifier,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid) AS indexed
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN LATERAL (
  WITH RECURSIVE base(type, modifier) AS (
    SELECT a.atttypid, a.atttypmod
    UNION ALL
    SELECT d.typbasetype, CASE WHEN d.typtypmod = -1 THEN base.modifier ELSE d.typtypmod END
    FROM base JOIN pg_type d ON d.oid = base.type WHERE d.typtype = 'd'
  )
  SELECT p.typname, p.typtype, base.modifier FROM base JOIN pg_type p ON p.oid = base.type WHERE p.typtype <> 'd'
) t ON true
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f')
  AND ((c.relname = :name AND pg_table_is_visible(c.oid))
       OR EXISTS (SELECT FROM unnest(CAST(:schemas AS text[]), CAST(:names AS text[])) AS wanted(schema, name)
                  WHERE n.nspname = wanted.schema AND c.relname = wanted.name))
ORDER BY pg_table_is_visible(c.oid) DESC, n.nspname, c.relname, a.attnum
"""

NAMES = """
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN NULL ELSE n.nspname END, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
  AND NOT c.relispartition
ORDER BY 1 NULLS FIRST, 2
"""

# Functions that write although the transaction is read-only: large objects (before version 16), other servers, files,
# other sessions, the write-ahead log.
RISKS = r"""
SELECT 'our role is a superuser, whom nothing holds back; give the source a role that may only read'
FROM pg_roles WHERE rolname = current_user AND rolsuper
UNION ALL
SELECT 'our role may call functions that write even in a read-only transaction: '
       || string_agg(DISTINCT p.proname, ', ') || '; REVOKE EXECUTE ON them FROM PUBLIC and this role'
FROM pg_proc p
WHERE p.proname ~ '^(lo_(creat|create|from_bytea|import|export|put|truncate|truncate64|unlink)|lowrite'
                  '|dblink(_exec|_connect|_connect_u|_send_query)?|pg_file_.*|pg_logical_emit_message|pg_reload_conf'
                  '|pg_rotate_logfile|pg_switch_wal|pg_promote)$'
  AND (p.proname !~ '^lo' OR current_setting('server_version_num')::int < 160000)
  AND has_function_privilege(p.oid, 'EXECUTE')
  AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper)
HAVING count(*) > 0
"""

RESULT_TYPES = """
SELECT wanted.position, format_type(wanted.type, wanted.modifier), t.typname, t.typtype::text, wanted.modifier
FROM unnest(CAST(:types AS bigint[])::oid[], CAST(:modifiers AS int[])) WITH ORDINALITY
     AS wanted(type, modifier, position)
JOIN pg_type t ON t.oid = wanted.type
ORDER BY 1
"""


def entry_of(relation: Relation, rows: Sequence[Any]) -> CatalogEntry:
    columns = [row for row in rows if row.name is not None]  # a table may have none
    estimate = rows[0].estimate
    return CatalogEntry(
        relation=relation,
        columns={
            row.name: column_of(row.name, row.sql_type, row.native, row.category, row.modifier)
            for row in columns
            if row.readable
        },
        forbidden=tuple(row.name for row in columns if not row.readable),
        estimated_rows=int(estimate) if estimate >= 0 else None,
        places_rows=rows[0].places_rows,
        hides_rows=rows[0].hides_rows,
        indexed=frozenset(row.name for row in columns if row.indexed),
    )


def column_of(name: str, sql_type: str, native: str, category: str, modifier: int) -> ColumnInfo:
    as_text = (Kind.CATEGORICAL, ValueType.TEXT) if category == ENUM else (None, None)
    kind, value_type = TYPES.get(native, as_text)
    scale = None
    if value_type is ValueType.DECIMAL and modifier >= 4:
        # Decimal places are in the type modifier of a numeric, as an eleven-bit signed number.
        scale = (((modifier - 4) & 0x7FF) ^ 1024) - 1024
    return ColumnInfo(
        name=name,
        sql_type=sql_type,
        native=native,
        kind=kind,
        value_type=value_type,
        scale=scale,
        is_time=native == ZONED or native in NAIVE_TIMES,
    )


def modifier_of(column: Any) -> int:
    """The type modifier of a numeric in a result, as the catalog would write it."""
    if not column.precision:
        return -1
    return ((int(column.precision) << 16) | (int(column.scale or 0) & 0x7FF)) + 4
