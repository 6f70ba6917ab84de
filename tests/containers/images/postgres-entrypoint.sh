#!/bin/sh
# Like the official image at its start, this makes the database in an empty volume, runs the scripts, and gives up root.
set -eu
data=${PGDATA:-/var/lib/postgresql/data}
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups -- "$@"; }
chown postgres:postgres "$data" /run/postgresql
if [ ! -s "$data/PG_VERSION" ]; then
    password=$(mktemp)
    cat "$POSTGRES_PASSWORD_FILE" > "$password"
    chown postgres "$password"
    as_postgres initdb -D "$data" -U "$POSTGRES_USER" --pwfile="$password" -A scram-sha-256 --auth-local=trust >/dev/null
    rm -f "$password"
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    # The server listens on no TCP port, so that no client can connect while the databases are being made.
    as_postgres pg_ctl -D "$data" -w -o "-c listen_addresses=''" start >/dev/null
    as_postgres psql -Xq -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
    for script in /docker-entrypoint-initdb.d/*.sql; do
        as_postgres psql -Xq -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f "$script"
    done
    as_postgres pg_ctl -D "$data" -m fast -w stop >/dev/null
fi
exec setpriv --reuid postgres --regid postgres --clear-groups -- "$@" -D "$data" -c listen_addresses='*'
