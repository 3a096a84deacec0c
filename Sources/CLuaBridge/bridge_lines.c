// How often each line of a file ran: the line hook's part of a test's coverage.

#include <stdlib.h>
#include <string.h>

#include "bridge_internal.h"

typedef struct lnt_counted {
    struct lnt_counted *next;
    char *source;
    uint64_t *counts; // by line
    size_t size;
} lnt_counted;

static lnt_counted *counted(lnt_lua *state, const char *source) {
    lnt_counted *file = state->counted;
    // As a rule it is the one of the line before.
    for (lnt_counted *before = NULL; file; before = file, file = file->next) {
        if (strcmp(file->source, source) != 0) continue;
        if (before) {
            before->next = file->next;
            file->next = state->counted;
            state->counted = file;
        }
        return file;
    }
    file = calloc(1, sizeof *file);
    char *name = strdup(source);
    if (!file || !name) {
        free(file);
        free(name);
        return NULL;
    }
    *file = (lnt_counted){.next = state->counted, .source = name};
    state->counted = file;
    return file;
}

void lnt_count_line(lua_State *L, lnt_lua *state, lua_Debug *activation) {
    if (!lua_getinfo(L, "Sl", activation) || activation->source[0] != '@' || activation->currentline <= 0) return;
    lnt_counted *file = counted(state, activation->source + 1);
    if (!file) return; // Without memory a line is missing in a report.
    size_t line = (size_t)activation->currentline;
    if (line >= file->size) {
        size_t size = line < 128 ? 256 : line * 2;
        uint64_t *counts = realloc(file->counts, size * sizeof *counts);
        if (!counts) return;
        memset(counts + file->size, 0, (size - file->size) * sizeof *counts);
        file->counts = counts;
        file->size = size;
    }
    file->counts[line]++;
}

void lnt_lua_lines(const lnt_lua *state, lnt_lua_line tell, void *context) {
    for (const lnt_counted *file = state->counted; file; file = file->next) {
        for (size_t line = 0; line < file->size; line++) {
            if (file->counts[line]) tell(context, file->source, (int32_t)line, file->counts[line]);
        }
    }
}

void lnt_forget_lines(lnt_lua *state) {
    while (state->counted) {
        lnt_counted *file = state->counted;
        state->counted = file->next;
        free(file->source);
        free(file->counts);
        free(file);
    }
}
