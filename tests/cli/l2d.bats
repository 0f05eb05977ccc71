#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# larder-l2d with curl as its client: methods, codecs, times, errors, repeats, and what happens when workers die or the service stops.

load helper

L2D=${L2D:-${top_builddir:?run by make, or set L2D}/larder-l2d}

setup() {
	[ -x "$L2D" ] || skip 'larder-l2d was not built'
	command -v curl > /dev/null || skip 'curl is not installed'
	common_setup
	here=$BATS_TEST_TMPDIR
}

# serve [OPTION...]: start the service; base is its address, served_pid its master.
serve() {
	rm -f "$here/port"
	start l2d "$L2D" --dir "$here/l2d" --size 64M --listen 127.0.0.1:0 --port-file "$here/port" "$@"
	served_pid=$started_pid
	until_true test -s "$here/port"
	base=http://127.0.0.1:$(cat "$here/port")
}

stop() {
	kill -TERM "$served_pid"
	ends "$served_pid" "${1:-0}"
}

# ask CODE [CURL-ARGUMENT...] PATH: a request; head and body are left in $here/head and $here/body.
ask() {
	local code=$1 status
	shift
	: > "$here/body"
	status=$(curl -sS -m 30 -D "$here/head" -o "$here/body" -w '%{http_code}' "${@:1:$#-1}" "$base${!#}" 2> "$here/curl.err") || status="$status, curl: $(cat "$here/curl.err")"
	[ "$status" = "$code" ] || fail "status $status, expected $code: $*" "$(cat "$here/body")"
}

# header NAME: its value in the last answer, "(none)" if it is not there.
header() {
	local found
	found=$(tr -d '\r' < "$here/head" | sed -n "s/^$1: //Ip" | tail -n 1)
	echo "${found:-(none)}"
}

body() {
	cat "$here/body"
}

# error NAME: the last answer is an error of this name, in JSON, with a text.
error() {
	equal "$(body | json .error)" "$1"
	[ "$(body | json .message)" != '(none)' ] || fail 'no message'
	equal "$(header content-type)" application/json
}

metric() {
	curl -s "$base/_metrics" | awk -v name="$1" '$1 == name { print $2; found = 1 } END { if (!found) print 0 }'
}

bytes_in_above() {
	[ "$(metric larder_l2d_body_bytes_in_total)" -gt "$1" ]
}

workers() {
	pgrep -P "$served_pid" | sort -n
}

has_workers() {
	[ "$(workers | wc -l)" -eq "$1" ]
}

json_put=(-X POST -H 'Content-Type: application/json')
raw_put=(-X PUT -H 'Content-Type: application/octet-stream')

@test "raw: put, get, head, replace, delete, and delete again" {
	serve
	ask 404 /acme/key
	error LARDER_MISS
	printf 'a\0\377b' > "$here/value"
	ask 201 "${raw_put[@]}" -H 'Cache-Control: max-age=100, stale-while-revalidate=7' -H 'X-Larder-Created: 1700000000123' \
		-H 'X-Larder-Hard-End: 9700000000000' -H 'X-Larder-Flags: 4294967295' --data-binary "@$here/value" /acme/key
	ask 200 /acme/key
	cmp "$here/value" "$here/body"
	equal "$(header cache-control)" 'max-age=100, stale-while-revalidate=7'
	equal "$(header x-larder-created)" 1700000000123
	equal "$(header x-larder-hard-end)" 9700000000000
	equal "$(header x-larder-flags)" 4294967295
	equal "$(header age)" 0
	equal "$(header content-type)" application/octet-stream
	ask 200 -I /acme/key
	equal "$(header content-length)" 4
	ask 204 "${raw_put[@]}" --data-binary new /acme/key
	ask 200 /acme/key
	equal "$(body)" new
	equal "$(header x-larder-created)" '(none)'
	equal "$(header cache-control)" max-age=3600
	ask 204 -X DELETE /acme/key
	ask 404 /acme/key
	ask 204 -X DELETE /acme/key
	ask 404 -I /acme/key
}

