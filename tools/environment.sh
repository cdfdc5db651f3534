# Sets up what the scripts beside it need; they source it.  Sourcing it twice does no harm.
#
#   need PROGRAM PACKAGE     remember that a program is wanted, and which Debian package has it
#   install_needed           install the packages of all programs that are missing
#   make_venv EXTRA          a virtual environment in .venv with tpmwire and an extra, such as "test"

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
PATH=$PATH:/usr/sbin:/usr/local/sbin

say() { printf '%s\n' "$*" >&2; }

need() {
    command -v "$1" >/dev/null || missing+=("$2")
}

need_file() {
    compgen -G "$1" >/dev/null || missing+=("$2")
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "This has to be done as root: $*"
        return 1
    fi
}

install_needed() {
    [ "${#missing[@]}" -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "Please install these first, by the means of your system: ${missing[*]}"
        return 1
    fi
    say "Installing from the distribution: ${missing[*]}"
    case " ${missing[*]} " in
    *" openssh-server "*)
        say "(openssh-server also starts an SSH server of this machine; if you do not want that:"
        say " 'sudo systemctl disable --now ssh' afterwards)"
        ;;
    esac
    local log
    log=$(mktemp)
    if ! { as_root apt-get update -q &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        say "The installation failed; the last lines above say why."
        return 1
    fi
    rm -f "$log"
    missing=()
    hash -r
}

find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    say "tpmwire needs Python 3.11 or later."
    return 1
}

make_venv() {
    local extra=$1 python mark
    mark=.venv/.tpmwire-$extra
    if [ "$mark" -nt setup.cfg ]; then
        return
    fi
    if [ "$extra" != fuzz ] && [ .venv/.tpmwire-dev -nt setup.cfg ]; then
        return
    fi
    python=$(find_python)
    if [ ! -x .venv/bin/pip ]; then
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            missing+=("python3-venv")
            install_needed
        fi
        say "Making a virtual environment in .venv"
        "$python" -m venv .venv
    fi
    say "Installing tpmwire with what it needs ($extra) into .venv"
    local spec=.
    [ "$extra" = run ] || spec=".[$extra]"
    .venv/bin/pip install -q --disable-pip-version-check -e "$spec"
    touch "$mark"
}
