// The Lua stdlib's sources, embedded: a binary needs no files beside it. #embed is C23; clang has it in every mode.
#pragma clang diagnostic ignored "-Wc23-extensions"

#include <string.h>

#include "lua_bridge.h"

#define MODULES(M) M(core) M(errors) M(scheduler) M(calls) M(blocking) M(coroutines) M(entries) M(control) M(effects) M(script) M(task) M(nouns) \
    M(hooks) M(inspect) M(library) M(registration) M(tools) M(globals) M(limited) M(plugin) M(resident) M(lifecycles) M(life) M(replies) M(lost) M(subscriptions) M(repl) \
    M(session) M(inside) M(prompt) M(complete) M(check) M(check_tokens) M(check_literals) M(check_scopes) M(store) M(host) M(socket) \
    M(options) M(capture) M(testing) M(test_world) M(test_scripts) M(test_answers) M(test_run) M(expect) M(lines)

static const unsigned char core[] = {
#embed "../LunetteLua/Resources/lua/core.lua"
};
static const unsigned char errors[] = {
#embed "../LunetteLua/Resources/lua/errors.lua"
};
static const unsigned char scheduler[] = {
#embed "../LunetteLua/Resources/lua/scheduler.lua"
};
static const unsigned char blocking[] = {
#embed "../LunetteLua/Resources/lua/blocking.lua"
};
static const unsigned char calls[] = {
#embed "../LunetteLua/Resources/lua/calls.lua"
};
static const unsigned char coroutines[] = {
#embed "../LunetteLua/Resources/lua/coroutines.lua"
};
static const unsigned char entries[] = {
#embed "../LunetteLua/Resources/lua/entries.lua"
};
static const unsigned char control[] = {
#embed "../LunetteLua/Resources/lua/control.lua"
};
static const unsigned char effects[] = {
#embed "../LunetteLua/Resources/lua/effects.lua"
};
static const unsigned char script[] = {
#embed "../LunetteLua/Resources/lua/script.lua"
};
static const unsigned char task[] = {
#embed "../LunetteLua/Resources/lua/task.lua"
};
static const unsigned char nouns[] = {
#embed "../LunetteLua/Resources/lua/nouns.lua"
};
static const unsigned char hooks[] = {
#embed "../LunetteLua/Resources/lua/hooks.lua"
};
static const unsigned char inspect[] = {
#embed "../LunetteLua/Resources/lua/inspect.lua"
};
static const unsigned char library[] = {
#embed "../LunetteLua/Resources/lua/library.lua"
};
static const unsigned char tools[] = {
#embed "../LunetteLua/Resources/lua/tools.lua"
};
static const unsigned char globals[] = {
#embed "../LunetteLua/Resources/lua/globals.lua"
};
static const unsigned char registration[] = {
#embed "../LunetteLua/Resources/lua/registration.lua"
};
static const unsigned char limited[] = {
#embed "../LunetteLua/Resources/lua/limited.lua"
};
static const unsigned char plugin[] = {
#embed "../LunetteLua/Resources/lua/plugin.lua"
};
static const unsigned char resident[] = {
#embed "../LunetteLua/Resources/lua/resident.lua"
};
static const unsigned char lifecycles[] = {
#embed "../LunetteLua/Resources/lua/lifecycles.lua"
};
static const unsigned char life[] = {
#embed "../LunetteLua/Resources/lua/life.lua"
};
static const unsigned char options[] = {
#embed "../LunetteLua/Resources/lua/options.lua"
};
static const unsigned char replies[] = {
#embed "../LunetteLua/Resources/lua/replies.lua"
};
static const unsigned char lost[] = {
#embed "../LunetteLua/Resources/lua/lost.lua"
};
static const unsigned char subscriptions[] = {
#embed "../LunetteLua/Resources/lua/subscriptions.lua"
};
static const unsigned char repl[] = {
#embed "../LunetteLua/Resources/lua/repl.lua"
};
static const unsigned char session[] = {
#embed "../LunetteLua/Resources/lua/session.lua"
};
static const unsigned char inside[] = {
#embed "../LunetteLua/Resources/lua/inside.lua"
};
static const unsigned char prompt[] = {
#embed "../LunetteLua/Resources/lua/prompt.lua"
};
static const unsigned char complete[] = {
#embed "../LunetteLua/Resources/lua/complete.lua"
};
static const unsigned char check[] = {
#embed "../LunetteLua/Resources/lua/check.lua"
};
static const unsigned char check_tokens[] = {
#embed "../LunetteLua/Resources/lua/check_tokens.lua"
};
static const unsigned char check_literals[] = {
#embed "../LunetteLua/Resources/lua/check_literals.lua"
};
static const unsigned char check_scopes[] = {
#embed "../LunetteLua/Resources/lua/check_scopes.lua"
};
static const unsigned char capture[] = {
#embed "../LunetteLua/Resources/lua/capture.lua"
};
static const unsigned char testing[] = {
#embed "../LunetteLua/Resources/lua/testing.lua"
};
static const unsigned char test_world[] = {
#embed "../LunetteLua/Resources/lua/test_world.lua"
};
static const unsigned char test_scripts[] = {
#embed "../LunetteLua/Resources/lua/test_scripts.lua"
};
static const unsigned char test_answers[] = {
#embed "../LunetteLua/Resources/lua/test_answers.lua"
};
static const unsigned char test_run[] = {
#embed "../LunetteLua/Resources/lua/test_run.lua"
};
static const unsigned char expect[] = {
#embed "../LunetteLua/Resources/lua/expect.lua"
};
static const unsigned char lines[] = {
#embed "../LunetteLua/Resources/lua/lines.lua"
};

static const unsigned char store[] = {
#embed "../LunetteLua/Resources/lua/store.lua"
};
static const unsigned char host[] = {
#embed "../LunetteLua/Resources/lua/host.lua"
};

static const unsigned char socket[] = {
#embed "../LunetteLua/Resources/lua/socket.lua"
};

#define ROW(module) {#module, module, sizeof module},
static const struct { const char *name; const unsigned char *source; size_t length; } modules[] = {MODULES(ROW)};

const void *lnt_lua_module(const char *name, size_t *length) {
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        if (strcmp(modules[i].name, name) == 0) {
            *length = modules[i].length;
            return modules[i].source;
        }
    }
    return NULL;
}
