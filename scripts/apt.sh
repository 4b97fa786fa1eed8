# Sourced by the scripts beside this one: what needs root, as root or by a sudo that asks nothing.

can_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
}

# True if the distribution has the package; fetches its lists if they don't say so yet.
has_package() {
    apt-cache show "$1" >/dev/null 2>&1 || { apt update && apt-cache show "$1" >/dev/null 2>&1; }
}
