# SPDX-License-Identifier: MIT
# Who may include whom, and who may speak to which library: the tables are tests/lint/layers.table and tests/lint/foreign.table.

. "$top_srcdir/tests/lib/tap.sh"
cd "$top_srcdir" || exit 99
tables=tests/lint

# What all rules ask of the sources, read once, a line each:  include FILE KIND PATH  and  code FILE:NUMBER:TEXT , the text without its comments and string
# constants. An include is an include wherever it stands, in a comment too.
sources=$(find src tools include -type f \( -name '*.c' -o -name '*.h' \) | LC_ALL=C sort)
# shellcheck disable=SC2086
facts=$(LC_ALL=C awk '
	FNR == 1 { inside = 0 }
	/^[ \t]*#[ \t]*include[ \t]*["<]/ {
		path = $0
		sub(/^[ \t]*#[ \t]*include[ \t]*/, "", path)
		kind = substr(path, 1, 1) == "<" ? "angled" : "quoted"
		end = index(substr(path, 2), kind == "angled" ? ">" : "\"")
		if (end)
			print "include", FILENAME, kind, substr(path, 2, end - 1)
	}
	{
		line = $0; out = ""
		while (line != "") {
			if (inside) {
				at = index(line, "*/")
				if (!at) break
				inside = 0; line = substr(line, at + 2); continue
			}
			if (match(line, /"([^"\\]|\\.)*"|\/\*|\/\/.*/)) {
				token = substr(line, RSTART, RLENGTH)
				out = out substr(line, 1, RSTART - 1)
				line = substr(line, RSTART + RLENGTH)
				if (token == "/*") inside = 1
				continue
			}
			out = out line; line = ""
		}
		if (out != "")
			print "code", FILENAME ":" FNR ":" out
	}' $sources) || exit 99

includes=$(printf '%s\n' "$facts" | sed -n 's/^include //p')
code=$(printf '%s\n' "$facts" | sed -n 's/^code //p')
# Where nothing was read, nothing would be found.
[ -n "$includes" ] && [ -n "$code" ] || exit 99

# judge_layer LAYER ALLOWED: of the files of this very directory, what they may not include.
judge_layer() {
	# shellcheck disable=SC2086
	printf '%s\n' "$includes" | awk -v layer="$1" -v allowed=" $1 $2 " -v files="$(echo $sources)" '
		BEGIN {
			n = split(files, names, " ")
			for (i = 1; i <= n; i++)
				is_file[names[i]] = 1
		}
		{
			file = $1; kind = $2; path = $0
			sub(/^[^ ]* [^ ]* /, "", path)
			place = file
			sub(/\/[^\/]*$/, "", place)
			if (place != layer)
				next
			if (kind == "angled") {
				if (index(path, ".."))
					print file ": <" path "> leaves its place"
				next
			}
			target = (layer ~ /^src\// ? "src/" : layer "/") path
			place = target
			sub(/\/[^\/]*$/, "", place)
			# Lists of rows (.def) are included, too, and are no sources.
			if (!(target in is_file) && (getline line < target) < 0)
				print file ": \"" path "\" is no file of its layer; paths are relative to src/, in tools to their own directory"
			else if (!index(allowed, " " place " "))
				print file ": may not include \"" path "\""
			close(target)
		}'
}

# owners_out OWNERS: what begins with no owner's path.
owners_out() {
	awk -v owners="$1" 'BEGIN { n = split(owners, owner, ",") } { for (i = 1; i <= n; i++) if (index($0, owner[i]) == 1) next; print }'
}

# judge_foreign HEADER OWNERS TYPES: comments may speak of a library, code may not. An owner's header that others include may not either.
judge_foreign() {
	printf '%s\n' "$includes" | owners_out "$2" | grep -E " (angled|quoted) $1" | sed 's/ /: includes /'
	printf '%s\n' "$code" | owners_out "$2" | grep -E "^[^:]*:[0-9]*:.*($3)"
}

while IFS=: read -r layer allowed; do
	case $layer in
	'' | '#'*) continue ;;
	esac
	[ -d "$layer" ] || continue
	nothing "$layer includes only what it may" "$(judge_layer "$layer" "$allowed")"
done < "$tables/layers.table"

nothing 'every directory with code has a row' "$(printf '%s\n' "$sources" | sed -n '/^include\//d; s|/[^/]*$||p' | sort -u | while read -r dir; do
	grep -q "^$dir:" "$tables/layers.table" || echo "$dir"
done)"

while read -r header owners types; do
	case $header in
	'' | '#'*) continue ;;
	esac
	nothing "$header is spoken to by its owner alone" "$(judge_foreign "$header" "$owners" "$types")"
done < "$tables/foreign.table"

# A header of an owner that another layer includes is a contract without the library's types.
shared=$(printf '%s\n' "$includes" | sed -n '/^src\/l1\//d; s/^src\/[^ ]* quoted \(l1\/[^ ]*\.h\)$/src\/\1:/p' | sort -u)
nothing 'no header that others include shows a type of LMDB' "$(printf '%s\n' "$code" | grep -F "${shared:-none}" |
	grep -E '^src/l1/[^:]*\.h:[0-9]*:.*(\b(MDB_|mdb_)|lmdb\.h)')"
nothing 'no header of src/crypto shows a type of OpenSSL' "$(printf '%s\n' "$code" |
	grep -E '^src/crypto/[^:]*\.h:[0-9]*:.*(\b(EVP_|SHA256_|HMAC_CTX)|openssl/)')"
finish
