/* See json_log.h. */
#include "common/json_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

#define FLUSH_INTERVAL_NS (500 * NS_PER_MS)
#define MAX_STRING_BYTES 1024u /* a record must fit between batch and buffer size */

static void put(struct json_log *log, const char *text, size_t length)
{
    if (log->used + length > sizeof(log->buffer)) {
        json_log_flush(log);
    }
    memcpy(log->buffer + log->used, text, length);
    log->used += length;
}

static void put_key(struct json_log *log, const char *key)
{
    put(log, log->first_field ? "\"" : ",\"", log->first_field ? 1 : 2);
    put(log, key, strlen(key));
    put(log, "\":", 2);
    log->first_field = false;
}

int json_log_open(struct json_log *log, const char *path)
{
    log->fd = -1;
    log->error = 0;
    log->used = 0;
    log->flushed_ns = monotonic_now_ns();
    if (path == NULL) {
        return 0;
    }
    log->fd =
        strcmp(path, "-") == 0 ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return log->fd < 0 ? errno : 0;
}

int json_log_close(struct json_log *log)
{
    json_log_flush(log);
    if (log->fd > STDOUT_FILENO) {
        close(log->fd);
    }
    log->fd = -1;
    return log->error;
}

void json_log_begin(struct json_log *log, const char *type)
{
    if (log->fd < 0) {
        return;
    }
    log->first_field = true;
    put(log, "{", 1);
    json_log_string(log, "type", type);
}

void json_log_u64(struct json_log *log, const char *key, uint64_t value)
{
    if (log->fd < 0) {
        return;
    }
    char digits[20];
    size_t start = sizeof(digits);
    do {
        digits[--start] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put_key(log, key);
    put(log, digits + start, sizeof(digits) - start);
}

void json_log_double(struct json_log *log, const char *key, double value)
{
    if (log->fd < 0) {
        return;
    }
    char text[32];
    int length = snprintf(text, sizeof(text), "%.6g", value);
    put_key(log, key);
    put(log, text, (size_t)length);
}

void json_log_bool(struct json_log *log, const char *key, bool value)
{
    if (log->fd < 0) {
        return;
    }
    put_key(log, key);
    put(log, value ? "true" : "false", value ? 4 : 5);
}

void json_log_string(struct json_log *log, const char *key, const char *value)
{
    if (log->fd < 0) {
        return;
    }
    put_key(log, key);
    put(log, "\"", 1);
    for (size_t i = 0; value[i] != '\0' && i < MAX_STRING_BYTES; i++) {
        unsigned char byte = (unsigned char)value[i];
        if (byte == '"' || byte == '\\') {
            char escaped[2] = {'\\', (char)byte};
            put(log, escaped, 2);
        } else if (byte < 0x20) {
            char escaped[8];
            snprintf(escaped, sizeof(escaped), "\\u%04x", byte);
            put(log, escaped, 6);
        } else {
            put(log, (const char *)&byte, 1);
        }
    }
    put(log, "\"", 1);
}

void json_log_end(struct json_log *log)
{
    if (log->fd < 0) {
        return;
    }
    put(log, "}\n", 2);
    if (log->used >= JSON_LOG_BATCH_BYTES || monotonic_now_ns() - log->flushed_ns >= FLUSH_INTERVAL_NS) {
        json_log_flush(log);
    }
}

void json_log_flush(struct json_log *log)
{
    size_t done = 0;
    while (log->fd >= 0 && log->error == 0 && done < log->used) {
        ssize_t written = write(log->fd, log->buffer + done, log->used - done);
        if (written >= 0) {
            done += (size_t)written;
        } else if (errno != EINTR) {
            log->error = errno;
        }
    }
    log->used = 0;
    log->flushed_ns = monotonic_now_ns();
}
