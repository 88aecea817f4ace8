#!/usr/bin/env bash
# Three replicas of the example broker behind HAProxy, on one Redis and one PostgreSQL, all from the distribution's
# packages. Redis is in a network namespace of its own and speaks TLS under a certificate authority of this
# test. Shown: the guard on a real Redis and how fast it is; evidence that is presented to all replicas at the same
# time is taken once; a rotation of keys under load loses no verification; kill -9 of a replica, of Redis and of
# PostgreSQL, and a cut of the network, each under load: what fails, what recovers, and that nothing is let go
# without its row; how much three replicas lose because they share. Exit status 0 only if all of it held. It
# needs root, or sudo. Without apt-get it says what it skipped; with CI=true that is a failure.
#
# REPLICAS_REPLAYS is how often evidence is presented, 2,000 if it is not set; REPLICAS_ROUNDS how many rounds are
# compared, 5; REPLICAS_PROFILE is the profile, dev.
set -euo pipefail
cd "$(dirname "$0")/../.."
# PostgreSQL is started by the script that proves the audit log on it
[ -n "${AGENTKEYS_POSTGRES:-}" ] || exec examples/e2e/postgres.sh examples/e2e/replicas.sh "$@"
work= space= link=
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

cleanup() {
    status=$?
    for name in redis haproxy; do
        if [ -n "$work" ] && [ -s "$work/$name.pid" ]; then
            pid=$(cat "$work/$name.pid")
            "${as_root[@]}" kill "$pid" 2>/dev/null || true
            while "${as_root[@]}" kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
        fi
    done
    if [ "$status" != 0 ] && [ -n "$work" ]; then
        tail -n 20 "$work"/*.log >&2 || true
    fi
    [ -z "$link" ] || "${as_root[@]}" ip link delete "$link" 2>/dev/null || true
    [ -z "$space" ] || "${as_root[@]}" ip netns delete "$space" 2>/dev/null || true
    [ -z "$work" ] || "${as_root[@]}" rm -rf "$work"
}
trap cleanup EXIT

for program in redis-server haproxy ip psql openssl; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null && continue
    if ! command -v apt-get >/dev/null; then
        echo "skipped: replicas on Redis and PostgreSQL (there is no apt-get to install them with)"
        [ "${CI:-}" != true ] || exit 1
        exit 0
    fi
    "${as_root[@]}" apt-get update -q >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        redis-server haproxy iproute2 postgresql-client openssl >/dev/null
    break
done
export PATH="$PATH:/usr/sbin:/sbin"
profile="${REPLICAS_PROFILE:-dev}"
cargo build -q --profile "$profile" -p agentkeys-examples --example replicas --example broker
built="${CARGO_TARGET_DIR:-target}/${profile/#dev/debug}/examples"

work=$(mktemp -d /tmp/agentkeys-replicas.XXXXXX)
chmod 700 "$work"
ports=$(python3 -c '
import socket
all = [socket.socket() for _ in range(9)]
for one in all:
    one.bind(("127.0.0.1", 0))
print(*[one.getsockname()[1] for one in all])')
read -r balancer one two three apart apart_one apart_two apart_three plain <<<"$ports"
echo "$balancer $one $two $three" >"$work/ports"
echo "$apart $apart_one $apart_two $apart_three" >"$work/apart-ports"

# the network that is cut: Redis alone at the other end
space="agentkeys-$$" link="agk$$"
"${as_root[@]}" ip netns add "$space"
"${as_root[@]}" ip link add "$link" type veth peer name eth0 netns "$space"
"${as_root[@]}" ip address add 198.18.77.1/30 dev "$link"
"${as_root[@]}" ip link set "$link" up
"${as_root[@]}" ip -n "$space" address add 198.18.77.2/30 dev eth0
"${as_root[@]}" ip -n "$space" link set eth0 up
"${as_root[@]}" ip -n "$space" link set lo up

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=agentkeys test authority" -days 1 \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=redis \
    -keyout "$work/redis.key" -out "$work/redis.csr" 2>/dev/null
openssl x509 -req -in "$work/redis.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 1 \
    -extfile <(printf 'subjectAltName=IP:198.18.77.2,IP:127.0.0.1') -out "$work/redis.pem" 2>/dev/null
password=$(openssl rand -hex 16)
cat >"$work/redis.conf" <<CONF
bind 198.18.77.2 127.0.0.1
port 0
tls-port 6379
tls-cert-file $work/redis.pem
tls-key-file $work/redis.key
tls-ca-cert-file $work/ca.pem
tls-auth-clients no
daemonize yes
pidfile $work/redis.pid
logfile $work/redis.log
dir $work
maxmemory 256mb
maxmemory-policy noeviction
appendonly yes
appendfsync everysec
save ""
# nobody without a password comes in, on any address
protected-mode no
user default off
user broker on >$password +set +info +select ~agentkeys:use:*
CONF
command_file() {
    printf '#!/usr/bin/env bash\nset -euo pipefail\n%s\n' "$2" >"$work/$1"
    chmod 700 "$work/$1"
}
root="${as_root[*]}"
command_file redis-start "$root ip netns exec $space redis-server $work/redis.conf >/dev/null"
command_file redis-kill "$root kill -9 \$(cat $work/redis.pid)"
command_file cut "$root ip link set $link down"
command_file mend "$root ip link set $link up"
database_port=$(cat "$AGENTKEYS_POSTGRES/port")
command_file postgres-kill "$root kill -9 \$(head -n 1 $AGENTKEYS_POSTGRES/data/postmaster.pid)"
command_file postgres-start "$AGENTKEYS_POSTGRES/start >/dev/null"
sql() { psql -qAtX -h "$AGENTKEYS_POSTGRES" -p "$database_port" -U "$1" -d "$2" -v ON_ERROR_STOP=1 -c "$3"; }
# what was let go has an intent and an outcome without a refusal, in the same chain
command_file rows "psql -qAtX -h $AGENTKEYS_POSTGRES -p $database_port -U postgres -d agentkeys -v ON_ERROR_STOP=1 <<'SQL'
-- nobody analyzed the tables, and a loop within a loop would read all rows for each of them
SET enable_nestloop = off;
WITH rows AS MATERIALIZED (SELECT chain, id, event, jti, access_key_id, code FROM agentkeys_audit.audit)
SELECT intent.jti FROM rows AS intent JOIN rows AS outcome USING (chain, id)
    WHERE intent.event = 'intent' AND outcome.event = 'outcome' AND outcome.code IS NULL
UNION SELECT access_key_id FROM rows WHERE event = 'outcome' AND access_key_id IS NOT NULL;
SQL"

# secrets are for their owner alone
umask 077
openssl rand -hex 32 >"$work/challenge.key"
echo "rediss://broker:$password@198.18.77.2/0" >"$work/redis.url"
for number in 1 2 3; do
    echo "rediss://broker:$password@198.18.77.2/$number" >"$work/apart-redis$number.url"
done
# a database, its tables by its owner, and the chains; replicas may read and add
database() {
    sql postgres postgres "CREATE DATABASE $1 OWNER owner"
    echo "host=$AGENTKEYS_POSTGRES port=$database_port user=owner dbname=$1" >"$work/owner.url"
    echo "host=$AGENTKEYS_POSTGRES port=$database_port user=replica dbname=$1" >"$work/$2.url"
    for chain in "${@:3}"; do
        "$built/broker" audit postgres "$work/owner.url" "$chain" >/dev/null
    done
    sql owner "$1" "GRANT USAGE ON SCHEMA agentkeys_audit TO replica;
        GRANT SELECT ON ALL TABLES IN SCHEMA agentkeys_audit TO replica;
        GRANT INSERT ON agentkeys_audit.audit_rows TO replica"
}
database agentkeys postgres replica-1 replica-2 replica-3
for number in 1 2 3; do
    database "apart$number" "apart-postgres$number" "apart-replica-$number"
done

# what a request must not be sent twice for is not sent twice: only a connection that was refused goes elsewhere
balance() {
    printf 'listen %s\n    bind 127.0.0.1:%s\n    balance roundrobin\n    option httpchk GET /healthz\n' "$1" "$2"
    printf '    retries 2\n    option redispatch 1\n    retry-on conn-failure\n'
    for port in "${@:3}"; do
        printf '    server replica-%s 127.0.0.1:%s check inter 200ms fall 1 rise 1\n' "$port" "$port"
    done
}
cat >"$work/haproxy.conf" <<CONF
global
    maxconn 2000
    log stderr format raw local0 warning
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 15s
$(balance shared "$balancer" "$one" "$two" "$three")
$(balance apart "$apart" "$apart_one" "$apart_two" "$apart_three")
CONF
haproxy -D -f "$work/haproxy.conf" -p "$work/haproxy.pid" 2>"$work/haproxy.log"

# the guard alone, on a Redis of its own on loopback, without TLS as the client that it is compared with
mkdir "$work/plain"
redis-server --bind 127.0.0.1 --port "$plain" --daemonize yes --pidfile "$work/plain/pid" --dir "$work/plain" \
    --appendonly yes --save '' --logfile "$work/plain.log" >/dev/null
stop_plain() { kill "$(cat "$work/plain/pid")"; }
until [ -s "$work/plain/pid" ]; do sleep 0.1; done
cargo build -q --profile "$profile" -p agentkeys-attest --features redis --example redis_guard
"$built/redis_guard" "redis://127.0.0.1:$plain" || { stop_plain; exit 1; }
redis-cli -p "$plain" config set maxmemory-policy allkeys-lru >/dev/null
if "$built/redis_guard" "redis://127.0.0.1:$plain" >"$work/evicting"; then
    echo "a Redis that evicts keys was taken"
    stop_plain
    exit 1
fi
stop_plain
grep -q 'replay guard does not answer' "$work/evicting"

"$work/redis-start"
echo "$(redis-server --version | cut -d' ' -f1-3), $(haproxy -v | head -n 1 | cut -d' ' -f1-3)"
"$built/replicas" prove "$work" "${REPLICAS_REPLAYS:-2000}"
"$built/replicas" rate "$work" "${REPLICAS_ROUNDS:-5}"
echo "replicas on one Redis and one PostgreSQL: all of it held"
