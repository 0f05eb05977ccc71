# SPDX-License-Identifier: MIT
# Makes the table of larder(5) from cache/settings.def, the one declaration of each setting:
#
#   awk -f settings-man.awk -v frame=larder.5.in settings.def > larder.5
#
# The line @SETTINGS@ of the frame is replaced. A row that cannot be read ends the run with an error, so that no setting is lost.

function fail(what) {
	printf "settings-man.awk: line %d: %s\n", FNR, what > "/dev/stderr"
	failed = 1
	exit 1
}

# Cut the arguments of LD_SETTING(...) at the commas outside of quotes, into argument[1..]; returns how many.
function cut(row,    i, c, n, quoted) {
	split("", argument)
	n = 1
	for (i = 1; i <= length(row); i++) {
		c = substr(row, i, 1)
		if (c == "\\") {
			argument[n] = argument[n] substr(row, ++i, 1)
		} else if (c == "\"") {
			quoted = !quoted
		} else if (c == "," && !quoted) {
			n++
		} else if (c == " " && !quoted && argument[n] == "") {
			continue
		} else {
			argument[n] = argument[n] c
		}
	}
	return quoted ? 0 : n
}

# A number with the largest unit that divides it; the units are "factor name ..." from the largest on.
function scaled(number, units,    part, n, i) {
	n = split(units, part, " ")
	for (i = 1; i < n; i += 2)
		if (number != 0 && number % part[i] == 0)
			return sprintf("%.0f%s", number / part[i], part[i + 1])
	return sprintf("%.0f", number)
}

function amount(type, number) {
	if (type == "LD_SIZE")
		return scaled(number, "1099511627776 T 1073741824 G 1048576 M 1024 K")
	if (type == "LD_TIME")
		return scaled(number, "86400000 d 3600000 h 60000 m 1000 s 1 ms")
	if (type == "LD_RATE")
		return sprintf("%.10g", number / 1000000000)
	if (type == "LD_DECIMAL")
		return sprintf("%.10g", number / 100)
	return sprintf("%.0f%s", number, type == "LD_PERCENT" ? "%" : "")
}

# Protect what roff would take for a request: a dot or a quote at the beginning of a line.
function protect(word) {
	return word ~ /^[.']/ ? "\\&" word : word
}

# Every sentence on a line of its own, cut before column 80.
function lines(text,    word, n, i, line, out) {
	gsub(/\\/, "\\e", text)
	n = split(text, word, " ")
	for (i = 1; i <= n; i++) {
		if (line != "" && (line ~ /\.$/ || length(line) + length(word[i]) > 77)) {
			out = out line "\n"
			line = ""
		}
		line = line == "" ? protect(word[i]) : line " " word[i]
	}
	return out line
}

function tell(    type, kind, bounds) {
	type = argument[2]
	if (!(type in kinds))
		fail("unknown type " type)
	kind = kinds[type]
	if (type == "LD_CHOICE") {
		bounds = argument[6]
		gsub(/\|/, ", ", bounds)
	} else if (type == "LD_FLAG") {
		bounds = "0 or 1"
	} else if (type == "LD_PATH" || type == "LD_DIRECTORY" || type == "LD_LINE" || type == "LD_TEXT" || type == "LD_SECRET_TEXT") {
		bounds = sprintf("%.0f to %.0f bytes", argument[3], argument[4])
	} else {
		bounds = (type == "LD_RATE" ? "0, or " : "") amount(type, argument[3]) " to " amount(type, argument[4])
	}
	printf ".It Ev LARDER_%s\n", argument[1]
	printf "%s\n.br\n%s: %s", lines(argument[7]), kind, bounds
	printf "%s.\n", argument[5] == "" ? "" : "; default: " argument[5]
}

BEGIN {
	kinds["LD_SIZE"] = "Size"
	kinds["LD_TIME"] = "Time"
	kinds["LD_NUMBER"] = "Number"
	kinds["LD_PERCENT"] = "Percent"
	kinds["LD_RATE"] = "Rate"
	kinds["LD_DECIMAL"] = "Decimal"
	kinds["LD_FLAG"] = "Flag"
	kinds["LD_CHOICE"] = "One of"
	kinds["LD_PATH"] = kinds["LD_DIRECTORY"] = "Path"
	kinds["LD_LINE"] = kinds["LD_TEXT"] = "Text"
	kinds["LD_SECRET_TEXT"] = "Text"
	while ((got = (getline line < frame)) > 0 && line != "@SETTINGS@")
		print line
	if (got <= 0)
		fail("no line @SETTINGS@ in " frame)
}

# A row may go on over several lines, up to the one that ends in a parenthesis.
/^LD_SETTING\(/ {
	row = ""
	inside = 1
}

inside {
	sub(/^[ \t]+/, "")
	row = row $0 " "
}

inside && /\)[ \t]*$/ {
	sub(/^LD_SETTING\(/, "", row)
	sub(/\)[ \t]*$/, "", row)
	if (cut(row) != 7)
		fail("not a row of seven arguments")
	tell()
	rows++
	inside = 0
}

END {
	if (failed)
		exit 1
	if (inside)
		fail("a row without an end")
	if (!rows)
		fail("no settings at all")
	while ((getline line < frame) > 0)
		print line
}
