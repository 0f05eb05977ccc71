# SPDX-License-Identifier: MIT
# What quickstart.sh, check.sh and .ci/run share: packages, autoreconf, configure, make. Sourced from the top of the tree, by any POSIX
# shell. Every step is skipped where it is done already. A function returns non-zero after it has said on stderr what is wrong.

setup_build_packages='gcc libc6-dev make autoconf automake libtool pkg-config liblmdb-dev libssl-dev libjansson-dev libxxhash-dev
	libcurl4-openssl-dev zlib1g-dev libmicrohttpd-dev'
setup_test_packages='libcmocka-dev bats g++ mandoc perl procps bsdutils gzip curl ccache openssl'
setup_sanitizer_packages='clang libclang-rt-14-dev'
setup_valgrind_packages='valgrind libc6-dbg'
setup_dist_packages=xz-utils

setup_say() {
	printf '== %s\n' "$*" >&2
}

# Is there what a Debian package brings? Where dpkg does not know, by looking for the thing itself.
setup_has() {
	if command -v dpkg-query > /dev/null; then
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
		return
	fi
	case $1 in
	gcc) command -v "${CC:-cc}" ;;
	g++) command -v "${CXX:-c++}" ;;
	libtool) command -v libtoolize ;;
	liblmdb-dev) pkg-config --exists lmdb ;;
	libssl-dev) pkg-config --exists libcrypto ;;
	libjansson-dev) pkg-config --exists jansson ;;
	libxxhash-dev) pkg-config --exists libxxhash ;;
	libcurl4-openssl-dev) pkg-config --exists libcurl ;;
	zlib1g-dev) pkg-config --exists zlib ;;
	libmicrohttpd-dev) pkg-config --exists libmicrohttpd ;;
	libcmocka-dev) pkg-config --exists cmocka ;;
	procps) command -v ps ;;
	xz-utils) command -v xz ;;
	bsdutils) command -v script ;;
	libc6-dev | libc6-dbg | libclang-rt-*) ;;
	*) command -v "$1" ;;
	esac > /dev/null 2>&1
}

# setup_packages NAME...: install what is missing, or name it.
setup_packages() {
	setup_missing=
	for setup_package in "$@"; do
		setup_has "$setup_package" || setup_missing="$setup_missing $setup_package"
	done
	[ -n "$setup_missing" ] || return 0
	if ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
		echo "These packages are missing (Debian's names):$setup_missing" >&2
		echo "Install them, as root: apt-get install$setup_missing" >&2
		return 1
	fi
	setup_say "installing$setup_missing"
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get update -q < /dev/null >&2 &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $setup_missing < /dev/null >&2
}

setup_cores() {
	nproc 2> /dev/null || getconf _NPROCESSORS_ONLN 2> /dev/null || echo 1
}

# What configure may have found missing: other packages than last time are a new configuration.
setup_lacks() {
	# shellcheck disable=SC2086
	for setup_package in $setup_build_packages $setup_test_packages $setup_valgrind_packages; do
		setup_has "$setup_package" || printf ' without %s' "$setup_package"
	done
}

# Is there an nginx with its WebDAV module and HTTP/2? tests/cli/nginx.bats looks in the same places.
setup_has_nginx() {
	(
		PATH=$PWD/build/nginx/usr/sbin:$PATH:/usr/local/sbin:/usr/sbin
		case $(nginx -V 2>&1) in
		*http_v2_module*http_dav_module* | *http_dav_module*http_v2_module*) ;;
		*) exit 1 ;;
		esac
	)
}

# The nginx of that test, in build/nginx, whoever we are. It is unpacked, not installed, because Debian's package enables a service on port 80, which
# would start at the next boot if it may not now. What it links is in every Debian or in our list. Without it the test is skipped: no failure.
setup_nginx() {
	! setup_has_nginx && command -v apt-get > /dev/null && command -v dpkg-deb > /dev/null || return 0
	setup_say 'unpacking nginx in build/nginx'
	rm -rf build/nginx
	mkdir -p build/nginx && (
		cd build/nginx || exit
		# The lists of packages may be missing, or so old that what they name is gone.
		timeout 120 apt-get download -q nginx || {
			[ "$(id -u)" -eq 0 ] && timeout 120 apt-get update -q && timeout 120 apt-get download -q nginx
		}
		dpkg-deb -x nginx_*.deb . && rm -f nginx_*.deb
	) < /dev/null > build/nginx.log 2>&1
	setup_has_nginx || {
		cat build/nginx.log
		setup_say 'there is no nginx: tests/cli/nginx.bats will be skipped'
	} >&2
}

# setup_configure DIR [FLAG...]: make configure and DIR/Makefile. Other flags than last time, or other packages, are a new configuration.
setup_configure() {
	setup_dir=$1
	shift
	if [ ! -f configure ] || [ ! -f build-aux/tap-driver.sh ] || [ ! -f Makefile.in ]; then
		setup_say 'autoreconf'
		autoreconf -i > autoreconf.log 2>&1 || {
			cat autoreconf.log >&2
			return 1
		}
		rm -f autoreconf.log
	fi
	mkdir -p "$setup_dir" || return 1
	setup_with="$*$(setup_lacks)"
	if [ -f "$setup_dir/Makefile" ] && [ "$(cat "$setup_dir/configured-with" 2> /dev/null)" = "$setup_with" ]; then
		return 0
	fi
	setup_say "configure in $setup_dir: $*"
	(cd "$setup_dir" && ../configure -q "$@" < /dev/null >&2) || {
		echo "configure failed; $setup_dir/config.log has the reason" >&2
		return 1
	}
	printf '%s\n' "$setup_with" > "$setup_dir/configured-with"
}

# setup_make DIR TARGET...
setup_make() {
	setup_dir=$1
	shift
	make -C "$setup_dir" -j "$(setup_cores)" --no-print-directory "$@" < /dev/null
}
