#!/usr/bin/env bash
# The long forms of the end-to-end scripts, for a release: everything that `.ci/run` does in short, and longer. The
# last line of each says what it did. A skip is a failure.
set -euo pipefail
cd "$(dirname "$0")"
export CI=true
# every feature at once, the benches' and the fuzz targets' crates included: some change how others of the build work
(cd ../.. && cargo test -q --workspace --all-features)
./smoke.sh
./boto3.sh
./policies.sh
./guide.sh
./signers.sh
./spire.sh
./spire.sh ./examples/e2e/ceph_rgw.sh
# replays, faults and rates of three replicas
REPLICAS_REPLAYS=100000 REPLICAS_ROUNDS=15 REPLICAS_PROFILE=release ./replicas.sh
./minio.sh
(cd ../.. && cargo run -q --release -p agentkeys-examples --example simulate)
# credentials of the sidecar that end nine times over
CLIENTS_SECONDS=900 ./clients.sh
POSTGRES_ROWS=1000000 ./postgres.sh
./clouds.sh
(cd ../.. && cargo run -q --release -p agentkeys-examples --example load -- --long)
