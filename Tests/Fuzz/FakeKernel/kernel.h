// A kernel whose answers are read from the fuzzer's input, so that the shim's own code runs through every stage without acting.
#pragma once
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

// Where a run ends: execve, exit, or nothing left to answer with.
extern jmp_buf fake_end;
void fake_begin(const uint8_t *plan, size_t plan_size, const uint8_t *answers, size_t size);
// Frees what the run mapped.
void fake_finish(void);
