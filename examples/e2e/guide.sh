#!/usr/bin/env bash
# Runs the guide: the `sh` blocks of each page of docs/ as one script, in the order in which they stand, at the
# root of the repository and with a throw-away folder in WORK. `toml file=NAME` blocks are files in that folder. `aws`
# is a real command line that checks every argument and sends nothing. Blocks that are marked `sh e2e=SCRIPT` need
# servers that stay up, or root: SCRIPT runs them. Exit status 0 only if every command succeeded.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check awscli
mkdir "$work/bin"
cat >"$work/bin/aws" <<SHIM
#!$work/venv/bin/python
import json, sys, types
from awscli.clidriver import create_clidriver

# what is written as JSON must be JSON, which the command line does not look at
for argument in sys.argv[1:]:
    if argument.startswith("{"):
        json.loads(argument)
driver = create_clidriver()
# here all arguments have been checked, and nothing has been sent
answer = lambda **_: (types.SimpleNamespace(status_code=200), {})
driver.session.register("before-call", answer)
open("$work/calls", "a").write("call\n")
sys.exit(driver.main([*sys.argv[1:], "--region", "us-east-1"]))
SHIM
chmod +x "$work/bin/aws"

pages=0
for page in docs/*.md; do
    folder="$work/$(basename "$page" .md)"
    mkdir "$folder"
    python3 - "$page" "$folder" <<'PY'
import re, sys
page, folder = sys.argv[1:]
script = ["set -euo pipefail"]
for info, block in re.findall(r"^```([^\n`]+)\n(.*?)^```$", open(page).read(), re.M | re.S):
    if info == "sh":
        script.append(block)
    elif match := re.fullmatch(r"toml file=([a-z.]+)", info):
        open(f"{folder}/{match[1]}", "w").write(block)
open(f"{folder}/page.sh", "w").write("\n".join(script))
PY
    [ "$(wc -l <"$folder/page.sh")" -gt 1 ] || continue
    if ! env -i HOME="$HOME" PATH="$work/bin:$PATH" TERM=dumb WORK="$folder" ${CARGO_HOME:+CARGO_HOME="$CARGO_HOME"} \
        ${CARGO_TARGET_DIR:+CARGO_TARGET_DIR="$CARGO_TARGET_DIR"} ${RUSTUP_HOME:+RUSTUP_HOME="$RUSTUP_HOME"} \
        bash "$folder/page.sh" >"$folder/said" 2>&1; then
        echo "$page: a command failed"
        tail -n 20 "$folder/said"
        exit 1
    fi
    pages=$((pages + 1))
    echo "$page: every command succeeded"
done
# as many as there were when this was written, so that an empty guide does not pass
calls=$(wc -l <"$work/calls")
[ "$pages" -ge 4 ] && [ "$calls" -ge 16 ] || { echo "only $pages pages and $calls calls of aws"; exit 1; }
echo "the guide: $pages pages with commands, $calls of them calls of aws"
