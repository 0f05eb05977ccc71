#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# tools/quickstart.sh and the directories it makes, in a tree whose build is a stand-in: several at once, one after another, one that fails.

load helper

setup() {
	tree=$(mktemp -d "${TMPDIR:-/tmp}/larder-quickstart-test-XXXXXX")
	mkdir -p "$tree/tools" "$tree/build" "$tree/bin"
	# Not the user's own: its directories are by its name.
	printf "#!/bin/sh\necho %s\n" "test-$$-$BATS_TEST_NUMBER" > "$tree/bin/id"
	chmod +x "$tree/bin/id"
	cp "$top_srcdir/tools/quickstart.sh" "$tree/tools/"
	for what in packages configure make say; do
		echo "setup_$what() { :; }"
	done > "$tree/tools/setup.sh"
	echo 'setup_build_packages=' >> "$tree/tools/setup.sh"
	# It ends when the fifo gives it an exit code.
	cat > "$tree/build/larder" <<-'END'
		#!/bin/sh
		touch "$LARDER_DIR/mark"
		echo "$LARDER_DIR" > "$FIFO.dir"
		mv "$FIFO.dir" "$FIFO.at"
		read -r status < "$FIFO"
		[ -f "$LARDER_DIR/mark" ] || exit 9
		exit "$status"
	END
	chmod +x "$tree/build/larder"
	unset_settings
	unset TRACE
	made=
	background_pids=
}

teardown() {
	# What a test that failed has left: the run ends with the replay that it waits for.
	for pid in $background_pids; do
		pkill -KILL -P "$pid" || :
		kill -KILL "$pid" 2> /dev/null || :
	done
	# shellcheck disable=SC2086
	rm -rf "$tree" $made
}

# start N: run number N, to where its replay has begun; $at is its directory.
start() {
	mkfifo "$tree/$1"
	FIFO=$tree/$1 L2=off PATH=$tree/bin:$PATH sh "$tree/tools/quickstart.sh" > "$tree/out.$1" 2>&1 3>&- &
	eval "pid_$1=$!"
	background_pids="$background_pids $!"
	until [ -f "$tree/$1.at" ]; do
		kill -0 "$!" || return 1
		sleep 0.05
	done
	at=$(cat "$tree/$1.at")
	made="$made $at"
}

# finish N STATUS: let it end; fails unless it ends so.
finish() {
	status=0
	echo "$2" > "$tree/$1"
	eval "wait \$pid_$1" || status=$?
	[ "$status" -eq "$2" ]
}

@test 'two at once have a directory each, and both end' {
	start a
	a=$at
	start b
	[ "$a" != "$at" ]
	[ "$(stat -c %a "$a")" = 700 ]
	finish b 0
	grep -q "rm -r $at" "$tree/out.b"
	[ -f "$a/mark" ]
	finish a 0
	grep -q "rm -r $a" "$tree/out.a"
	[ -f "$a/mark" ]
	[ -f "$at/mark" ]
}

@test 'what earlier ones have left is removed, what is in use is not' {
	start a
	a=$at
	finish a 0
	start b
	b=$at
	[ ! -e "$a" ]
	start c
	[ -f "$b/mark" ]
	finish c 0
	finish b 0
}

@test 'one that fails says where its cache is' {
	start a
	finish a 4
	grep -q "exit code 4.*$at" "$tree/out.a"
}

@test 'a link among old directories is not followed' {
	ln -s "$tree/elsewhere" "/dev/shm/larder-quickstart-test-$$-$BATS_TEST_NUMBER-link" || skip 'no /dev/shm'
	made="/dev/shm/larder-quickstart-test-$$-$BATS_TEST_NUMBER-link"
	mkdir "$tree/elsewhere"
	start a
	finish a 0
	[ -L "${made%% *}" ]
	[ -d "$tree/elsewhere" ]
}

@test 'a directory that was named is used, and stays' {
	mkdir "$tree/named"
	LARDER_DIR=$tree/named start a
	[ "$at" = "$tree/named" ]
	finish a 0
	unset LARDER_DIR
	start b
	finish b 0
	[ -f "$tree/named/mark" ]
	# One that an earlier run has left, named: in use, it stays, too.
	b=$at
	LARDER_DIR=$b start c
	[ "$at" = "$b" ]
	unset LARDER_DIR
	start d
	[ -f "$b/mark" ]
	finish d 0
	finish c 0
}
