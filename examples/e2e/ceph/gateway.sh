#!/usr/bin/env bash
# A Ceph Object Gateway of the distribution's own packages, on 127.0.0.1 and in a folder of its own: one monitor,
# one OSD in memory, radosgw with S3, STS and IAM.
#
#   gateway.sh start FOLDER    FOLDER does not exist yet; its path is short (a socket's is at most 107 bytes).
#                              Writes FOLDER/gateway.env: GATEWAY_URL and the keys of the administrator
#   gateway.sh stop FOLDER     ends what start began, by pid, and removes FOLDER
#
# The administrator is of the tenant 123456789012, so that its ARNs look like those of an AWS account.
set -euo pipefail
[ "$#" = 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
folder=$2
account=123456789012

say() { echo "gateway: $*" >&2; }

# runs a command until it succeeds, for a minute at most
until_well() {
    for _ in $(seq 120); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.5
    done
    say "not in a minute: $*"
    return 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# so many random bytes, in hex
random_key() { python3 -c 'import secrets, sys; print(secrets.token_hex(int(sys.argv[1])))' "$1"; }

ceph_() { timeout 30 "$@" -c "$folder/ceph.conf"; }

# the pid in a file, where that process is still the one that this folder's daemon was
ours() {
    local pid
    [ -s "$1" ] || return 1
    pid=$(cat "$1")
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$folder/ceph.conf" || return 1
    echo "$pid"
}

stop() {
    local pid name
    for name in client.rgw osd.0 mon.a; do
        pid=$(ours "$folder/$name.pid") || continue
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 40); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.25
        done
        ! kill -0 "$pid" 2>/dev/null || kill -KILL "$pid"
    done
    rm -rf "$folder"
}

start() {
    local fsid osd monitor gateway access secret
    mkdir -m 700 "$folder"
    mkdir "$folder"/{mon,osd,rgw,log,crash}
    fsid=$(cat /proc/sys/kernel/random/uuid)
    osd=$(cat /proc/sys/kernel/random/uuid)
    monitor=$(free_port)
    gateway=$(free_port)
    access=$(random_key 10)
    secret=$(random_key 20)
    cat >"$folder/ceph.conf" <<CONF
[global]
fsid = $fsid
mon initial members = a
mon host = v1:127.0.0.1:$monitor
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 2
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 1073741824
run dir = $folder
admin socket = $folder/\$name.asok
pid file = $folder/\$name.pid
log file = $folder/log/\$name.log
mon cluster log file = $folder/log/cluster.log
crash dir = $folder/crash
mon data = $folder/mon
osd data = $folder/osd
[client.rgw]
rgw data = $folder/rgw
rgw frontends = beast endpoint=127.0.0.1:$gateway
rgw thread pool size = 16
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
rgw run sync thread = false
rgw dynamic resharding = false
rgw s3 auth use sts = true
rgw sts key = $(random_key 8)
rgw enable apis = s3, sts, iam, admin
debug rgw = 5
CONF
    # what is below says so itself, in the logs
    monmaptool --create --fsid "$fsid" --addv a "v1:127.0.0.1:$monitor" "$folder/monmap" >/dev/null
    ceph_ ceph-mon --mkfs -i a --monmap "$folder/monmap" >/dev/null 2>&1
    ceph_ ceph-mon -i a
    # the monitor takes a while to know its own map
    until_well ceph_ ceph osd new "$osd"
    ceph_ ceph-osd -i 0 --mkfs --osd-uuid "$osd" >/dev/null 2>&1
    until_well ceph_ ceph-osd -i 0
    osd_is_up() { ceph_ ceph osd stat | grep -q '1 up'; }
    until_well osd_is_up
    # this makes the gateway's pools
    timeout 120 radosgw-admin -c "$folder/ceph.conf" -n client.rgw user create --tenant "$account" --uid admin \
        --display-name admin --access-key "$access" --secret "$secret" \
        --caps 'roles=*;oidc-provider=*;user-policy=*;users=*;buckets=*' >/dev/null 2>"$folder/log/admin.log"
    ceph_ radosgw -n client.rgw
    until_well curl -sf -o /dev/null "http://127.0.0.1:$gateway/"

    # nobody but this machine can reach what was started
    local name pid ports
    for name in mon.a osd.0 client.rgw; do
        pid=$(ours "$folder/$name.pid")
        ports=$(ss -ltnpH | grep -F "pid=$pid," | awk '{ print $4 }')
        if [ -z "$ports" ] || grep -qv '^127\.0\.0\.1:' <<<"$ports"; then
            say "$name listens on: ${ports:-nothing}"
            return 1
        fi
    done
    umask 077
    printf 'GATEWAY_URL=http://127.0.0.1:%s\nGATEWAY_ACCESS_KEY=%s\nGATEWAY_SECRET_KEY=%s\n' \
        "$gateway" "$access" "$secret" >"$folder/gateway.env"
    say "$(radosgw --version) on 127.0.0.1:$gateway"
}

case "$1" in
start)
    [ ! -e "$folder" ] || { say "$folder is there already"; exit 1; }
    folder=$(realpath -m "$folder")
    trap 'status=$?; [ "$status" = 0 ] || { tail -n 5 "$folder"/log/*.log >&2 || true; stop; }' EXIT
    start
    ;;
stop)
    [ -d "$folder" ] || exit 0
    folder=$(realpath "$folder")
    [ -e "$folder/ceph.conf" ] || { say "$folder is not a gateway's"; exit 1; }
    stop
    ;;
*) exit 2 ;;
esac
