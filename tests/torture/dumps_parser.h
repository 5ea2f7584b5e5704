/* The grammar of dumps: checks each line of a dump, and collects what it says about deadlocks. */
#ifndef DUMPS_PARSER_H
#define DUMPS_PARSER_H

#include "torture.h"

#include <ctype.h>

enum { MAX_CYCLE_LINES = 64, MAX_NAME_TEXT = 300 };

/* A line of a cycle: a thread, and the thread for which it waits, without their quotes. */
struct cycle_line {
    char thread[MAX_NAME_TEXT];
    char waits_for[MAX_NAME_TEXT];
};

struct dump {
    uint64_t lines, threads, deadlocked;
    bool has_contention;
    unsigned cycle_lines;
    struct cycle_line cycles[MAX_CYCLE_LINES];
};

/* The rest of the line that is being parsed. */
struct cursor {
    const char *at;
    const char *line; /* for messages */
};

static inline bool skip(struct cursor *cursor, const char *text)
{
    size_t length = strlen(text);
    if (strncmp(cursor->at, text, length) != 0)
        return false;
    cursor->at += length;
    return true;
}

static inline bool skip_number(struct cursor *cursor, uint64_t *number)
{
    char *end;
    if (!isdigit((unsigned char)*cursor->at))
        return false;
    uint64_t value = strtoull(cursor->at, &end, 10);
    cursor->at = end;
    if (number != NULL)
        *number = value;
    return true;
}

/* A number and a noun, in the plural unless the number is 1. */
static inline bool skip_count(struct cursor *cursor, const char *noun)
{
    uint64_t number;
    return skip_number(cursor, &number) && skip(cursor, " ") && skip(cursor, noun) &&
           (number == 1 || skip(cursor, "s"));
}

static inline bool skip_seconds(struct cursor *cursor)
{
    return skip_number(cursor, NULL) && skip(cursor, ".") && isdigit((unsigned char)*cursor->at) && cursor->at++ &&
           skip(cursor, " s");
}

/* Names that the load changes consist of one letter, and the letter determines the length, so that a mix of two names
 * is detected. */
static inline bool is_whole_name(const char *name, size_t length)
{
    if (length < 3 || name[0] != name[1] || name[1] != name[2])
        return true;
    return length == 8u + (size_t)(name[0] - 'a') && strspn(name, (char[]){name[0], '\0'}) >= length;
}

static inline bool skip_name(struct cursor *cursor, char *copy)
{
    if (!skip(cursor, "\""))
        return false;
    const char *begin = cursor->at;
    while (*cursor->at != '"' && *cursor->at != '\0')
        cursor->at += *cursor->at == '\\' && cursor->at[1] != '\0' ? 2 : 1;
    size_t length = (size_t)(cursor->at - begin);
    if (copy != NULL)
        snprintf(copy, MAX_NAME_TEXT, "%.*s", (int)length, begin);
    return is_whole_name(begin, length) && skip(cursor, "\"");
}

static inline bool skip_thread(struct cursor *cursor, char *copy)
{
    const char *begin = cursor->at;
    if (!skip(cursor, "the thread with ident ") && !skip(cursor, "thread "))
        return skip_name(cursor, copy);
    bool is_thread = skip_number(cursor, NULL);
    if (copy != NULL)
        snprintf(copy, MAX_NAME_TEXT, "%.*s", (int)(cursor->at - begin), begin);
    return is_thread;
}

static inline bool skip_object(struct cursor *cursor, const char *kind)
{
    if (skip(cursor, "an object that has been freed"))
        return true;
    if (!skip(cursor, kind) || !skip(cursor, " "))
        return false;
    if (!skip(cursor, "0x"))
        return skip_name(cursor, NULL);
    size_t digits = strspn(cursor->at, "0123456789abcdef");
    cursor->at += digits;
    return digits > 0;
}

static inline bool skip_owner(struct cursor *cursor, char *owner)
{
    if (skip(cursor, ", owned by "))
        return skip_thread(cursor, owner);
    return skip(cursor, ", free") || skip(cursor, ", handed off to a waiter") ||
           skip(cursor, ", which it is about to acquire") ||
           skip(cursor, ", owned since before the fork by a thread that does not exist here") ||
           strncmp(cursor->at, ", for ", 6) == 0;
}

/* What a thread waits for, except for the times. */
static inline bool skip_wait(struct cursor *cursor, char *waits_for)
{
    static const char *const locks[] = {"lock", "rlock"};
    if (skip(cursor, "sleeps"))
        return true;
    if (skip(cursor, "joins "))
        return skip_thread(cursor, waits_for);
    if (skip(cursor, "waits in the process exit or a shutdown for ")) {
        if (skip(cursor, "the functions that another thread calls"))
            return true;
        return skip_count(cursor, "non-daemon thread") && (!skip(cursor, " and ") || skip_count(cursor, "timer"));
    }
    if (skip(cursor, "notified on a condition that has been freed, waits for its lock"))
        return skip_owner(cursor, waits_for);
    if (skip(cursor, "notified on "))
        return skip_object(cursor, "condition") && skip(cursor, ", waits for its ") &&
               (skip(cursor, "rlock") || skip(cursor, "lock")) && skip_owner(cursor, waits_for);
    if (skip(cursor, "waits for a notify on "))
        return skip_object(cursor, "condition") && skip(cursor, " (") &&
               (skip(cursor, "rlock") || skip(cursor, "lock")) &&
               (skip(cursor, " free") || skip_owner(cursor, NULL)) && skip(cursor, ")");
    if (skip(cursor, "waits at "))
        return skip_object(cursor, "barrier") && skip(cursor, " (") && skip_number(cursor, NULL) &&
               skip(cursor, " of ") && skip_number(cursor, NULL) && skip(cursor, " arrived)") &&
               (!skip(cursor, ", whose action is run by ") || skip_thread(cursor, NULL));
    if (!skip(cursor, "waits for "))
        return false;
    if (skip(cursor, "an object that has been freed"))
        return true;
    for (unsigned i = 0; i < 2; i++)
        if (strncmp(cursor->at, locks[i], strlen(locks[i])) == 0)
            return skip_object(cursor, locks[i]) && skip_owner(cursor, waits_for);
    if (strncmp(cursor->at, "event", 5) == 0)
        return skip_object(cursor, "event") && (skip(cursor, " (set)") || skip(cursor, " (not set)"));
    return skip_object(cursor, "semaphore") && skip(cursor, " (") && skip_number(cursor, NULL) &&
           (!skip(cursor, " of ") || skip_number(cursor, NULL)) && skip(cursor, " left, ") &&
           skip_count(cursor, "waiter") && skip(cursor, ")");
}

