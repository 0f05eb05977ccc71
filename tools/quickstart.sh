#!/bin/sh
# SPDX-License-Identifier: MIT
# From a bare clone to a cache that works: set up and build in build/, then run four pre-forked workers over an access trace, through one
# shared cache and a second level behind it. In the middle the second level is killed, for three seconds; a table tells what happened. The
# shared cache is left to be looked into, no process is. Several may run at once; each removes what earlier ones, that are over, have left.
#
#   sh tools/quickstart.sh               a made-up trace, always the same
#   TRACE=file sh tools/quickstart.sh    a real one: a key a line, or a web server's log; gzipped or plain
#   L2=off sh tools/quickstart.sh        the shared cache alone, as fast as it can
#
# LARDER_DIR   where the cache goes; else a directory of this run's own, /dev/shm/larder-quickstart-UID-..., or build/quickstart/cache-... if there is no
#              room. The run says which, and the next one removes it
# LARDER_SIZE  its size: 32M, and 64M without the second level
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

l2=${L2:-on}
l2_size=192M

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

# Is there room for the caches and half of it again, for their reserves and control segments?
has_room() {
	[ -d "$1" ] && [ -w "$1" ] || return 1
	free=$(df -Pk "$1" | awk 'NR == 2 { print $4 }')
	wanted=$(in_kib "$size")
	[ "$l2" = off ] || wanted=$((wanted + $(in_kib "$l2_size")))
	[ "${free:-0}" -gt "$((wanted * 3 / 2))" ]
}

# Caches of runs that are over. One that goes on has its directory locked, by this shell and whatever it has started.
remove_old() {
	for old in "/dev/shm/larder-quickstart-$(id -u)"-* build/quickstart/cache-*; do
		# Whoever may write in /dev/shm may put a link there, and flock(1) would make a file where it leads.
		# shellcheck disable=SC3067
		[ -d "$old" ] && [ ! -L "$old" ] && [ -O "$old" ] && flock -n "$old" rm -rf "$old"
	done 2> /dev/null
}

# take DIRECTORY: keep it from being removed while this shell and what it starts go on. Fails if it was removed before: a run of another clone has another
# lock to choose its directory under.
take() {
	# A failing exec would end the shell.
	{ command exec 8< "$1"; } 2> /dev/null || return
	# Where there is no such lock, nobody removes anything.
	flock -s 8 2> /dev/null || return 0
	# shellcheck disable=SC3013
	[ ! -e /proc/self/fd/8 ] || [ /proc/self/fd/8 -ef "$1" ]
}

make_directory() {
	if has_room /dev/shm; then
		mktemp -d "/dev/shm/larder-quickstart-$(id -u)-XXXXXX"
	else
		mktemp -d "$PWD/build/quickstart/cache-XXXXXX"
	fi
}

# One run at a time sets up, builds, and chooses its directory. Where there is no flock(1), old directories stay.
mkdir -p build/quickstart && exec 9> build/quickstart/lock || exit 1
if command -v flock > /dev/null; then
	flock -n 9 || {
		setup_say 'another quickstart is building here: waiting for it'
		flock 9
	}
fi

# shellcheck disable=SC2086
setup_packages $setup_build_packages || exit 1
setup_configure build || exit 1
setup_say 'make in build'
setup_make build all > build/make.log 2>&1 || {
	cat build/make.log >&2
	echo 'quickstart: the build failed' >&2
	exit 1
}

if [ "$l2" != off ] && [ ! -x build/larder-l2d ]; then
	setup_say 'libmicrohttpd is missing, so there is no larder-l2d: the shared cache alone'
	l2=off
fi
if [ "$l2" = off ]; then
	size=${LARDER_SIZE:-64M}
	recipe=zipf:1.0,keys=200000,requests=2000000,seed=1,shift=4,scan=5
else
	# A miss costs a millisecond, as it would where there is something slow behind the cache.
	size=${LARDER_SIZE:-32M}
	recipe=zipf:1.0,keys=60000,requests=600000,seed=1,shift=4,scan=5
	set -- --l2d build/larder-l2d --l2-size "$l2_size" --l2-outage 40%:3s --fetch 1ms "$@"
fi

LARDER_SECRET_FILE=${LARDER_SECRET_FILE:-$PWD/build/quickstart/secret}
make_secret "$LARDER_SECRET_FILE" || exit 1
if [ -z "${LARDER_DIR:-}" ]; then
	remove_old
	LARDER_DIR=$(make_directory) || exit 1
	until take "$LARDER_DIR"; do
		LARDER_DIR=$(make_directory) || exit 1
	done
elif [ -d "$LARDER_DIR" ]; then
	# It may be one of an earlier run. If it is gone by now it is made again.
	take "$LARDER_DIR"
fi
exec 9>&-
export LARDER_DIR LARDER_SECRET_FILE
unset LARDER_L2_URL

if [ -n "${TRACE:-}" ]; then
	set -- --trace "$TRACE" "$@"
else
	set -- --generate "$recipe" "$@"
fi
setup_say "larder replay, in $LARDER_DIR"
# In the background, so that a signal to this shell alone reaches it too; it stops the second level, and ends.
build/larder replay --workers 4 --size "$size" --set-on-miss "$@" &
replay=$!
trap 'kill -TERM "$replay" 2> /dev/null' INT TERM HUP
wait "$replay"
status=$?
while kill -0 "$replay" 2> /dev/null; do
	wait "$replay"
	status=$?
done
trap - INT TERM HUP
if [ "$status" -eq 130 ]; then
	echo "quickstart: interrupted; what there is of the cache is in $LARDER_DIR" >&2
	exit "$status"
elif [ "$status" -ne 0 ]; then
	echo "quickstart: larder replay failed with exit code $status; what there is of the cache is in $LARDER_DIR" >&2
	exit "$status"
fi

cat <<END

The cache is still there. To look into it:

    export LARDER_DIR=$LARDER_DIR
    export LARDER_SECRET_FILE=$LARDER_SECRET_FILE
    export LARDER_SIZE=$size
    build/larder stat
    build/larder dump | head
    build/larder dump --format jsonl --values hex | head -n 3
    build/larder check
END
[ "$l2" = off ] || cat <<END
    build/larder breaker
    build/larder outbox
    build/larder health
    LARDER_SIZE=$l2_size build/larder stat --dir $LARDER_DIR/l2 --name l2d
END
cat <<END

and to be rid of it: rm -r $LARDER_DIR
END
