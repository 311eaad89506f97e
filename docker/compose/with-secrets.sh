#!/bin/sh
# Run a command whose secrets are variables, each read from the file that NAME_FILE names.
set -eu
for name in PGPASSWORD AWS_SECRET_ACCESS_KEY; do
  eval "file=\${${name}_FILE:-}"
  if [ -n "$file" ]; then
    value=$(cat "$file")
    export "$name=$value"
  fi
done
exec "$@"
