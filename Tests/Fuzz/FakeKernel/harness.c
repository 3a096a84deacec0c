// libFuzzer's entry for the shim: one run is one shim, or one of the processes that it clones, up to its execve or end.
//
//   input = flags u8 | the plan's length u16 | plan | three times (number of a call that fails u16, error u8) | clones that are children u8 |
//           what is read, received, waited for
//   flags: 1 = the plan as it is; otherwise its frame is repaired first, so that mutations reach the fields
#include <stdlib.h>
#include <string.h>

#include "clinux.h"
#include "kernel.h"

int lunette_shim_main(int argc, char **argv);

// The runtime's hook for instances of classes: a run that ends by longjmp releases none.
extern void *(*_swift_allocObject)(const void *metadata, size_t size, size_t alignment);
static void *(*allocate)(const void *metadata, size_t size, size_t alignment);
static void *instances[16];
static size_t instance_count;
static int is_planted;

// The monitor and its execs, which live as long as the process: nothing else is as large.
static void *remembering(const void *metadata, size_t size, size_t alignment) {
  void *object = allocate(metadata, size, alignment);
  if (size >= 200 && instance_count < 16) instances[instance_count++] = object;
  return object;
}

static void repair(uint8_t *plan, size_t size) {
  if (size < sizeof(struct lnt_plan_header)) return;
  struct lnt_plan_header header = {LNT_PLAN_MAGIC, LNT_PLAN_VERSION, LNT_PLAN_LAUNCH, size, 0};
  size_t at = sizeof header;
  while (size - at >= sizeof(struct lnt_record_header)) {
    struct lnt_record_header record;
    memcpy(&record, plan + at, sizeof record);
    size_t room = size - at - sizeof record, length = record.length & ~7u;
    record.length = (uint32_t)(length < room ? length : room);
    memcpy(plan + at, &record, sizeof record);
    at += sizeof record + record.length;
    header.records++;
  }
  memcpy(plan, &header, sizeof header);
}

// A bug that scripts/dev/fuzz --self-check wants found, where branches are seen: in FuzzShim.swift.
void lunette_fuzz_plant(const uint8_t *data, size_t size, const uint8_t *plan, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!allocate) {
    allocate = _swift_allocObject;
    _swift_allocObject = remembering;
    is_planted = getenv("LUNETTE_FUZZ_PLANTED") != NULL;
  }
  if (size < 3) return 0;
  size_t length = (size_t)(data[1] | data[2] << 8);
  if (length > size - 3) length = size - 3;
  length &= ~(size_t)7;
  uint8_t *plan = malloc(length ? length : 1);
  memcpy(plan, data + 3, length);
  if (is_planted) lunette_fuzz_plant(data, size, plan, length);
  if (!(data[0] & 1)) repair(plan, length);
  fake_begin(plan, length, data + 3 + length, size - 3 - length);
  static char name[] = "lunette-shim", id[] = "c";
  char *arguments[] = {name, id, NULL};
  if (setjmp(fake_end) == 0) lunette_shim_main(2, arguments);
  fake_finish();
  for (size_t index = 0; index < instance_count; index++) free(instances[index]);
  instance_count = 0;
  free(plan);
  return 0;
}

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*test)(const uint8_t *data, size_t size));
// What SwiftPM calls an executable's entry; libFuzzer's own main isn't linked then.
int lunette_fuzz_main(int argc, char **argv);
int lunette_fuzz_main(int argc, char **argv) { return LLVMFuzzerRunDriver(&argc, &argv, LLVMFuzzerTestOneInput); }
