#!/bin/sh
# Random passwords for compose.yaml, one file each, in the folder named or beside this script. Those that exist stay.
# The folder is yours alone; the files can be read, since containers run as other users.
set -eu
folder="${1:-$(dirname "$0")/secrets}"
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

for name in postgres drift reader viewer grafana; do
  [ -s "${name}_password" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"${name}_password"
done
printf 'postgresql+psycopg://drift:%s@postgres:5432/drift' "$(cat drift_password)" >store_url
printf 'postgresql+psycopg://drift_reader:%s@postgres:5432/shop' "$(cat reader_password)" >shop_url
chmod 644 ./*_password ./*_url