@test "json: text, base64, other values, data for value, and times as they were written" {
	serve
	ask 201 "${json_put[@]}" -d '{"value":"snow \u2603 \"q\"\n","ttl":60,"created":1700000000000,"stale":2.25,"hard_end":9700000000000,"flags":7,"x":[]}' /acme/text
	ask 200 /acme/text
	equal "$(body)" '{"value":"snow ☃ \"q\"\n","ttl":60,"created":1700000000000,"stale":2.25,"hard_end":9700000000000,"flags":7}'
	equal "$(header content-type)" application/json
	ask 201 "${json_put[@]}" -d '{"value":"AP8=","encoding":"base64","ttl":0.5}' /acme/bytes
	ask 200 /acme/bytes
	equal "$(body)" '{"value":"AP8=","encoding":"base64","ttl":0.5}'
	ask 201 "${json_put[@]}" -d '{ "data": {"b": [1, 0.10, 12345678901234567890, "x y"], "a": null} }' /acme/object
	ask 200 /acme/object
	equal "$(body)" '{"value":{"b":[1,0.10,12345678901234567890,"x y"],"a":null},"ttl":3600}'
	ask 201 -X PUT -H 'Content-Type: application/json; charset=utf-8' -d '{"\u0076alue": 1.5 }' /acme/number
	ask 200 -H 'Accept: application/octet-stream' /acme/number
	equal "$(body)" 1.5
}

@test "a value goes out in the codec that it came in, or in the one that is asked for" {
	serve
	ask 201 "${json_put[@]}" -d '{"value":"caf\u00e9","ttl":60}' /acme/text
	ask 200 -H 'Accept: text/html, application/octet-stream;q=0.1, */*' /acme/text
	equal "$(body)" café
	equal "$(header vary)" Accept
	raw_tag=$(header etag)
	ask 200 -H 'Accept: application/octet-stream;q=0, */*' /acme/text
	equal "$(body)" '{"value":"café","ttl":60}'
	[ "$(header etag)" != "$raw_tag" ] || fail 'two representations, one tag'
	printf '\377\376' > "$here/value"
	ask 201 "${raw_put[@]}" --data-binary "@$here/value" /acme/bytes
	ask 200 -H 'Accept: application/json' /acme/bytes
	equal "$(body)" '{"value":"//4=","encoding":"base64","ttl":3600}'
	ask 201 "${raw_put[@]}" --data-binary 'plain' /acme/plain
	ask 200 -H 'Accept: application/json' /acme/plain
	equal "$(body)" '{"value":"plain","ttl":3600}'
	ask 200 -H 'Accept: image/png' /acme/plain
	equal "$(body)" plain
}

@test "empty values, and values of 8 MB, in both codecs and in chunks" {
	serve
	: > "$here/empty"
	ask 201 "${raw_put[@]}" --data-binary "@$here/empty" /acme/empty
	ask 200 /acme/empty
	equal "$(header content-length)" 0
	ask 200 -H 'Accept: application/json' /acme/empty
	equal "$(body | json .value)" ''
	ask 201 "${json_put[@]}" -d '{"value":""}' /acme/empty-json
	ask 200 -H 'Accept: application/octet-stream' /acme/empty-json
	equal "$(header content-length)" 0
	head -c 8388608 /dev/urandom > "$here/large"
	ask 201 "${raw_put[@]}" --data-binary "@$here/large" /acme/large
	ask 200 /acme/large
	cmp "$here/large" "$here/body"
	ask 201 "${raw_put[@]}" -H 'Transfer-Encoding: chunked' --data-binary "@$here/large" /acme/chunked
	ask 200 -H 'Accept: application/json' /acme/chunked
	cp "$here/body" "$here/envelope"
	ask 201 "${json_put[@]}" --data-binary "@$here/envelope" /acme/again
	ask 200 -H 'Accept: application/octet-stream' /acme/again
	cmp "$here/large" "$here/body"
}

@test "the tenant is in the path, in the header, or in both" {
	serve
	ask 201 "${raw_put[@]}" -d one -H 'X-Tenant-Id: acme' /key
	ask 200 /acme/key
	equal "$(body)" one
	ask 200 -H 'X-Tenant-Id: acme' /acme/key
	ask 404 /other/key
	ask 400 -H 'X-Tenant-Id: other' /acme/key
	error LARDER_E_USAGE
	ask 400 -H 'X-Tenant-Id: acme' -H 'X-Tenant-Id: other' /key
	error LARDER_E_USAGE
}

@test "a tag that is known is answered with 304, a change of anything with a new tag" {
	serve
	ask 201 "${raw_put[@]}" -H 'X-Larder-Created: 1' -H 'Cache-Control: max-age=50' -d same /acme/key
	ask 200 /acme/key
	tag=$(header etag)
	ask 304 -H "If-None-Match: \"x\", W/$tag" /acme/key
	equal "$(header etag)" "$tag"
	equal "$(header cache-control)" 'max-age=50'
	equal "$(header x-larder-created)" 1
	equal "$(header age)" 0
	equal "$(body)" ''
	ask 304 -I -H "If-None-Match: *" /acme/key
	ask 204 "${raw_put[@]}" -H 'X-Larder-Created: 2' -H 'Cache-Control: max-age=50' -d same /acme/key
	ask 200 -H "If-None-Match: $tag" /acme/key
}

