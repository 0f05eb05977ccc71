# SPDX-License-Identifier: MIT
# Key derivation, hashing, secrets; the only user of OpenSSL.

larder_sources += \
	src/crypto/hash.c src/crypto/hash_avx2.c src/crypto/hash_avx2.h src/crypto/hash.h src/crypto/key.c src/crypto/key.h src/crypto/locked.c src/crypto/locked.h \
	src/crypto/secret.c src/crypto/secret.h
