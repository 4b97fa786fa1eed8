#!/bin/sh
# Installs a C compiler where there is none: some crates are C, and Rust links by `cc`.
# Exit code 2: it can't be done from here; the command to run was printed.
set -eu
. "$(dirname "$0")/apt.sh"

command -v cc >/dev/null && exit 0

if can_install && has_package build-essential; then
    echo "installing build-essential"
    apt install -y --no-install-recommends build-essential && exit 0
fi
echo "a C compiler is missing; run: sudo apt-get install -y build-essential" >&2
exit 2
