#pragma once
#include <stdbool.h>

// Numbers, last in first out.
struct stack {
  double values[64];
  unsigned count;
};

// False when there is no room.
bool stack_push(struct stack *stack, double value);
// False when it is empty.
bool stack_pop(struct stack *stack, double *value);
