# Makes the cluster at the first start: beside its place, and renamed when it is whole, so that a crash in between leaves
# nothing half made. Later starts find it and do nothing.
set -eu
data=/var/lib/postgresql/data
cluster=$data/pgdata
staged=$data/pgdata.new
password=/run/secrets/postgres/password

[ ! -f "$cluster/PG_VERSION" ] || exit 0
rm -rf "$staged"
initdb --pgdata="$staged" --username="$PGUSER" --pwfile="$password" \
  --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums

# A server that nobody but this script reaches. `postgres --single` would do without one, but what it makes has the OIDs of
# built-in objects, and pg_dump leaves those out: a restored database would lack the extension.
pg_ctl --pgdata="$staged" --silent --wait --options="-c listen_addresses= -c unix_socket_directories=/tmp" start
read -r PGPASSWORD < "$password" || [ -n "$PGPASSWORD" ]
export PGPASSWORD PGHOST=/tmp
# In template1, so that every database made later has the extension, which only a superuser may create.
psql -X -q -v ON_ERROR_STOP=1 -d template1 -c 'CREATE EXTENSION vector' -c 'CREATE DATABASE isa'
pg_ctl --pgdata="$staged" --silent --wait --mode=fast stop
mv "$staged" "$cluster"
