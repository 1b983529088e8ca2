#!/usr/bin/env bash
# Runs a command with a PostgreSQL server of its own, whose URL is in SCOPEGATE_TEST_POSTGRES. The server lives in a temporary
# directory, listens on a Unix socket there, and ends with the command.
set -euo pipefail

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
[ -x "$bin/postgres" ] || { echo "PostgreSQL is missing: apt-get install postgresql" >&2; exit 1; }

directory=$(mktemp -d)
# PostgreSQL refuses to run as root.
as_owner() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown postgres: "$directory"
stop() { as_owner "$bin/pg_ctl" stop --silent --mode=immediate -D "$directory/data" || true; rm -rf "$directory"; }
trap stop EXIT

cd "$directory"
as_owner "$bin/initdb" -D data -U scopegate --auth=trust --no-sync >/dev/null
as_owner "$bin/pg_ctl" start --silent --wait -D data -l server.log \
    -o "-k '$directory' -h '' -c fsync=off -c max_connections=400" || { cat server.log >&2; exit 1; }
cd - >/dev/null

SCOPEGATE_TEST_POSTGRES="postgres://scopegate@$(printf %s "$directory" | sed 's|/|%2F|g')/postgres" "$@"