is_old() {
	ask 200 /acme/key
	[ "$(header age)" -ge "$1" ]
}

is_gone() {
	ask 404 "$1"
}

@test "Age grows; what is over its time, stale window or hard end is gone" {
	serve
	ask 201 "${json_put[@]}" -d '{"value":"x","ttl":0.2,"stale":60}' /acme/key
	ask 201 "${json_put[@]}" -d '{"value":"x","ttl":0.2}' /acme/short
	ask 201 "${json_put[@]}" -d "{\"value\":\"x\",\"ttl\":60,\"hard_end\":$(($(date +%s%3N) + 300))}" /acme/hard
	until_true is_gone /acme/short
	until_true is_gone /acme/hard
	until_true is_old 1
	# A write of what is over already takes away what was there.
	ask 201 "${raw_put[@]}" -d x /acme/over
	ask 204 "${raw_put[@]}" -H 'X-Larder-Hard-End: 1' -d y /acme/over
	ask 404 /acme/over
	ask 201 "${raw_put[@]}" -d x /acme/over
	ask 204 "${raw_put[@]}" -H 'Cache-Control: max-age=0' -d y /acme/over
	ask 404 /acme/over
	ask 201 "${raw_put[@]}" -d x /acme/over
	ask 204 "${raw_put[@]}" -H 'Cache-Control: no-store' -d y /acme/over
	ask 404 /acme/over
}

@test "what is malformed is refused with 400, by name" {
	serve
	ask 400 /key
	error LARDER_E_TENANT
	ask 400 /Acme/key
	error LARDER_E_TENANT
	ask 400 "/$(printf 'a%.0s' {1..64})/key"
	error LARDER_E_TENANT
	ask 400 -H 'X-Tenant-Id: a b' /key
	error LARDER_E_TENANT
	ask 400 /acme/
	error LARDER_E_NAME
	ask 400 /acme/a.b
	error LARDER_E_NAME
	ask 400 /acme/a%2Fb
	error LARDER_E_NAME
	ask 400 --path-as-is /acme/../key
	error LARDER_E_NAME
	ask 404 "/acme/$(printf 'K%.0s' {1..256})"
	ask 400 "/acme/$(printf 'K%.0s' {1..257})"
	error LARDER_E_NAME
	for text in '' '[]' '{' '{"ttl":1}' '{"value":"x","encoding":"hex"}' '{"value":"x===","encoding":"base64"}' '{"value":1,"encoding":"base64"}' \
		'{"value":"x","ttl":"1"}' '{"value":"x","flags":4294967296}' '{"value":"x"}{}' $'{"value":"\xff"}'; do
		ask 400 "${json_put[@]}" -d "$text" /acme/key
		error LARDER_E_USAGE
	done
	for text in '{"value":"x","ttl":-1}' '{"value":"x","ttl":315360001}' '{"value":"x","created":-5}'; do
		ask 400 "${json_put[@]}" -d "$text" /acme/key
		error LARDER_E_TTL
	done
	ask 400 "${json_put[@]}" -d "{\"value\":$(printf '[%.0s' {1..3000})" /acme/key
	error LARDER_E_USAGE
	ask 400 "${raw_put[@]}" -H 'Cache-Control: max-age=soon' -d x /acme/key
	error LARDER_E_TTL
	ask 400 "${raw_put[@]}" -H 'X-Larder-Created: yesterday' -d x /acme/key
	error LARDER_E_TTL
	ask 400 "${raw_put[@]}" -H 'X-Larder-Flags: 4294967296' -d x /acme/key
	error LARDER_E_USAGE
	ask 400 "${raw_put[@]}" -H 'Idempotency-Key: a b' -d x /acme/key
	error LARDER_E_USAGE
	ask 404 /acme/key
}

# raw_status HEAD: the status of the answer to a request as it is written here, with printf's escapes.
raw_status() {
	local line
	exec 4<> "/dev/tcp/127.0.0.1/${base##*:}"
	printf "$1" >&4
	IFS= read -r -t 30 line <&4
	exec 4>&-
	echo "${line:9:3}"
}

