#!/bin/sh
# Create the databases of the ledger and of MLflow, each with an owner that can use no other. Runs once, when the
# volume is empty.
set -eu
for name in sweeper mlflow; do
  NAME=$name psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 <<'SQL'
\set name `echo "$NAME"`
\set password `cat "/run/secrets/${NAME}_password"`
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
