#!/usr/bin/env bash
# The isolation proof on MinIO, built from the module of one pinned version, on 127.0.0.1 and in a folder of its own.
# Two agents prove themselves, get credentials for tokens of ours, and try to list, read and write what is theirs, the
# other's and nobody's; tokens that must not be taken are refused; and what MinIO does not look at is shown. Exit
# status 0 only if all of it held. Without Go it says what it skipped; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
# RELEASE.2025-10-15T17-29-55Z and what came after it, the last of the module: the project is not maintained any more
version=v0.0.0-20260212201848-7aac2a2c5b7c
tools="$PWD/target/tools/minio-$version"
work=

cleanup() {
    status=$?
    if [ -n "$work" ] && [ -s "$work/minio.pid" ]; then
        pid=$(cat "$work/minio.pid")
        # only where it is still the one that was started here
        if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$work/data"; then
            kill "$pid" 2>/dev/null || true
        fi
    fi
    if [ "$status" != 0 ] && [ -e "$work/minio.log" ]; then
        tail -n 20 "$work/minio.log" >&2 || true
    fi
    [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT

if [ ! -x "$tools/minio" ]; then
    if ! command -v go >/dev/null; then
        echo "skipped: the isolation proof on MinIO $version (there is no Go)"
        [ "${CI:-}" != true ] || exit 1
        exit 0
    fi
    echo "building MinIO $version with $(go env GOVERSION): some minutes, once"
    # it runs for seconds, so it is built without optimisation: a third less to wait
    GOBIN="$tools/new" go install -gcflags='all=-N -l' -ldflags=-w "github.com/minio/minio@$version"
    mv "$tools/new/minio" "$tools/minio"
    rmdir "$tools/new"
fi
cargo build -q -p agentkeys-examples --example minio
built="${CARGO_TARGET_DIR:-target}/debug/examples"

work=$(mktemp -d)
"$built/minio" prove "$tools/minio" "$work"
echo "real MinIO: all of it held"
