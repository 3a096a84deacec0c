// Reads a line of numbers and operators, each after what it takes, and prints what is on top in the end.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack.h"
#include "version.h"

static int fail(const char *why) {
  fprintf(stderr, "calculator: %s\n", why);
  return 1;
}

int main(int argc, char **argv) {
  struct stack stack = {0};
  char line[1024];
  if (argc > 1 && !strcmp(argv[1], "--version")) return puts(VERSION) < 0;
  if (!fgets(line, sizeof line, stdin)) return fail("nothing to read");
  for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
    double left = 0, right = 0;
    char *end;
    double value = strtod(word, &end);
    if (*end == 0) {
      if (!stack_push(&stack, value)) return fail("the stack is full");
      continue;
    }
    if (!stack_pop(&stack, &right)) return fail("the stack is empty");
    if (!strcmp(word, "sqrt")) {
      stack_push(&stack, sqrt(right));
      continue;
    }
    if (!strcmp(word, "dup")) {
      stack_push(&stack, right);
      stack_push(&stack, right);
      continue;
    }
    if (!stack_pop(&stack, &left)) return fail("the stack is empty");
    switch (*word) {
    case '+': stack_push(&stack, left + right); break;
    case '-': stack_push(&stack, left - right); break;
    case '*': stack_push(&stack, left * right); break;
    case '/': stack_push(&stack, left / right); break;
    default: return fail("no such operator");
    }
  }
  double result;
  if (!stack_pop(&stack, &result)) return fail("the stack is empty");
  printf("%.10g\n", result);
  return 0;
}
