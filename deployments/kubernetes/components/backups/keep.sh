# Gives the new backup its name and keeps the newest 14 of its kind: keep.sh NAME-OF-THE-KIND
set -eu
mv "/backup/$1.new" "/backup/$JOB_NAME.$1"
ln -sf "$JOB_NAME.$1" "/backup/newest.$1"
# A Job's name ends in the minute of its schedule, so that names sort by age.
set -- "/backup/$1-backup-"*".$1"
while [ $# -gt 14 ]; do
  rm "$1"
  shift
done
