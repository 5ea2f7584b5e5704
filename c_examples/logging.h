/* A small logger modelled on Python's logging module. Each line names the thread that wrote it.
 *
 *     logging_basic_config("(%(threadName)-10s) %(message)s");
 *     logging_debug("sleeping %d", pause);          prints: (Thread-1  ) sleeping 3
 *
 * The format has Python's syntax and supports these fields, each with an optional width (-10s pads to ten
 * bytes on the right, 10s on the left):
 *
 *     %(asctime)s     local date and time with milliseconds, 2013-02-21 06:37:49,549
 *     %(levelname)s   DEBUG, INFO, WARNING or ERROR
 *     %(threadName)s  the name of the thread that logs
 *     %(message)s     the message
 *
 * Other characters are copied.
 *
 * Any thread can log. Lines are written to stderr as a whole: each is built in its own buffer and written by
 * one call of fwrite, which holds the stream's lock. Lines that are too long are truncated. There is one
 * logger, and it writes messages of all levels.
 *
 * Set the format before the first thread starts: what a thread wrote before a start is visible to the started
 * thread, so the threads can read the format without a lock.
 *
 * Include this header before system headers, which do not declare localtime_r otherwise.
 */
#ifndef LOGGING_H
#define LOGGING_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <threading.h>

#define LOGGING_LINE_SIZE 1024

#define logging_debug(...) logging_log("DEBUG", __VA_ARGS__)
#define logging_info(...) logging_log("INFO", __VA_ARGS__)
#define logging_warning(...) logging_log("WARNING", __VA_ARGS__)
#define logging_error(...) logging_log("ERROR", __VA_ARGS__)

struct logging_line {
    size_t length;
    char text[LOGGING_LINE_SIZE];
};

static const char *logging_format = "%(levelname)s:%(message)s";

/* The format is not copied. It must live as long as the program. */
static inline void logging_basic_config(const char *format)
{
    logging_format = format;
}

/* A negative width pads on the right, as in printf. */
static inline void logging_append(struct logging_line *line, const char *text, int width)
{
    size_t space = sizeof line->text - line->length;
    int length = snprintf(line->text + line->length, space, "%*s", width, text);
    if (length > 0) {
        line->length += (size_t)length < space ? (size_t)length : space - 1;
    }
}

/* Returns the current local time as 2013-02-21 06:37:49,549. */
static inline const char *logging_asctime(char *text, size_t size)
{
    struct timespec now = {0};
    struct tm local = {0};
    char date[32] = "";

    (void)timespec_get(&now, TIME_UTC);
    if (localtime_r(&now.tv_sec, &local) != NULL) {
        (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
    }
    (void)snprintf(text, size, "%s,%03ld", date, now.tv_nsec / 1000000);
    return text;
}

static inline const char *logging_thread_name(void)
{
    const char *name = threading_thread_name(threading_current_thread());
    return name != NULL ? name : "?"; /* log the line even without a name */
}

/* Returns true if the format continues with this field, and advances it past the field. */
static inline bool logging_next_is(const char **format, const char *field, int *width)
{
    size_t length = strlen(field);
    if (strncmp(*format, field, length) != 0) {
        return false;
    }
    char *end;
    *width = (int)strtol(*format + length, &end, 10);
    if (*end != 's') {
        return false;
    }
    *format = end + 1;
    return true;
}

/* Writes a line. The message is formatted as by printf. Use logging_debug() and the similar macros instead. */
__attribute__((format(printf, 2, 3)))
static inline void logging_log(const char *level, const char *format, ...)
{
    char message[LOGGING_LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(message, sizeof message, format, arguments) < 0) {
        message[0] = '\0';
    }
    va_end(arguments);

    char now[48];
    struct logging_line line = {.length = 0};
    for (const char *rest = logging_format; *rest != '\0';) {
        int width = 0;
        if (logging_next_is(&rest, "%(asctime)", &width)) {
            logging_append(&line, logging_asctime(now, sizeof now), width);
        } else if (logging_next_is(&rest, "%(levelname)", &width)) {
            logging_append(&line, level, width);
        } else if (logging_next_is(&rest, "%(threadName)", &width)) {
            logging_append(&line, logging_thread_name(), width);
        } else if (logging_next_is(&rest, "%(message)", &width)) {
            logging_append(&line, message, width);
        } else {
            logging_append(&line, (char[]){*rest++, '\0'}, 0);
        }
    }
    line.text[line.length] = '\n'; /* replaces the terminating null byte, for which there is always space */
    (void)fwrite(line.text, 1, line.length + 1, stderr); /* a logger cannot report its own failure */
}

#endif