static inline bool skip_timed_wait(struct cursor *cursor, char *waits_for)
{
    if (!skip_wait(cursor, waits_for) || !skip(cursor, ", for ") || !skip_seconds(cursor))
        return false;
    if (skip(cursor, ", for at most ") && (!skip_seconds(cursor) || !skip(cursor, " more")))
        return false;
    skip(cursor, "; no waiter has been notified since it was created");
    return true;
}

static inline bool skip_activity(struct cursor *cursor)
{
    if (skip(cursor, "makes this dump") || skip(cursor, "starting"))
        return true;
    if (!skip(cursor, "running outside this library"))
        return skip_timed_wait(cursor, NULL);
    if (!skip(cursor, ", in "))
        return true;
    if (skip(cursor, "system call "))
        return skip_number(cursor, NULL);
    cursor->at += strspn(cursor->at, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return skip(cursor, "(2)");
}

static inline bool skip_short_time(struct cursor *cursor)
{
    return skip_number(cursor, NULL) && skip(cursor, ".") && isdigit((unsigned char)*cursor->at) && cursor->at++ &&
           (skip(cursor, " ms") || skip(cursor, " s"));
}

/* A line of the statistics of contention. */
static inline bool skip_contention(struct cursor *cursor)
{
    if (!skip_object(cursor, "lock") && !skip_object(cursor, "rlock") && !skip_object(cursor, "semaphore"))
        return false;
    return skip(cursor, "  ") && skip_count(cursor, "wait") && skip(cursor, ", ") && skip_short_time(cursor) &&
           skip(cursor, " in total, ") && skip_short_time(cursor) && skip(cursor, " the longest") &&
           (!skip(cursor, ", owned by ") || skip_thread(cursor, NULL));
}

static inline bool parse_title(struct cursor *cursor, struct dump *dump)
{
    if (!skip(cursor, "threading: process ") || !skip_number(cursor, NULL) || !skip(cursor, ", ") ||
        !skip_number(cursor, &dump->threads) || !skip(cursor, dump->threads == 1 ? " thread" : " threads"))
        return false;
    return !skip(cursor, ", ") || (skip_number(cursor, &dump->deadlocked) && skip(cursor, " of them deadlocked:"));
}

static inline bool parse_line(struct cursor *cursor, struct dump *dump)
{
    if (dump->lines == 0)
        return parse_title(cursor, dump);
    if (skip(cursor, "    owns "))
        return (skip_object(cursor, "lock") || skip_object(cursor, "rlock")) &&
               (!skip(cursor, " (") || (skip_count(cursor, "waiter") && skip(cursor, ")")));
    if (skip(cursor, "contention in the last ")) {
        dump->has_contention = true;
        return skip_seconds(cursor) && skip(cursor, ":");
    }
    if (skip(cursor, "  ")) {
        if (dump->has_contention)
            return skip_contention(cursor);
        TORTURE_CHECK(dump->cycle_lines < MAX_CYCLE_LINES);
        struct cycle_line *line = &dump->cycles[dump->cycle_lines++];
        line->waits_for[0] = '\0';
        return skip_thread(cursor, line->thread) && skip(cursor, " ") && skip_timed_wait(cursor, line->waits_for);
    }
    if (skip(cursor, "timers: not known, because the library is using them"))
        return true;
    if (isdigit((unsigned char)*cursor->at))
        return skip_count(cursor, "more pending timer");
    if (!skip_thread(cursor, NULL))
        return false;
    if (skip(cursor, " timer"))
        return (skip(cursor, " (daemon)"), skip(cursor, ", due ")) &&
               (skip(cursor, "now") || (skip(cursor, "in ") && skip_seconds(cursor)));
    if (cursor->at[0] == ' ' && isdigit((unsigned char)cursor->at[1])) {
        cursor->at++;
        skip_number(cursor, NULL);
    }
    skip(cursor, " (timer)");
    return skip(cursor, "  ") && skip_activity(cursor);
}

/* Parses a dump, and fails if a line does not match the grammar. */
static inline void dump_parse(char *text, struct dump *dump)
{
    char *next;
    dump->lines = dump->threads = dump->deadlocked = 0;
    dump->cycle_lines = 0;
    dump->has_contention = false;
    for (char *line = text; *line != '\0'; line = next) {
        char *end = strchr(line, '\n');
        TORTURE_CHECK(end != NULL);
        *end = '\0';
        next = end + 1;
        struct cursor cursor = {line, line};
        if (!parse_line(&cursor, dump) || *cursor.at != '\0')
            torture_fail(__FILE__, __LINE__, "line %" PRIu64 " of a dump is \"%s\": \"%s\" does not match the grammar",
                         dump->lines + 1, line, cursor.at);
        *end = '\n';
        dump->lines++;
    }
    TORTURE_CHECK(dump->lines > 0);
}

#endif
