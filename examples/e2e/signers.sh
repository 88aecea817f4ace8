#!/usr/bin/env bash
# A key in a token, over PKCS#11: SoftHSM and the tool of OpenSC make one in a folder of their own, and
# `examples/signers.rs` holds it to what a signer must be, mints with it, and is refused each key and PIN that must
# not sign. Exit status 0 only if all of it held. Installs Debian's softhsm2 and opensc where they are missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT

if ! command -v softhsm2-util pkcs11-tool openssl | wc -l | grep -qx 3; then
    if ! command -v apt-get >/dev/null; then
        echo "skipped: keys over PKCS#11 (there is neither SoftHSM nor a way to install it)"
        [ "${CI:-}" != true ] || exit 1
        exit 0
    fi
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -q >/dev/null
    "${as_root[@]}" apt-get install -q -y softhsm2 opensc openssl >/dev/null
fi
module=$(find /usr/lib /usr/local/lib -name libsofthsm2.so -print -quit)
[ -n "$module" ] || { echo "there is no libsofthsm2.so"; exit 1; }

cargo build -q -p agentkeys-examples --example signers
signers="${CARGO_TARGET_DIR:-target}/debug/examples/signers"

work=$(mktemp -d)
mkdir "$work/tokens"
export SOFTHSM2_CONF="$work/softhsm2.conf"
printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$work/tokens" >"$SOFTHSM2_CONF"
pin=73519042 officer=90817263
(umask 077 && echo "$pin" >"$work/pin" && echo 11111111 >"$work/wrong-pin")

token() {
    softhsm2-util --init-token --free --label "$1" --so-pin "$officer" --pin "$pin" >/dev/null
}
# what pkcs11-tool makes keys with
key() {
    pkcs11-tool --module "$module" --token-label agentkeys --login --pin "$pin" "$@" >/dev/null 2>&1
}

token agentkeys
folder=$(find "$work/tokens" -mindepth 1 -maxdepth 1 -type d)
key --keypairgen --key-type EC:prime256v1 --id 01 --label oidc --usage-sign
key --keypairgen --key-type EC:prime256v1 --id 02 --label extractable --usage-sign --extractable
key --keypairgen --key-type EC:secp384r1 --id 03 --label p384 --usage-sign
for id in 04 05; do
    key --keypairgen --key-type EC:prime256v1 --id "$id" --label twice --usage-sign
done
key --keypairgen --key-type EC:prime256v1 --id 06 --label private-alone --usage-sign
key --delete-object --type pubkey --id 06
# a public key beside a private one that is not its own
key --keypairgen --key-type EC:prime256v1 --id 07 --label crossed --usage-sign
key --read-object --type pubkey --id 01 --output-file "$work/other.der"
key --delete-object --type pubkey --id 07
key --write-object "$work/other.der" --type pubkey --id 07 --label crossed
key --keypairgen --key-type EC:prime256v1 --id 08 --label pin-each-time --usage-sign --always-auth
# a key that came in from outside and can be read again
openssl ecparam -name prime256v1 -genkey -noout 2>/dev/null | openssl pkcs8 -topk8 -nocrypt -outform DER -out "$work/key.der"
key --write-object "$work/key.der" --type privkey --id 09 --label readable --usage-sign --extractable
token doubled
token doubled
echo "SoftHSM with $(pkcs11-tool --module "$module" --token-label agentkeys --list-objects --login --pin "$pin" 2>/dev/null |
    grep -c 'Key Object') keys in a folder of its own"

opened=("$signers" "$module" agentkeys)
"${opened[@]}" oidc "$work/pin" suite
"${opened[@]}" oidc "$work/pin" rate

"${opened[@]}" extractable "$work/pin" refused "it is CKA_EXTRACTABLE"
"${opened[@]}" readable "$work/pin" refused "the key can be"
"${opened[@]}" p384 "$work/pin" refused "not of P-256"
"${opened[@]}" twice "$work/pin" refused "two keys have this name"
"${opened[@]}" private-alone "$work/pin" refused "no such public EC key"
"${opened[@]}" crossed "$work/pin" refused "its key does not verify"
"${opened[@]}" pin-each-time "$work/pin" refused "a PIN for each signature"
"${opened[@]}" nothing "$work/pin" refused "no such private EC key"
"${opened[@]}" oidc "$work/wrong-pin" refused "the token refuses the PIN"
"$signers" "$module" doubled oidc "$work/pin" refused "two tokens have this name"
"$signers" "$module" another oidc "$work/pin" refused "no token has this name"
"$signers" /usr/lib/os-release agentkeys oidc "$work/pin" refused "the module cannot be loaded"

"${opened[@]}" oidc "$work/pin" steal
"${opened[@]}" oidc "$work/pin" lost
"${opened[@]}" oidc "$work/pin" away "$folder"
echo "a key over PKCS#11: all of it held"
