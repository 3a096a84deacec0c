// HTTP by libcurl, opened with dlopen at first use: only image transfers need it, and it would cost every command its start.
// No variadic function is visible here. One lnt_curl serves one request at a time and keeps its connections between requests.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct lnt_curl lnt_curl;

/// Takes bytes of the body or one header line (with its CRLF): 0 to go on, anything else ends the request.
typedef int (*lnt_curl_sink)(void *context, const char *data, size_t size);
/// Fills `data` with up to `size` bytes of the request's body: their number, 0 at the end, negative to end the request.
typedef ssize_t (*lnt_curl_source)(void *context, char *data, size_t size);

struct lnt_curl_request {
	const char *method;             // GET, HEAD, POST, PUT, PATCH, DELETE
	const char *url;
	const char *const *headers;     // "Name: value", NULL at the end; may be NULL
	const char *user_password;      // "user:password" for basic authentication; may be NULL
	const char *ca_file;            // PEM file that certificates are checked with instead of the system's; may be NULL
	int skip_verification;          // not 0: any certificate is taken
	int direct;                     // not 0: no proxy, whatever the environment says
	int64_t body_size;              // of the request; -1 for none
	long connect_timeout;           // seconds
	long stall_timeout;             // seconds under 1 byte/s before the request fails
	long milliseconds;              // that the whole request may take; 0: any time
	long redirects;                 // how many are followed, to http and https alone; 0: none, the caller decides what goes along
	lnt_curl_sink on_header;
	lnt_curl_sink on_body;
	lnt_curl_source body;
	int (*rewind)(void *context);   // starts the body over (connection reuse may need it); 0 when it could; may be NULL
	void *context;
};

enum lnt_curl_outcome {
	LNT_CURL_OK,
	LNT_CURL_ABORTED,          // lnt_curl_abort was called, or a callback ended it
	LNT_CURL_UNREACHABLE,      // no such host, refused, no route, connect timed out
	LNT_CURL_BROKEN,           // the connection ended or stalled in the middle: worth another try
	LNT_CURL_CERTIFICATE,      // TLS failed
	LNT_CURL_FAILED,           // anything else
	LNT_CURL_TIMED_OUT,        // not done within `milliseconds`
};

struct lnt_curl_response {
	enum lnt_curl_outcome outcome;
	long status;               // HTTP status; 0 when there was none
	char error[256];
};

/// Opens libcurl. 0, or -1 with the reason in `lnt_curl_load_error`.
int lnt_curl_load(void);
const char *lnt_curl_load_error(void);

lnt_curl *lnt_curl_new(void);
void lnt_curl_free(lnt_curl *curl);
/// Performs one request and blocks until it ends.
void lnt_curl_perform(lnt_curl *curl, const struct lnt_curl_request *request, struct lnt_curl_response *response);
/// Ends the request under way, and every later one, from any thread.
void lnt_curl_abort(lnt_curl *curl);
