# Dumps the roles and every database, in a folder of its own that gets its name when it is whole; keeps the newest 14.
set -eu
umask 077
new=/backup/new
rm -rf "$new"
mkdir "$new"
pg_dumpall --globals-only --file="$new/globals.sql"
# Files are named by number, because a database's name may be no file's name; the dump has the name inside.
databases=$(psql -X -At -F ' ' -d postgres -c 'SELECT oid, datname FROM pg_database WHERE datallowconn AND NOT datistemplate')
printf '%s\n' "$databases" | while read -r oid name; do
  pg_dump --format=custom --file="$new/$oid.dump" --dbname="$name"
  echo "dumped database $name"
done
# Named by its time and not by its Job, which a person may have made under any name: names sort by age.
mv "$new" "/backup/postgres-backup-$(date -u +%Y%m%dT%H%M%SZ)"

set -- /backup/postgres-backup-*
while [ $# -gt 14 ]; do
  rm -rf "$1"
  shift
done
