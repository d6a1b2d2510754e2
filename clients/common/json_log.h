/* Buffered JSON lines: no printf, no system call on the frame path beyond one write per batch.
 *
 * A record is json_log_begin, any number of fields, json_log_end. Records go to the file in batches of
 * about 16 KiB, or half a second after the last batch; json_log_flush writes at once.
 * With fd -1 everything is a no-op. The caller owns the struct. A failed write is remembered in `error`.
 */
#ifndef CLIENTS_COMMON_JSON_LOG_H
#define CLIENTS_COMMON_JSON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_LOG_BATCH_BYTES (16u * 1024u)
#define JSON_LOG_BUFFER_BYTES (JSON_LOG_BATCH_BYTES + 16u * 1024u)

struct json_log {
    int fd;
    int error; /* errno of the first failed write, 0 if none */
    bool first_field;
    size_t used;
    uint64_t flushed_ns;
    char buffer[JSON_LOG_BUFFER_BYTES];
};

/* path NULL: no log; "-": standard output. Returns 0, or the errno of the failed open. */
int json_log_open(struct json_log *log, const char *path);
int json_log_close(struct json_log *log); /* flushes; returns `error` */

void json_log_begin(struct json_log *log, const char *type); /* {"type":"..." */
void json_log_u64(struct json_log *log, const char *key, uint64_t value);
void json_log_double(struct json_log *log, const char *key, double value); /* off the frame path */
void json_log_bool(struct json_log *log, const char *key, bool value);
void json_log_string(struct json_log *log, const char *key, const char *value);
void json_log_end(struct json_log *log); /* }\n, and a batch write when it is due */

void json_log_flush(struct json_log *log);

#endif