@test "a path with a NUL is not the path before it" {
	serve
	ask 201 "${raw_put[@]}" -d x /acme/key
	equal "$(raw_status 'GET /acme/key HTTP/1.1\r\nHost: a\r\n\r\n')" 200
	equal "$(raw_status 'GET /acme/key?a=b&c HTTP/1.1\r\nHost: a\r\n\r\n')" 200
	equal "$(raw_status 'GET /acme/key\0 HTTP/1.1\r\nHost: a\r\n\r\n')" 400
	equal "$(raw_status 'GET /acme/key\0more HTTP/1.1\r\nHost: a\r\n\r\n')" 400
	equal "$(raw_status 'GET /acme/key\0?a=b HTTP/1.1\r\nHost: a\r\n\r\n')" 400
	equal "$(raw_status 'GET /acme\0/key HTTP/1.1\r\nHost: a\r\n\r\n')" 400
	equal "$(raw_status 'DELETE /acme/key\0more HTTP/1.1\r\nHost: a\r\n\r\n')" 400
	equal "$(raw_status 'GET /_health\0more HTTP/1.1\r\nHost: a\r\n\r\n')" 400
	equal "$(raw_status 'PUT /acme/key\0more HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\ny')" 400
	ask 400 /acme/key%00
	error LARDER_E_NAME
	ask 400 /acme/key%00more
	error LARDER_E_NAME
	ask 400 '/acme%00/key'
	ask 200 /acme/key
	equal "$(body)" x
}

@test "methods, types, lengths: 405 with Allow, 415, 411, 413" {
	serve --max-value 100000
	ask 405 -X PATCH /acme/key
	error LARDER_E_USAGE
	equal "$(header allow)" 'GET, HEAD, PUT, POST, DELETE'
	ask 405 -X PUT -d x /_health
	equal "$(header allow)" 'GET, HEAD'
	ask 415 -X PUT -H 'Content-Type: text/plain' -d x /acme/key
	error LARDER_E_USAGE
	ask 415 "${raw_put[@]}" -H 'Content-Encoding: gzip' -d x /acme/key
	ask 415 -X POST -H 'Content-Type:' -d x /acme/key
	ask 201 -X PUT -H 'Content-Type:' -d x /acme/typeless
	ask 411 -X PUT /acme/key
	error LARDER_E_USAGE
	head -c 100001 /dev/zero > "$here/large"
	ask 413 -T "$here/large" -H 'Content-Type: application/octet-stream' /acme/key
	error LARDER_E_TOO_LARGE
	ask 413 "${raw_put[@]}" -H 'Expect:' --data-binary "@$here/large" /acme/key
	error LARDER_E_TOO_LARGE
	ask 413 "${raw_put[@]}" -H 'Expect:' -H 'Transfer-Encoding: chunked' --data-binary "@$here/large" /acme/key
	error LARDER_E_TOO_LARGE
	printf '{"value":"%0100001d"}' 0 > "$here/large.json"
	ask 413 "${json_put[@]}" --data-binary "@$here/large.json" /acme/key
	error LARDER_E_TOO_LARGE
	ask 413 -X DELETE -d x /acme/typeless
	ask 200 /acme/typeless
	ask 201 "${raw_put[@]}" --data-binary "@-" /acme/key < <(head -c 100000 /dev/zero)
}

@test "a connection goes on after refusals, and takes requests one behind the other" {
	serve
	run -0 curl -sS -o /dev/null -w '%{http_code} %{num_connects}\n' "${raw_put[@]}" -d x "$base/acme/a.b" --next \
		-sS -o /dev/null -w '%{http_code} %{num_connects}\n' "${raw_put[@]}" -d x "$base/acme/ab" --next \
		-sS -o /dev/null -w '%{http_code} %{num_connects}\n' "$base/acme/ab"
	equal "$output" $'400 1\n201 0\n200 0'
	exec 4<> "/dev/tcp/127.0.0.1/${base##*:}"
	printf 'GET /acme/ab HTTP/1.1\r\nHost: x\r\n\r\nHEAD /acme/none HTTP/1.1\r\nHost: x\r\n\r\nGET /acme/ab HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&4
	equal "$(grep -ao 'HTTP/1.1 [0-9]*' <&4)" $'HTTP/1.1 200\nHTTP/1.1 404\nHTTP/1.1 200'
	exec 4>&-
}

