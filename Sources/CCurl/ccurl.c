#include "ccurl.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// curl.h wraps some of these in type-checking macros.
#undef curl_easy_setopt
#undef curl_easy_getinfo

#define EACH_FUNCTION(X) \
	X(curl_global_init) X(curl_easy_init) X(curl_easy_cleanup) X(curl_easy_reset) X(curl_easy_setopt) X(curl_easy_getinfo) X(curl_easy_strerror) \
	X(curl_slist_append) X(curl_slist_free_all) X(curl_multi_init) X(curl_multi_cleanup) X(curl_multi_add_handle) \
	X(curl_multi_remove_handle) X(curl_multi_perform) X(curl_multi_poll) X(curl_multi_wakeup) X(curl_multi_info_read)

static struct {
#define FIELD(name) __typeof__(&name) name;
	EACH_FUNCTION(FIELD)
} lib;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char load_error[256];

static void load(void)
{
	// The OpenSSL build first, as Debian's default; the GnuTLS one has the same interface.
	void *handle = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		handle = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		snprintf(load_error, sizeof load_error, "%s", dlerror());
		return;
	}
#define RESOLVE(name) \
	if (!(lib.name = (__typeof__(&name))dlsym(handle, #name))) { \
		snprintf(load_error, sizeof load_error, "libcurl.so.4 has no " #name); \
		return; \
	}
	EACH_FUNCTION(RESOLVE)
	if (lib.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		snprintf(load_error, sizeof load_error, "curl_global_init failed");
}

int lnt_curl_load(void)
{
	pthread_once(&once, load);
	return load_error[0] ? -1 : 0;
}

const char *lnt_curl_load_error(void) { return load_error; }

struct lnt_curl {
	CURL *easy;
	CURLM *multi; // keeps the connections; its wakeup ends a wait at once
	atomic_int aborted;
	const struct lnt_curl_request *request;
	char error[CURL_ERROR_SIZE];
};

lnt_curl *lnt_curl_new(void)
{
	if (lnt_curl_load() < 0)
		return NULL;
	struct lnt_curl *self = calloc(1, sizeof *self);
	if (!self)
		return NULL;
	self->easy = lib.curl_easy_init();
	self->multi = lib.curl_multi_init();
	if (!self->easy || !self->multi) {
		lnt_curl_free(self);
		return NULL;
	}
	return self;
}

void lnt_curl_free(lnt_curl *self)
{
	if (!self)
		return;
	if (self->easy)
		lib.curl_easy_cleanup(self->easy);
	if (self->multi)
		lib.curl_multi_cleanup(self->multi);
	free(self);
}

void lnt_curl_abort(lnt_curl *self)
{
	atomic_store(&self->aborted, 1);
	lib.curl_multi_wakeup(self->multi);
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	struct lnt_curl *self = user;
	if (atomic_load(&self->aborted) || self->request->on_body(self->request->context, data, size * count) != 0)
		return 0;
	return size * count;
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
	struct lnt_curl *self = user;
	return self->request->on_header(self->request->context, data, size * count) == 0 ? size * count : 0;
}

static size_t on_send(char *data, size_t size, size_t count, void *user)
{
	struct lnt_curl *self = user;
	ssize_t filled = atomic_load(&self->aborted) ? -1 : self->request->body(self->request->context, data, size * count);
	return filled < 0 ? CURL_READFUNC_ABORT : (size_t)filled;
}

static int on_seek(void *user, curl_off_t offset, int origin)
{
	struct lnt_curl *self = user;
	if (offset != 0 || origin != SEEK_SET || !self->request->rewind)
		return CURL_SEEKFUNC_CANTSEEK;
	return self->request->rewind(self->request->context) == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

static enum lnt_curl_outcome outcome_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK: return LNT_CURL_OK;
	case CURLE_ABORTED_BY_CALLBACK: case CURLE_WRITE_ERROR: case CURLE_READ_ERROR: return LNT_CURL_ABORTED;
	case CURLE_COULDNT_RESOLVE_HOST: case CURLE_COULDNT_RESOLVE_PROXY: case CURLE_COULDNT_CONNECT: return LNT_CURL_UNREACHABLE;
	case CURLE_PARTIAL_FILE: case CURLE_GOT_NOTHING: case CURLE_SEND_ERROR: case CURLE_RECV_ERROR: case CURLE_OPERATION_TIMEDOUT:
	case CURLE_HTTP2: case CURLE_HTTP2_STREAM: return LNT_CURL_BROKEN;
	case CURLE_SSL_CONNECT_ERROR: case CURLE_PEER_FAILED_VERIFICATION: case CURLE_SSL_CACERT_BADFILE: case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR: case CURLE_USE_SSL_FAILED: return LNT_CURL_CERTIFICATE;
	default: return LNT_CURL_FAILED;
	}
}

static CURLcode transfer(struct lnt_curl *self)
{
	if (lib.curl_multi_add_handle(self->multi, self->easy) != CURLM_OK)
		return CURLE_FAILED_INIT;
	CURLcode code = CURLE_FAILED_INIT;
	int running = 1;
	while (running) {
		if (atomic_load(&self->aborted)) {
			code = CURLE_ABORTED_BY_CALLBACK;
			break;
		}
		if (lib.curl_multi_perform(self->multi, &running) != CURLM_OK)
			break;
		if (running && lib.curl_multi_poll(self->multi, NULL, 0, 1000, NULL) != CURLM_OK)
			break;
	}
	if (!running) {
		int left = 0;
		for (CURLMsg *message; (message = lib.curl_multi_info_read(self->multi, &left));)
			if (message->msg == CURLMSG_DONE)
				code = message->data.result;
	}
	lib.curl_multi_remove_handle(self->multi, self->easy);
	return code;
}

static void set_body(CURL *easy, struct lnt_curl *self, const struct lnt_curl_request *request)
{
	if (request->body_size < 0) {
		if (strcmp(request->method, "HEAD") == 0)
			lib.curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		else if (strcmp(request->method, "GET") != 0)
			lib.curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
		return;
	}
	lib.curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	lib.curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	lib.curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_size);
	lib.curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
	lib.curl_easy_setopt(easy, CURLOPT_READDATA, self);
	lib.curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
	lib.curl_easy_setopt(easy, CURLOPT_SEEKDATA, self);
	lib.curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
}

void lnt_curl_perform(lnt_curl *self, const struct lnt_curl_request *request, struct lnt_curl_response *response)
{
	memset(response, 0, sizeof *response);
	CURL *easy = self->easy;
	self->request = request;
	self->error[0] = 0;
	// Options go, connections (in the multi handle) and the name cache stay.
	lib.curl_easy_reset(easy);
	struct curl_slist *headers = NULL;
	for (const char *const *line = request->headers; line && *line; line++)
		headers = lib.curl_slist_append(headers, *line);
	// A 100-continue wait would cost each upload a second where the registry does not answer it.
	headers = lib.curl_slist_append(headers, "Expect:");
	lib.curl_easy_setopt(easy, CURLOPT_URL, request->url);
	lib.curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	lib.curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, self->error);
	lib.curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	lib.curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request->redirects > 0 ? 1L : 0L);
	lib.curl_easy_setopt(easy, CURLOPT_MAXREDIRS, request->redirects);
	lib.curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
	if (request->milliseconds > 0)
		lib.curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, request->milliseconds);
	lib.curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
	lib.curl_easy_setopt(easy, CURLOPT_USERAGENT, "lunette");
	lib.curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
	lib.curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, request->connect_timeout);
	// Bytes a second: a body that drips would otherwise hold a call for ever.
	lib.curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1024L);
	lib.curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, request->stall_timeout);
	lib.curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	lib.curl_easy_setopt(easy, CURLOPT_WRITEDATA, self);
	lib.curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	lib.curl_easy_setopt(easy, CURLOPT_HEADERDATA, self);
	if (request->user_password) {
		lib.curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		lib.curl_easy_setopt(easy, CURLOPT_USERPWD, request->user_password);
	}
	if (request->ca_file)
		lib.curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
	if (request->skip_verification) {
		lib.curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		lib.curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (request->direct)
		lib.curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	set_body(easy, self, request);

	CURLcode code = transfer(self);
	response->outcome = code == CURLE_OPERATION_TIMEDOUT && request->milliseconds > 0 ? LNT_CURL_TIMED_OUT : outcome_of(code);
	lib.curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &response->status);
	if (code != CURLE_OK)
		snprintf(response->error, sizeof response->error, "%s", self->error[0] ? self->error : lib.curl_easy_strerror(code));
	lib.curl_slist_free_all(headers);
	self->request = NULL;
}
