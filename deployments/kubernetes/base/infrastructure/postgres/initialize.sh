# Makes the cluster at the first start: beside its place, and renamed when it is whole, so that a crash in between leaves
# nothing half made. Later starts find it and do nothing.
set -eu
data=/var/lib/postgresql/data
cluster=$data/pgdata
staged=$data/pgdata.new

[ ! -f "$cluster/PG_VERSION" ] || exit 0
rm -rf "$staged"
initdb --pgdata="$staged" --username="$POSTGRES_USER" --pwfile=/run/secrets/postgres/password \
  --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums

# No server is needed, nor a password. In template1, so that every database made later has the extension, which only a superuser may create.
run() { printf '%s\n' "$1" | postgres --single -D "$staged" -c exit_on_error=on -j template1; }
run 'CREATE EXTENSION vector;'
run 'CREATE DATABASE isa;'
mv "$staged" "$cluster"
