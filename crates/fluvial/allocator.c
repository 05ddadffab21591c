// What the allocator does with memory that is free: it is the system's again after ten milliseconds. Its own default of a
// second is for programs that go on as they began; a fleet comes to life within a second and then holds still, and
// would keep what it needed on the way. MIMALLOC_PURGE_DELAY in the environment still says otherwise.
#include <mimalloc.h>

__attribute__((constructor)) static void purge_soon(void) {
  mi_option_set_default(mi_option_purge_delay, 10);
}
