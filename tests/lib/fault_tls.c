/* SPDX-License-Identifier: MIT */
/*
 * Certificates for the fault server, and its end of TLS.
 */
#include "fault_inside.h"

#include <stdio.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static int add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;
	int rc;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (extension == NULL)
		return -1;
	rc = X509_add_ext(cert, extension, -1) == 1 ? 0 : -1;
	X509_EXTENSION_free(extension);
	return rc;
}

static int fill(X509 *cert, EVP_PKEY *key, const char *names, long valid_s)
{
	X509_NAME *name = X509_get_subject_name(cert);

	if (X509_set_version(cert, 2) != 1 || ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) != 1 ||
	    X509_gmtime_adj(X509_getm_notBefore(cert), valid_s < 0 ? 10 * valid_s : -3600) == NULL ||
	    X509_gmtime_adj(X509_getm_notAfter(cert), valid_s) == NULL || X509_set_pubkey(cert, key) != 1 ||
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"larder test", -1, -1, 0) != 1 ||
	    X509_set_issuer_name(cert, name) != 1 || add_extension(cert, NID_subject_alt_name, names) != 0 ||
	    add_extension(cert, NID_basic_constraints, "critical,CA:TRUE") != 0)
		return -1;
	return X509_sign(cert, key, EVP_sha256()) > 0 ? 0 : -1;
}

static int write_key(const char *path, EVP_PKEY *key)
{
	FILE *file = fopen(path, "w");
	int rc;

	if (file == NULL)
		return -1;
	rc = PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 ? 0 : -1;
	return fclose(file) == 0 ? rc : -1;
}

static int write_cert(const char *path, X509 *cert)
{
	FILE *file = fopen(path, "w");
	int rc;

	if (file == NULL)
		return -1;
	rc = PEM_write_X509(file, cert) == 1 ? 0 : -1;
	return fclose(file) == 0 ? rc : -1;
}

int fault_certificate(const char *cert_file, const char *key_file, const char *names, long valid_s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	int rc = -1;

	if (key != NULL && cert != NULL && fill(cert, key, names, valid_s) == 0 && write_key(key_file, key) == 0)
		rc = write_cert(cert_file, cert);
	X509_free(cert);
	EVP_PKEY_free(key);
	return rc;
}

SSL_CTX *fault_tls_context(const char *cert_file, const char *key_file, const char *client_ca_file, int old)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	if (context == NULL)
		return NULL;
	if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1 || SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1)
		goto refuse;
	if (old && (SSL_CTX_set_cipher_list(context, "DEFAULT@SECLEVEL=0") != 1 || SSL_CTX_set_min_proto_version(context, TLS1_1_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION) != 1))
		goto refuse;
	if (client_ca_file != NULL) {
		if (SSL_CTX_load_verify_locations(context, client_ca_file, NULL) != 1)
			goto refuse;
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	return context;

refuse:
	SSL_CTX_free(context);
	return NULL;
}
