# Restores the newest backup into a scratch server inside this pod and reads back every row.
set -eu
newest=
for folder in /backup/postgres-backup-*; do
  [ ! -d "$folder" ] || newest=$folder
done
[ -n "$newest" ] || { echo "there is no backup to restore: run the CronJob postgres-backup first" >&2; exit 1; }

export PGHOST=127.0.0.1 PGUSER=drill
initdb --pgdata=/scratch/pgdata --username=drill --auth=trust --encoding=UTF8 --locale=C.UTF-8 > /dev/null
# Nobody else reaches it, and it does not outlive this pod.
pg_ctl --pgdata=/scratch/pgdata --wait --silent --log=/scratch/log \
  --options="-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start
trap 'pg_ctl --pgdata=/scratch/pgdata --mode=immediate --silent stop' EXIT

psql -X -q -d postgres -v ON_ERROR_STOP=1 -f "$newest/globals.sql" > /dev/null
for dump in "$newest"/*.dump; do
  pg_restore --exit-on-error --clean --if-exists --create --dbname=template1 "$dump"
done
pg_dumpall > /dev/null
[ "$(psql -X -At -d isa -c "SELECT '[3,4]'::vector <-> '[0,0]'")" = 5 ] || { echo "pgvector does not work after the restore" >&2; exit 1; }
psql -X -At -d postgres -c "SELECT 'restored ' || count(*) || ' databases, ' || pg_size_pretty(sum(pg_database_size(oid))) FROM pg_database WHERE NOT datistemplate"
echo "from $newest"
