# SPDX-License-Identifier: MIT
# The second level: wire codecs and texts of HTTP headers.

larder_sources += \
	src/l2/base64.c src/l2/base64.h src/l2/codec.c src/l2/codec.h src/l2/codec_inside.h src/l2/codec_json.c src/l2/codec_raw.c \
	src/l2/http_date.c src/l2/http_text.c src/l2/http_text.h
