#!/bin/sh
# Create the secrets of compose.yaml: 32 random bytes in a file each. Files that exist are kept.
# Only you can enter their folder. The files themselves are readable, since the user of each
# container is another one, and Docker gives them to a container as they are.
set -eu
umask 077
folder=${SWEEPER_SECRETS:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"  # also one that was there before
for name in postgres_password sweeper_password mlflow_password bucket_key ray_token grafana_password; do
  [ -e "$folder/$name" ] && continue
  od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n' > "$folder/.$name"
  chmod 444 "$folder/.$name"
  mv "$folder/.$name" "$folder/$name"
done
