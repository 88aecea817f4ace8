#!/usr/bin/env bash
# The audit log on a real PostgreSQL from the distribution's packages: a throw-away cluster in a temporary folder, on
# 127.0.0.1 and a socket of its own, with TLS under a certificate authority of this test. Creating, opening and
# verifying, tampering, two writers, lost connections, kill -9 of the server under load, a role that may only read
# and add, the rate of a check and that of writing. Exit status 0 only if all of it held. Without apt-get and
# PostgreSQL it says what it skipped; with CI=true that is a failure.
#
# `postgres.sh COMMAND …` runs that command beside this PostgreSQL instead, with AGENTKEYS_POSTGRES in its
# environment: the folder of the cluster. POSTGRES_ROWS is how many rows are checked, 50,000 if it is not set.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=

cleanup() {
    status=$?
    if [ -n "$work" ]; then
        [ ! -e "$work/stop" ] || "$work/stop" >/dev/null 2>&1 || true
        [ "$status" = 0 ] || tail -n 20 "$work/server.log" >&2 || true
        rm -rf "$work"
    fi
}
trap cleanup EXIT

programs() {
    local found
    found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    [ -x "${found:-/}/initdb" ] && echo "$found"
}

if ! bin=$(programs); then
    if ! command -v apt-get >/dev/null; then
        echo "skipped: the audit log on a real PostgreSQL (there is no apt-get to install it with)"
        [ "${CI:-}" != true ] || exit 1
        exit 0
    fi
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -q >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        postgresql openssl >/dev/null
    bin=$(programs)
fi

# not below TMPDIR: a socket's path is at most 107 bytes, and another user must come to it
work=$(mktemp -d /tmp/agentkeys-postgres.XXXXXX)
chmod 755 "$work"
# PostgreSQL does not run as root
as_owner=()
if [ "$(id -u)" = 0 ]; then
    chown postgres "$work"
    as_owner=(setpriv --reuid postgres --regid postgres --clear-groups)
fi
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=agentkeys test authority" -days 1 \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=another authority" -days 1 \
    -keyout "$work/other.key" -out "$work/other.pem" 2>/dev/null
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
    -keyout "$work/tls.key" -out "$work/tls.csr" 2>/dev/null
openssl x509 -req -in "$work/tls.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 1 \
    -extfile <(printf 'subjectAltName=DNS:localhost') -out "$work/tls.pem" 2>/dev/null
[ "$(id -u)" != 0 ] || chown postgres "$work/tls.key"

cd "$work"
"${as_owner[@]}" "$bin/initdb" --pgdata "$work/data" --username postgres --auth trust --encoding UTF8 --locale C >/dev/null
cat >>"$work/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$work'
ssl = on
ssl_cert_file = '$work/tls.pem'
ssl_key_file = '$work/tls.key'
# what a server may be set to, and a session of ours must not be
synchronous_commit = off
CONF
cat >"$work/data/pg_hba.conf" <<'CONF'
local   all all trust
host    all all 127.0.0.1/32 scram-sha-256
CONF
cat >"$work/start" <<CONF
#!/bin/sh
cd "$work" && exec ${as_owner[*]} "$bin/pg_ctl" --pgdata "$work/data" --log "$work/server.log" --wait start
CONF
cat >"$work/stop" <<CONF
#!/bin/sh
cd "$work" && exec ${as_owner[*]} "$bin/pg_ctl" --pgdata "$work/data" --mode immediate --wait stop
CONF
chmod 755 "$work/start" "$work/stop"
echo "$port" >"$work/port"
"$work/start" >/dev/null
cd "$OLDPWD"

# what a replica may do is what the page says
python3 - docs/operate.md "$work/grants.sql" <<'PY'
import re, sys
page, grants = sys.argv[1:]
block = re.search(r"^```sh e2e=postgres.sh\npsql <<'SQL'\n(.*?)^SQL\n```$", open(page).read(), re.M | re.S)
open(grants, "w").write(block[1])
PY
"$bin/psql" -qX -h "$work" -p "$port" -U postgres -v ON_ERROR_STOP=1 <<'SQL'
CREATE ROLE owner LOGIN CREATEDB PASSWORD 'owner-MARKED-password';
CREATE ROLE replica LOGIN PASSWORD 'replica-MARKED-password';
SQL
echo "$("$bin/postgres" --version) on 127.0.0.1:$port, $(stat -f -c %T "$work")"
export AGENTKEYS_POSTGRES="$work"
if [ "$#" -gt 0 ]; then
    "$@"
    exit
fi
suite=(cargo test -q -p agentkeys-federation --features postgres --test postgres --)
"${suite[@]}" chains:: tampering::
# these change, kill or measure the server
"${suite[@]}" --test-threads=1 --nocapture crash:: logins:: rate::
echo "the audit log on a real PostgreSQL: all of it held"