@test "bad messages do not reach the cache, and do not stop the service" {
	serve --idle 1s
	for text in $'\0\1\2\r\n\r\n' $'GET\r\n\r\n' 'PUT /acme/key HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' \
		'PUT /acme/key HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nx' 'PUT /acme/key HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx' \
		"GET /acme/key HTTP/1.1\r\nHost: x\r\nX-Huge: $(printf '%040000d' 0)\r\n\r\n"; do
		exec 4<> "/dev/tcp/127.0.0.1/${base##*:}"
		(printf "$text" >&4) 2> "$here/printf.err" || true
		# Answered with an error, or closed; half a head is closed after the idle time.
		answer=$(timeout 20 head -n 1 <&4 | tr -d '\0\r') || true
		exec 4>&-
		[[ "$answer" =~ ^(HTTP/1\.[01]\ 4[0-9][0-9].*)?$ ]] || fail "answer: $answer"
	done
	ask 404 /acme/key
	stop
}

@test "nothing behind a head that leaves its end open is taken for a request" {
	serve
	ask 201 "${raw_put[@]}" -d x /acme/behind
	for fields in 'Content-Length: 48\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' 'Content-Length: 0\r\nContent-Length: 48\r\n\r\n' \
		'Content-Length: 48\r\nContent-Length: 0\r\n\r\n' 'Transfer-Encoding: identity\r\n\r\n' 'Transfer-Encoding: chunked, identity\r\n\r\n' \
		'Content-Length : 48\r\n\r\n' 'Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n'; do
		exec 4<> "/dev/tcp/127.0.0.1/${base##*:}"
		printf "PUT /acme/key HTTP/1.1\r\nHost: x\r\n${fields}GET /acme/behind HTTP/1.1\r\nHost: x\r\n\r\n" > "$here/message"
		# In one piece, or what comes behind the answer would reset the connection.
		cat "$here/message" >&4
		# To the end of the connection, which is ours to wait for: the service closes it.
		answers=$(timeout 20 cat <&4 2> "$here/cat.err" | grep -ao 'HTTP/1.1 [0-9]*') || fail "not closed after: $fields" "$answers"
		exec 4>&-
		equal "$answers" 'HTTP/1.1 400'
	done
	ask 404 /acme/key
}

@test "a head that drips is cut off" {
	serve --idle 2s
	exec 4<> "/dev/tcp/127.0.0.1/${base##*:}"
	SECONDS=0
	printf 'GET /acme/key HTTP/1.1\r\nHost: x\r\n' >&4
	# A field now and then, never as far apart as the idle time, for as long as the other side takes it.
	while [ "$SECONDS" -lt 30 ] && (printf 'X: y\r\n' >&4) 2> "$here/printf.err"; do
		timeout 0.2 cat <&4 > "$here/drip" && break
	done
	exec 4>&-
	between "$SECONDS" 4 20
}

@test "with a token file only its bearer is served, but for health" {
	printf 'a-token-of-some-length\n' > "$here/token"
	serve --token-file "$here/token"
	ask 401 /acme/key
	error LARDER_E_REFUSED
	equal "$(header www-authenticate)" Bearer
	for wrong in 'a-token-of-some-lengt' 'a-token-of-some-lengthh' 'b-token-of-some-length' ''; do
		ask 401 -H "Authorization: Bearer $wrong" /acme/key
	done
	ask 401 -H 'Authorization: Basic a-token-of-some-length' /acme/key
	ask 401 /_metrics
	ask 401 "${raw_put[@]}" -d x /acme/key
	ask 404 -H 'Authorization: Bearer a-token-of-some-length' /acme/key
	ask 200 /_health
	stop
	chmod 644 "$here/token"
	exits 1 "$L2D" --dir "$here/other" --listen 127.0.0.1:0 --token-file "$here/token"
	contains "$stderr" 'readable by others'
}

@test "a tenant over its rate gets 429 and the time to wait; another does not" {
	serve --rate 1 --burst 3
	# In one go, so that a slow machine does not earn it more than a few.
	curl -sS -D "$here/head" -o "$here/body" -w '%{http_code}\n' "$base/acme/key?[1-100]" > "$here/codes"
	equal "$(head -n 3 "$here/codes" | sort -u)" 404
	between "$(grep -c '^429$' "$here/codes")" 50 97
	equal "$(tail -n 1 "$here/codes")" 429
	error LARDER_E_LIMIT
	between "$(header retry-after)" 1 2
	ask 404 /other/key
}

both_workers_answered() {
	"$@"
	grep -q 'event=request.*worker=0 method=PUT' "$here/l2d.err" && grep -q 'event=request.*worker=1 method=PUT' "$here/l2d.err"
}

