// What the allocator does with memory. What is free is the system's again after ten milliseconds: its own default of a
// second is for programs that go on as they began; a fleet comes to life within a second and then holds still, and would keep
// what it needed on the way. Address space is taken in pieces of 64 MB, which double: the lists for a whole gigabyte, its
// default, are 160 kB that a short command would write for nothing. And at the end nothing is given back piece by piece (2: only
// when asked), since the system takes all at once. MIMALLOC_PURGE_DELAY and the like in the environment still say otherwise.
#include <mimalloc.h>

__attribute__((constructor)) static void set(void) {
  mi_option_set_default(mi_option_purge_delay, 10);
  mi_option_set_default(mi_option_arena_reserve, 64 * 1024);
  mi_option_set_default(mi_option_destroy_on_exit, 2);
}
