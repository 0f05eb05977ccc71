#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A server that nobody here wrote as the second level: nginx with its WebDAV module, through the raw codec, over a unix socket, over HTTP/1.1 with TLS and
# over HTTP/2. Two hosts, that is, two directories with one secret, have each other's values from it.

load helper

setup() {
	common_setup
	# Where setup_nginx of tools/setup.sh has put it, or this machine's.
	PATH=$BATS_TEST_DIRNAME/../../build/nginx/usr/sbin:$PATH:/usr/local/sbin:/usr/sbin
	local built
	built=$(nginx -V 2>&1) && [[ $built == *http_dav_module* && $built == *http_v2_module* ]] || skip 'there is no nginx with WebDAV and HTTP/2'
	export LARDER_L2_CODEC=raw LARDER_THREADS=0 LARDER_L2_GET_MS=20s LARDER_L2_SET_MS=20s LARDER_L2_DELETE_MS=20s
	www=$BATS_TEST_TMPDIR/www log=$BATS_TEST_TMPDIR/access.log
	mkdir "$www"
}

# configure LISTEN [LINE...]: nginx.conf, with a log line "PROTOCOL METHOD STATUS" for each request.
configure() {
	cat > "$BATS_TEST_TMPDIR/nginx.conf" <<-END
	daemon off;
	master_process off;
	pid $BATS_TEST_TMPDIR/nginx.pid;
	error_log $BATS_TEST_TMPDIR/nginx.log;
	events { worker_connections 64; }
	http {
		log_format ours '\$server_protocol \$request_method \$status';
		access_log $log ours;
		client_body_temp_path $BATS_TEST_TMPDIR/body;
		proxy_temp_path $BATS_TEST_TMPDIR/proxy;
		fastcgi_temp_path $BATS_TEST_TMPDIR/fastcgi;
		uwsgi_temp_path $BATS_TEST_TMPDIR/uwsgi;
		scgi_temp_path $BATS_TEST_TMPDIR/scgi;
		server {
			listen $1;
			$(shift; printf '%s\n' "$@")
			location /cache/ {
				alias $www/;
				dav_methods PUT DELETE;
				create_full_put_path on;
				client_max_body_size 16m;
			}
		}
	}
	END
}

nginx_here() {
	start nginx nginx -p "$BATS_TEST_TMPDIR" -c "$BATS_TEST_TMPDIR/nginx.conf"
}

# certify NAME: NAME.pem and its key, for this address.
certify() {
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
		-keyout "$BATS_TEST_TMPDIR/$1.key" -out "$BATS_TEST_TMPDIR/$1.pem" 2> /dev/null
}

# serve_tls [WORD...]: with TLS on a free port, and these words of its listen directive.
serve_tls() {
	local try port
	certify cert
	for try in 1 2 3 4 5 6 7 8 9 10; do
		port=$((20000 + RANDOM % 12000))
		configure "127.0.0.1:$port ssl $*" "ssl_certificate $BATS_TEST_TMPDIR/cert.pem;" "ssl_certificate_key $BATS_TEST_TMPDIR/cert.key;"
		nginx_here
		until_true eval "! kill -0 $started_pid || curl -s --cacert '$BATS_TEST_TMPDIR/cert.pem' -o /dev/null https://127.0.0.1:$port/"
		kill -0 "$started_pid" 2> /dev/null && break
	done
	export LARDER_L2_URL=https://127.0.0.1:$port/cache LARDER_L2_CA_FILE=$BATS_TEST_TMPDIR/cert.pem
	# nginx writes of a request when its answer is out, maybe after curl has ended.
	until_true test -s "$log"
	: > "$log"
}

# As another host.
there() {
	LARDER_DIR="$BATS_TEST_TMPDIR/there" "$LARDER" "$@"
}

# What one host writes the other reads, and what it deletes the other has not.
write_and_read() {
	larder set acme named key 'a value'
	larder set acme named large "$(head -c 60000 /dev/zero | tr '\0' x)"
	exits 0 larder outbox --flush 60s
	exits 0 there get acme named key
	equal "$output" 'a value'
	equal "$(there get acme named large | tr -d '\n' | wc -c)" 60000
	exits 1 there get acme named none
	larder del acme named key
	exits 0 larder outbox --flush 60s
	equal "$(larder outbox --json | json .acknowledged)" 3
	LARDER_DIR="$BATS_TEST_TMPDIR/third" exits 1 larder get acme named key
	# Degraded, for nobody works in the background here.
	exits 1 larder health
	equal "$(grep -cE '^L2 +(write|read|remove) +LARDER_OK' <<< "$output")" 3
}

# spoke PROTOCOL: every request was of this protocol, and each method was used.
spoke() {
	local method
	equal "$(cut -d ' ' -f 1 "$log" | sort -u)" "$1"
	for method in PUT GET DELETE; do
		grep -q "^$1 $method 20" "$log" || fail "no $method in:" "$(cat "$log")"
	done
}

@test "nginx: over a unix socket" {
	configure "unix:$BATS_TEST_TMPDIR/socket"
	nginx_here
	until_true test -S "$BATS_TEST_TMPDIR/socket"
	export LARDER_L2_URL=unix:$BATS_TEST_TMPDIR/socket:/cache
	write_and_read
	spoke HTTP/1.1
}

@test "nginx: with the tenant in the path, its files are the values" {
	configure "unix:$BATS_TEST_TMPDIR/socket"
	nginx_here
	until_true test -S "$BATS_TEST_TMPDIR/socket"
	export LARDER_L2_URL=unix:$BATS_TEST_TMPDIR/socket:/cache LARDER_L2_TENANT_IN=path
	larder set acme named key 'a value'
	exits 0 larder outbox --flush 60s
	equal "$(cat "$www"/acme/*)" 'a value'
	exits 0 there get acme named key
	exits 1 there get other named key
}

@test "nginx: over TLS with HTTP/1.1, whatever it could" {
	serve_tls http2
	write_and_read
	spoke HTTP/1.1
}

@test "nginx: over TLS with HTTP/2" {
	curl --version | grep -q HTTP2 || skip 'this libcurl has no HTTP/2'
	serve_tls http2
	export LARDER_L2_HTTP2=1
	write_and_read
	spoke HTTP/2.0
}

@test "nginx: HTTP/2 wanted of a server that has only HTTP/1.1" {
	curl --version | grep -q HTTP2 || skip 'this libcurl has no HTTP/2'
	serve_tls
	export LARDER_L2_HTTP2=1
	write_and_read
	spoke HTTP/1.1
}

@test "nginx: a certificate that nobody trusts" {
	serve_tls http2
	export LARDER_L2_HTTP2=1
	certify other
	LARDER_L2_CA_FILE=$BATS_TEST_TMPDIR/other.pem
	exits 3 larder get acme named key
	equal "$(wc -l < "$log")" 0
}