@test "a repeated write is answered as the first was, by any worker, and takes effect once" {
	serve --workers 2 --log
	key='Idempotency-Key: 0123456789abcdef0123456789abcdef'
	ask 201 "${raw_put[@]}" -H "$key" -d first /acme/key
	ask 204 "${raw_put[@]}" -d second /acme/key
	until_true both_workers_answered ask 201 "${raw_put[@]}" -H "$key" -d first /acme/key
	ask 200 /acme/key
	equal "$(body)" second
	[ "$(metric larder_l2d_repeats_total)" -ge 1 ]
	# Of another key, tenant or method it is another write.
	ask 201 "${raw_put[@]}" -H "$key" -d x /acme/other-key
	ask 201 "${raw_put[@]}" -H "$key" -d x /other/key
	ask 204 -X DELETE -H "$key" /acme/key
	ask 201 "${raw_put[@]}" -d third /acme/key
	ask 204 -X DELETE -H "$key" /acme/key
	ask 200 /acme/key
	# What was refused is not remembered.
	ask 400 "${json_put[@]}" -H "$key" -d '{}' /acme/key
	ask 204 "${json_put[@]}" -H "$key" -d '{"value":"fourth"}' /acme/key
}

@test "repeats at the same time: all are answered alike, one takes effect" {
	serve --workers 4
	for round in 1 2 3 4 5; do
		curl -sS --parallel --parallel-immediate --parallel-max 20 -o /dev/null -w '%{http_code}\n' "${raw_put[@]}" -H 'Connection: close' \
			-H "Idempotency-Key: round-$round" -d x "$base/acme/key-$round?[1-20]" > "$here/codes"
		equal "$(sort "$here/codes" | uniq -c | tr -s ' ')" ' 20 201'
	done
	equal "$(metric larder_l2d_repeats_total)" 95
}

@test "health writes, reads and deletes; metrics count by method and status over all workers" {
	serve --workers 3
	ask 200 /_health
	equal "$(body | json .status)" up
	ask 200 -I /_health
	for i in {1..10}; do
		ask 404 /acme/key
	done
	ask 201 "${raw_put[@]}" -d 12345 /acme/key
	ask 200 /acme/key
	equal "$(metric 'larder_l2d_requests_total{method="GET",status="404"}')" 10
	equal "$(metric 'larder_l2d_requests_total{method="PUT",status="201"}')" 1
	equal "$(metric larder_l2d_body_bytes_in_total)" 5
	equal "$(metric larder_l2d_workers)" 3
	equal "$(metric larder_entries)" 1
	between "$(metric larder_sets_total)" 2 4
}

@test "an outage is 503 with Retry-After, not a miss" {
	serve --workers 1
	ask 201 "${raw_put[@]}" -d x /acme/key
	"$LARDER" off --dir "$here/l2d" --name l2d > /dev/null
	ask 503 "${raw_put[@]}" -d y /acme/key
	error LARDER_UNAVAILABLE
	equal "$(header retry-after)" 1
	ask 503 "${raw_put[@]}" -H 'Idempotency-Key: one' -d y /acme/key
	error LARDER_E_BUSY
	ask 503 /_health
	equal "$(body | json .status)" down
	"$LARDER" on --dir "$here/l2d" --name l2d > /dev/null
	ask 201 "${raw_put[@]}" -H 'Idempotency-Key: one' -d y /acme/key
	ask 200 /_health
}

has_lines() {
	[ "$(wc -l < "$1")" -ge "$2" ]
}

@test "workers killed under load are replaced, and a kill fails one request at most" {
	serve --workers 2
	ask 201 "${raw_put[@]}" -d x /acme/key
	curl -sS -o /dev/null -w '%{http_code}\n' -H 'Connection: close' "$base/acme/key?[1-3000]" > "$here/codes" 2> "$here/errors" 3>&- &
	load_pid=$!
	background_pids="${background_pids:-} $load_pid"
	for kills in 1 2 3; do
		victim=$(workers | head -n 1)
		until_true has_lines "$here/codes" $((kills * 100))
		kill -KILL "$victim"
		until_true has_workers 2
	done
	wait "$load_pid" || true
	equal "$(wc -l < "$here/codes")" 3000
	between "$(grep -vc '^200$' "$here/codes")" 0 3
	equal "$(metric larder_l2d_worker_restarts_total)" 3
	[ "$(grep -c 'event=worker_died' "$here/l2d.err")" -eq 3 ]
}

