#!/bin/sh
# Every check, each under a heading and with its time.
set -eu

step() {
    echo "== $1"
    heading=$1 step_began=$(date +%s)
    shift
    "$@"
    echo "== $heading: $(($(date +%s) - step_began)) s"
    echo
}

began=$(date +%s)
# The end-to-end tests run the real binary.
step 'build and server binaries' make --no-print-directory postgres
step 'verifiers of signatures' make --no-print-directory verifiers
step 'format' cargo fmt --all --check
step 'lints' cargo clippy --locked --workspace --all-targets -- -D warnings
# Most of what they do is waiting for a server or a receiver.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) * 2))}"
step 'tests' cargo test --locked --workspace --no-fail-fast
step 'docs' env RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps
echo "make test: ok in $(($(date +%s) - began)) s"
