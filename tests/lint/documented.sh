# SPDX-License-Identifier: MIT
# Every setting is in larder(5), every verb in larder(1), every public call in liblarder(3), and the pages are sound.

. "$top_srcdir/tests/lib/tap.sh"
settings=$top_srcdir/src/cache/settings.def
verbs=$top_srcdir/tools/larder/verbs.def
page1=$top_srcdir/tools/larder/larder.1
page3=$top_srcdir/src/cache/liblarder.3
page5=$top_builddir/src/cache/larder.5
page8=$top_srcdir/tools/l2d/larder-l2d.8

rows=$(sed -n 's/^LD_SETTING(\([A-Z0-9_]*\),.*/\1/p' "$settings")
if [ -n "$rows" ]; then
	ok 'there are settings'
else
	not_ok 'there are settings' "$settings has no row"
fi
nothing 'every setting is in larder(5), once' "$(for id in $rows; do
	[ "$(grep -c "^\.It Ev LARDER_$id\$" "$page5")" = 1 ] || echo "LARDER_$id"
done)"
nothing 'every setting is in the README' "$(for id in $rows; do
	grep -q "^| \`LARDER_$id\` |" "$top_srcdir/README.md" || echo "LARDER_$id"
done)"
nothing 'larder(5) has no other setting' "$(sed -n 's/^\.It Ev LARDER_\(.*\)/\1/p' "$page5" | while read -r id; do
	echo "$rows" | grep -qx "$id" || echo "LARDER_$id"
done)"

rows=$(sed -n 's/^VERB(\([a-z0-9_]*\),.*/\1/p' "$verbs")
if [ -n "$rows" ]; then
	ok 'there are verbs'
else
	not_ok 'there are verbs' "$verbs has no row"
fi
nothing 'every verb is in larder(1)' "$(for verb in $rows; do
	grep -qE "^\.(It|Ss|Sh)( (Cm|Ic|Nm larder|Nm|Fl|Xo))* $verb( |\$)" "$page1" || echo "$verb"
done)"

rows=$(sed -n 's/^		{ "\([a-z-]*\)", OPTION_.*/\1/p' "$top_srcdir/tools/l2d/options.c")
if [ -n "$rows" ]; then
	ok 'there are options of larder-l2d'
else
	not_ok 'there are options of larder-l2d' 'its table has no row'
fi
nothing 'every option of larder-l2d is in larder-l2d(8)' "$(for option in $rows; do
	grep -qE "^\.It Fl -$option( |\$)" "$page8" || echo "$option"
done)"

nothing 'every public call is in liblarder(3)' "$(while read -r call; do
	grep -qE "Fn $call( |\$)" "$page3" || echo "$call"
done < "$top_srcdir/tests/lint/exported-symbols")"
nothing 'every setting that a page or the README names exists' \
	"$(cat "$page1" "$page3" "$page5" "$page8" "$top_srcdir/README.md" 2>/dev/null | grep -oE '\bLARDER_[A-Z0-9_]+\b' | sort -u | while read -r name; do
	grep -qE "^LD_SETTING\(${name#LARDER_}," "$settings" && continue
	grep -qwE "$name" "$top_srcdir"/include/larder/*.h && continue
	case $name in
	LARDER_ | LARDER_X | LARDER_TEST_*) continue ;;
	esac
	echo "$name"
done)"

# check_page PAGE NAME
check_page() {
	if command -v mandoc > /dev/null; then
		# Warnings only: a style remark depends on which other pages are installed.
		nothing "$2 is a sound page" "$(mandoc -Tlint -Wwarning "$1" 2>&1 | grep -v 'outdated mandoc.db')"
	elif command -v man > /dev/null && command -v groff > /dev/null; then
		nothing "$2 is a sound page" "$(MANROFFSEQ= man --warnings -E UTF-8 -l "$1" 2>&1 > /dev/null)"
	else
		skip "$2 is a sound page" 'neither mandoc nor man is installed'
	fi
}
check_page "$page1" 'larder(1)'
check_page "$page3" 'liblarder(3)'
check_page "$page5" 'larder(5)'
check_page "$page8" 'larder-l2d(8)'

header=$top_srcdir/include/larder/larder.h
declared=$(sed -n 's/^#define LARDER_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\)$/\2/p' "$header" | tr '\n' '.')
if [ "$declared" = "$PACKAGE_VERSION." ]; then
	ok 'the header has the version of the package'
else
	not_ok 'the header has the version of the package' "header $declared package $PACKAGE_VERSION."
fi
finish
