#!/bin/sh
# scripts/install-packages.sh build|check|long: installs the Debian packages that carrel is built and shown with, those of
# its tests, or those of the long tests. Asks nothing; does nothing where all are there; says what it does. Needs root or
# sudo only where something is missing. clang-format has a number, as versions lay out differently (14 agrees so far), and
# Debian 12, 13 and Ubuntu 24.04 all have this one.
set -eu

packages="
  build-essential cmake ninja-build pkg-config git python3
  libssl-dev libevent-dev libjansson-dev libyaml-dev libpcre2-dev libutf8proc-dev
  libprotobuf-c-dev protobuf-c-compiler libtss2-dev libcmocka-dev
"
[ "$1" = build ] || packages="$packages swtpm openssl clang clang-format-19 libclang-rt-dev iproute2"
[ "$1" != long ] || packages="$packages valgrind"

missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install-packages.sh: missing:$missing (install them as root, then run this again)" >&2; exit 1; }
  as_root=sudo
fi
echo "Installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q -o Acquire::Retries=3
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