@test "a stop finishes what runs, refuses what is new, and leaves nothing running" {
	serve --workers 2
	head -c 600000 /dev/urandom > "$here/value"
	curl -sS -m 60 --limit-rate 200K -H 'Expect:' -o /dev/null -w '%{http_code}' -T "$here/value" "$base/acme/key" > "$here/code" 2>&1 3>&- &
	upload=$!
	background_pids="${background_pids:-} $upload"
	until_true bytes_in_above 1000
	pids=$(workers)
	kill -TERM "$served_pid"
	until_true sh -c '! curl -s -o /dev/null "$0/_health"' "$base"
	ends "$upload" 0
	equal "$(cat "$here/code")" 201
	ends "$served_pid" 0
	for pid in $pids; do
		! kill -0 "$pid" 2> "$here/kill.err" || fail "worker $pid still runs"
	done
	serve
	ask 200 /acme/key
	cmp "$here/value" "$here/body"
}

@test "what does not end in time is cut off" {
	serve --drain-ms 300
	head -c 600000 /dev/urandom > "$here/value"
	curl -sS -m 60 --limit-rate 50K -H 'Expect:' -T "$here/value" "$base/acme/key" > "$here/code" 2>&1 3>&- &
	upload=$!
	background_pids="${background_pids:-} $upload"
	until_true bytes_in_above 1000
	stop
	run wait "$upload"
	[ "$status" -ne 0 ]
	contains "$(cat "$here/l2d.err")" 'event=drain_cut_off'
}

no_worker() {
	local pid
	for pid in $pids; do
		! kill -0 "$pid" || return 1
	done
}

@test "when the master is killed its workers go with it, and the next one can start at once" {
	serve --workers 3
	ask 201 "${raw_put[@]}" -d x /acme/key
	pids=$(workers)
	kill -KILL "$served_pid"
	serve
	ask 200 /acme/key
	until_true no_worker
}

@test "SIGHUP changes nothing; entries outlive a restart on the same directory" {
	serve
	ask 201 "${raw_put[@]}" -H 'Idempotency-Key: once' -d kept /acme/key
	kill -HUP "$served_pid" $(workers)
	ask 200 /acme/key
	stop
	serve
	ask 200 /acme/key
	equal "$(body)" kept
	# So does the memory of writes.
	ask 204 "${raw_put[@]}" -d newer /acme/key
	ask 201 "${raw_put[@]}" -H 'Idempotency-Key: once' -d kept /acme/key
	ask 200 /acme/key
	equal "$(body)" newer
}

@test "a port or directory that is in use is an error at the start" {
	serve
	exits 1 "$L2D" --dir "$here/other" --listen "127.0.0.1:${base##*:}"
	contains "$stderr" 'Address already in use'
	exits 1 "$L2D" --dir "$here/l2d" --listen 127.0.0.1:0
	contains "$stderr" 'another larder-l2d has this directory'
	ask 200 /_health
}

@test "ccache keeps its results in it, and another ccache finds them" {
	command -v ccache > /dev/null && command -v gcc > /dev/null || skip 'ccache or gcc is not installed'
	serve
	cd "$here"
	printf 'int answer(void)\n{\n\treturn 42;\n}\n' > unit.c
	export CCACHE_REMOTE_STORAGE="$base/ccache|layout=flat" CCACHE_NOHASHDIR=1
	CCACHE_DIR=$here/one ccache gcc -c unit.c -o one.o
	CCACHE_DIR=$here/two ccache gcc -c unit.c -o two.o
	cmp one.o two.o
	exits 0 env CCACHE_DIR="$here/two" ccache --print-stats
	contains "$output" $'remote_storage_hit\t1'
	contains "$output" $'remote_storage_error\t0'
	equal "$(metric 'larder_l2d_requests_total{method="PUT",status="201"}')" 2
}

@test "a Unix socket: served by all workers, removed at the end, taken over from one that was killed" {
	socket=$here/socket
	start l2d "$L2D" --dir "$here/l2d" --listen "unix:$socket" --workers 2
	served_pid=$started_pid
	base=http://unix
	until_true test -S "$socket"
	ask 201 --unix-socket "$socket" "${raw_put[@]}" -d x /acme/key
	exits 1 "$L2D" --dir "$here/other" --listen "unix:$socket"
	contains "$stderr" 'Address already in use'
	kill -KILL "$served_pid"
	start l2d "$L2D" --dir "$here/l2d" --listen "unix:$socket" --workers 2
	served_pid=$started_pid
	until_true ask 200 --unix-socket "$socket" /acme/key
	stop
	[ ! -e "$socket" ]
}

@test "a secret is made where none is given, and nobody else can read it" {
	unset LARDER_SECRET_FILE
	serve
	equal "$(stat -c %a "$here/l2d/secret")" 600
	ask 201 "${raw_put[@]}" -d x /acme/key
	stop
	serve
	ask 200 /acme/key
}

