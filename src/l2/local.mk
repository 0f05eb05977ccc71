# SPDX-License-Identifier: MIT
# The second level: HTTP, the only user of libcurl; wire codecs and texts of headers; the client, which puts them behind the breaker; the teller.

larder_sources += \
	src/l2/base64.c src/l2/base64.h src/l2/client.c src/l2/client.h src/l2/client_inside.h src/l2/client_many.c \
	src/l2/client_request.c src/l2/codec.c src/l2/codec.h src/l2/codec_inside.h src/l2/codec_json.c \
	src/l2/codec_json_quick.c src/l2/codec_json_write.c src/l2/codec_raw.c src/l2/drain.c src/l2/drain.h \
	src/l2/drain_inside.h src/l2/drain_wait.c src/l2/http.c src/l2/http.h src/l2/http_answer.c src/l2/http_call.c \
	src/l2/http_config.c src/l2/http_date.c src/l2/http_flight.c src/l2/http_inside.h src/l2/http_pool.c \
	src/l2/http_request.c src/l2/http_text.c src/l2/http_text.h src/l2/http_token.c src/l2/passage.c
