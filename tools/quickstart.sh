#!/bin/sh
# SPDX-License-Identifier: MIT
# From a bare clone to a cache that works: set up and build in build/, then run four pre-forked workers over an access trace, through one
# shared cache, and leave the cache to be looked into.
#
#   sh tools/quickstart.sh               a made-up trace, always the same
#   TRACE=file sh tools/quickstart.sh    a real one: a key a line, or a web server's log; gzipped or plain
#
# LARDER_DIR   where the cache goes; else /dev/shm/larder-quickstart-UID, or build/quickstart/cache if there is no room
# LARDER_SIZE  its size, 64M
# Arguments are passed on to `larder replay`.
set -u
# What the caller names is meant from where the caller stands.
absolute() {
	case $1 in
	'' | /*) echo "$1" ;;
	*) echo "$PWD/$1" ;;
	esac
}
TRACE=$(absolute "${TRACE:-}") LARDER_SECRET_FILE=$(absolute "${LARDER_SECRET_FILE:-}") LARDER_DIR=$(absolute "${LARDER_DIR:-}")
cd "$(dirname "$0")/.." || exit 1
. tools/setup.sh

size=${LARDER_SIZE:-64M}

# A secret of 64 characters, readable by nobody else.
make_secret() {
	[ -s "$1" ] && return
	(umask 077 && mkdir -p "$(dirname "$1")" && od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' > "$1.new" && mv "$1.new" "$1")
}

# Bytes of a size with a unit, in KiB; 0 if it cannot be read.
in_kib() {
	case $1 in
	*[Kk]) echo "${1%?}" ;;
	*[Mm]) echo "$((${1%?} * 1024))" ;;
	*[Gg]) echo "$((${1%?} * 1048576))" ;;
	*) echo "$((${1:-0} / 1024))" ;;
	esac 2> /dev/null || echo 0
}

# Is there room for the cache and half of it again, for its reserve and its control segment?
has_room() {
	[ -d "$1" ] && [ -w "$1" ] || return 1
	free=$(df -Pk "$1" | awk 'NR == 2 { print $4 }')
	[ "${free:-0}" -gt "$(($(in_kib "$size") * 3 / 2))" ]
}

choose_directory() {
	rm -rf "/dev/shm/larder-quickstart-$(id -u)" build/quickstart/cache
	if has_room /dev/shm; then
		echo "/dev/shm/larder-quickstart-$(id -u)"
	else
		echo "$PWD/build/quickstart/cache"
	fi
}

# shellcheck disable=SC2086
setup_packages $setup_build_packages || exit 1
setup_configure build || exit 1
setup_say 'make in build'
setup_make build all > build/make.log 2>&1 || {
	cat build/make.log >&2
	echo 'quickstart: the build failed' >&2
	exit 1
}

LARDER_SECRET_FILE=${LARDER_SECRET_FILE:-$PWD/build/quickstart/secret}
make_secret "$LARDER_SECRET_FILE" || exit 1
[ -n "${LARDER_DIR:-}" ] || LARDER_DIR=$(choose_directory) || exit 1
export LARDER_DIR LARDER_SECRET_FILE

if [ -n "${TRACE:-}" ]; then
	set -- --trace "$TRACE" "$@"
else
	set -- --generate 'zipf:1.0,keys=200000,requests=2000000,seed=1,shift=4,scan=5' "$@"
fi
setup_say "larder replay, in $LARDER_DIR"
build/larder replay --workers 4 --size "$size" --set-on-miss "$@"
status=$?
if [ "$status" -ne 0 ]; then
	echo "quickstart: larder replay failed with exit code $status" >&2
	exit "$status"
fi

cat <<END

The cache is still there. To look into it:

    export LARDER_DIR=$LARDER_DIR
    export LARDER_SECRET_FILE=$LARDER_SECRET_FILE
    build/larder stat
    build/larder dump | head
    build/larder dump --format jsonl --values hex | head -n 3
    build/larder check

and to be rid of it: rm -r $LARDER_DIR
END
