# Gives the new backup its name and keeps the newest 14 of its kind: keep.sh NAME-OF-THE-KIND
set -eu
# By its time and not by its Job, which a person may have made under any name: names sort by age.
name=$1-backup-$(date -u +%Y%m%dT%H%M%SZ).$1
mv "/backup/$1.new" "/backup/$name"
ln -sf "$name" "/backup/newest.$1"
set -- "/backup/$1-backup-"*".$1"
while [ $# -gt 14 ]; do
  rm "$1"
  shift
done
