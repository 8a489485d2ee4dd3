#!/bin/bash
# Run once by the image of PostgreSQL: a role and a database for the store, a role that reads the shop, one that looks at
# the results, and the shop itself.
set -euo pipefail
secrets="${SECRETS:-/run/secrets}"
shop="${SHOP:-/shop/shop.sql}"

psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres \
  --set=drift="$(cat "$secrets/drift_password")" \
  --set=reader="$(cat "$secrets/reader_password")" \
  --set=viewer="$(cat "$secrets/viewer_password")" <<'SQL'
CREATE ROLE drift LOGIN PASSWORD :'drift';
CREATE ROLE drift_reader LOGIN PASSWORD :'reader' CONNECTION LIMIT 4;
ALTER ROLE drift_reader SET default_transaction_read_only = on;
CREATE ROLE drift_viewer LOGIN PASSWORD :'viewer';
CREATE DATABASE drift OWNER drift;
CREATE DATABASE shop;
SQL
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=shop --file="$shop"