@test "settings of the environment are not the service's" {
	export LARDER_DIR=$here/elsewhere LARDER_ENABLED=0
	serve
	ask 201 "${raw_put[@]}" -d x /acme/key
	ask 200 /acme/key
	[ ! -e "$here/elsewhere" ]
	stop
	exits 1 "$L2D" --dir "$here/other" --listen 127.0.0.1:0 --set SIZE=1
	contains "$stderr" SIZE
}

@test "the largest value goes by the size of the cache, if nothing else is said" {
	for size in '--size 8M' '--set SIZE=8M'; do
		# shellcheck disable=SC2086
		serve $size
		head -c 2096960 /dev/zero > "$here/value"
		ask 201 "${raw_put[@]}" --data-binary "@$here/value" /acme/key
		ask 200 /acme/key
		cmp "$here/value" "$here/body"
		head -c 2096961 /dev/zero > "$here/value"
		ask 413 "${raw_put[@]}" --data-binary "@$here/value" /acme/key
		error LARDER_E_TOO_LARGE
		stop
		rm -r "$here/l2d"
	done
}

# refused CODE TEXT OPTION...: it does not start, and says so in the user's words.
refused() {
	local code=$1 text=$2
	shift 2
	exits "$code" "$L2D" --dir "$here/other" --listen 127.0.0.1:0 "$@"
	contains "$stderr" "$text"
	lacks "$stderr" LARDER_
}

@test "a complaint about an option has its name" {
	unset LARDER_SECRET_FILE
	refused 2 '--max-value 8388608: more than a quarter of --size 32M less 192 bytes, allowed 1..8388416' --size 32M --max-value 8M
	refused 2 '--max-value 9000000: more than a quarter of --set SIZE=32M less 192 bytes, allowed 1..8388416' --size 1G --set SIZE=32M --max-value 9000000
	refused 1 ' --size 1: out of range, allowed 1M..1T' --size 1
	refused 1 ' --size lots: not a size' --size lots
	refused 1 ' --set SIZE=1: out of range' --set SIZE=1
	refused 1 ' --set MAX_VALUE=100M: more than a quarter of --size 256M' --set MAX_VALUE=100M
	refused 1 " --secret-file $here/none: there is no such file" --secret-file "$here/none"
	chmod 644 "$here/other/secret"
	refused 1 " $here/other/secret: readable by others" --size 32M
	LARDER_SECRET_FILE=$here/none exits 1 "$L2D" --dir "$here/other" --listen 127.0.0.1:0
	contains "$stderr" " LARDER_SECRET_FILE=$here/none: there is no such file"
}

@test "no name, value or tenant is in the log" {
	serve --log
	ask 201 "${raw_put[@]}" -H 'X-Request-Id: request-17' -d secret-value /tenant-name/key-name
	ask 200 /tenant-name/key-name
	stop
	log=$(cat "$here/l2d.err")
	contains "$log" 'request_id=request-17'
	lacks "$log" secret-value
	lacks "$log" tenant-name
	lacks "$log" key-name
}

@test "the command line: help, version, and what it does not take" {
	exits 0 "$L2D" --help
	contains "$output" '--listen WHERE'
	exits 0 "$L2D" --version
	contains "$output" 'larder-l2d '
	exits 2 "$L2D"
	contains "$stderr" '--dir'
	exits 2 "$L2D" --dir "$here/l2d" extra
	for wrong in '--workers 0' '--workers x' '--max-value 8Q' '--ttl 0' '--idle 500ms' '--set SIZE' '--nothing'; do
		# shellcheck disable=SC2086
		exits 2 "$L2D" --dir "$here/l2d" $wrong
	done
	exits 1 "$L2D" --dir "$here/l2d" --listen nowhere
	[ ! -e "$here/l2d" ]
}

@test "a umask that leaves nothing: directory, lock and secret have their modes, and it starts again" {
	for round in 1 2; do
		rm -f "$BATS_TEST_TMPDIR/port"
		start masked bash -c 'umask 0777; exec "$@"' - env -u LARDER_DIR -u LARDER_SECRET_FILE "$L2D" --dir "$BATS_TEST_TMPDIR/masked" \
			--size 64M --listen 127.0.0.1:0 --port-file "$BATS_TEST_TMPDIR/port"
		until_true test -s "$BATS_TEST_TMPDIR/port"
		equal "$(stat -c %a "$BATS_TEST_TMPDIR/masked")" 700
		for file in l2d.lock secret l2d.seg; do
			equal "$(stat -c %a "$BATS_TEST_TMPDIR/masked/$file")" 600
		done
		kill -TERM "$started_pid"
		ends "$started_pid" 0
	done
}
