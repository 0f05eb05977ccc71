# SPDX-License-Identifier: MIT
# The second level: wire codecs and texts of HTTP headers.

larder_sources += \
	src/l2/base64.c src/l2/base64.h src/l2/codec.c src/l2/codec.h src/l2/codec_inside.h src/l2/codec_json.c src/l2/codec_raw.c \
	src/l2/http_date.c src/l2/http_text.c src/l2/http_text.h
# The second level: the HTTP client, the only user of libcurl.

larder_sources += \
	src/l2/http.c src/l2/http.h src/l2/http_answer.c src/l2/http_call.c src/l2/http_config.c src/l2/http_inside.h \
	src/l2/http_pool.c src/l2/http_request.c src/l2/http_token.c
