# SPDX-License-Identifier: MIT
# Who may include whom, and who may speak to which library: the tables are tests/lint/layers.table and tests/lint/foreign.table.

. "$top_srcdir/tests/lib/tap.sh"
cd "$top_srcdir" || exit 99
tables=tests/lint

sources_of() {
	find "$1" -maxdepth 1 -type f \( -name '*.c' -o -name '*.h' \) | sort
}

# Print every include of FILE as `kind path`: quoted or angled.
includes_of() {
	sed -n 's/^[ 	]*#[ 	]*include[ 	]*"\([^"]*\)".*/quoted \1/p
		s/^[ 	]*#[ 	]*include[ 	]*<\([^>]*\)>.*/angled \1/p' "$1"
}

# judge_include FILE OWN ALLOWED KIND PATH: print what is wrong, or nothing.
judge_include() {
	if [ "$4" = angled ]; then
		case $5 in
		*..*) echo "$1: <$5> leaves its place" ;;
		esac
		return
	fi
	case $2 in
	src/*) target=src/$5 ;;
	*) target=$2/$5 ;;
	esac
	if [ ! -f "$target" ]; then
		echo "$1: \"$5\" is no file of its layer; paths are relative to src/, in tools to their own directory"
		return
	fi
	for layer in "$2" $3; do
		[ "${target%/*}" != "$layer" ] || return 0
	done
	echo "$1: may not include \"$5\""
}

judge_layer() {
	sources_of "$1" | while read -r file; do
		includes_of "$file" | while read -r kind path; do
			judge_include "$file" "$1" "$2" "$kind" "$path"
		done
	done
}

# is_owner FILE OWNERS
is_owner() {
	for owner in $(echo "$2" | tr ',' ' '); do
		case $1 in
		"$owner"*) return 0 ;;
		esac
	done
	return 1
}

# judge_foreign HEADER OWNERS TYPES: comments may speak of a library, code may not. An owner's header that others include may not either.
judge_foreign() {
	find src tools include -type f \( -name '*.c' -o -name '*.h' \) | sort | while read -r file; do
		is_owner "$file" "$2" && continue
		includes_of "$file" | grep -E "^(angled|quoted) $1" | sed "s|^|$file: includes |"
		code_of "$file" | grep -nE "$3" | sed "s|^|$file:|"
	done
}

# The code without its comments and string constants; lines keep their numbers.
code_of() {
	awk '{
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
		print out
	}' "$1"
}

while IFS=: read -r layer allowed; do
	case $layer in
	'' | '#'*) continue ;;
	esac
	[ -d "$layer" ] || continue
	nothing "$layer includes only what it may" "$(judge_layer "$layer" "$allowed")"
done < "$tables/layers.table"

nothing 'every directory with code has a row' "$(find src tools -type f -name '*.[ch]' | sed 's|/[^/]*$||' | sort -u | while read -r dir; do
	grep -q "^$dir:" "$tables/layers.table" || echo "$dir"
done)"

while read -r header owners types; do
	case $header in
	'' | '#'*) continue ;;
	esac
	nothing "$header is spoken to by its owner alone" "$(judge_foreign "$header" "$owners" "$types")"
done < "$tables/foreign.table"

# A header of an owner that another layer includes is a contract without the library's types.
nothing 'no header that others include shows a type of LMDB' "$(for header in $(find src/l1 -name '*.h' | sort); do
	[ -n "$(grep -lF "\"${header#src/}\"" $(find src -type f -name '*.c' ! -path 'src/l1/*'))" ] || continue
	code_of "$header" | grep -nE '\b(MDB_|mdb_)|lmdb\.h' | sed "s|^|$header:|"
done)"
nothing 'no header of src/crypto shows a type of OpenSSL' "$(for header in $(find src/crypto -name '*.h' | sort); do
	code_of "$header" | grep -nE '\b(EVP_|SHA256_|HMAC_CTX)|openssl/' | sed "s|^|$header:|"
done)"
finish
