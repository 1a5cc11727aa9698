#!/bin/bash
# Runs once, when the cluster is made: a role for the product that is no superuser, and its database.
set -euo pipefail
psql -Xq -v ON_ERROR_STOP=1 -U postgres -d postgres <<'SQL'
\set password `cat /run/secrets/database-password`
create role clawkaka login password :'password';
create database clawkaka owner clawkaka;
SQL
