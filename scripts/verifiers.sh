#!/bin/sh
# Installs what the end-to-end tests verify signatures with, beside our own code: the libraries that
# Standard Webhooks and Svix publish for Node.js and Python, in the versions that tests/verifiers/ locks, and
# the two interpreters. The libraries go into a cache, which tests/e2e/verifiers.rs looks for in the same places.
# Does nothing where all is there already.
# Exit code 2: it can't be done from here; the command to run was printed.
set -eu
here=$(dirname "$0")
. "$here/apt.sh"

locks=$here/../tests/verifiers
shared=/var/cache/tidings
if [ "$(id -u)" = 0 ]; then
    cache=$shared
else
    # A relative path in it is to be ignored, says its specification.
    case ${XDG_CACHE_HOME:-} in
        /*) cache=$XDG_CACHE_HOME/tidings ;;
        *) cache=$HOME/.cache/tidings ;;
    esac
fi

has_pip() {
    python3 -m pip --version >/dev/null 2>&1
}

# What was installed keeps the files that locked it.
is_current() {
    for file in package.json package-lock.json requirements.txt; do
        cmp -s "$locks/$file" "$1/verifiers/$file" || return 1
    done
}

# Packages of the distribution that are missing; npm and pip only where there is something to install.
missing() {
    if is_current "$cache" || is_current "$shared"; then
        command -v node >/dev/null || echo nodejs
        command -v python3 >/dev/null || echo python3
    else
        { command -v node && command -v npm; } >/dev/null || echo npm
        has_pip || echo python3-pip
    fi
}

install_packages() {
    can_install || return 1
    for package in "$@"; do
        has_package "$package" || return 1
    done
    echo "installing $*"
    apt install -y --no-install-recommends "$@"
}

# All or nothing: what is half done is never moved to its place.
install_libraries() {
    umask 022
    mkdir -p "$cache" || return 1
    draft=$(mktemp -d "$cache/.verifiers.XXXXXX") || return 1
    trap 'rm -rf "$draft"' EXIT
    echo "installing the libraries of tests/verifiers into $cache/verifiers"
    cp "$locks/package.json" "$locks/package-lock.json" "$locks/requirements.txt" "$draft" || return 1
    (cd "$draft" && npm ci --loglevel=error --no-update-notifier --no-audit --no-fund --ignore-scripts \
        --cache "$draft/npm") || return 1
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --no-cache-dir \
        --require-hashes --only-binary :all: --target "$draft/python" -r "$draft/requirements.txt" || return 1
    rm -rf "$draft/npm"
    chmod -R a+rX "$draft"
    rm -rf "$cache/verifiers" && mv "$draft" "$cache/verifiers"
}

packages=$(missing)
if [ -n "$packages" ]; then
    # Unquoted: one word for each package.
    install_packages $packages || {
        echo "missing:" $packages"; run: sudo apt-get install -y" $packages >&2
        exit 2
    }
fi
is_current "$cache" || is_current "$shared" || install_libraries || {
    echo "the libraries of tests/verifiers can't be installed: see above;" \
        "once the registries of npm and PyPI can be reached, run: make verifiers" >&2
    exit 2
}
