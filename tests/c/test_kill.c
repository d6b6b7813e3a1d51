/* The kill matrix: for every failpoint, and for its first passings and later ones, a process dies
 * there, and survivors find everything whole.  See kill.h. */
#include "kill.h"

TEST_LIMIT(a_process_dies_anywhere, 600) {
  uint8_t seen[128] = {0};
  uint32_t failed = 0, missed = 0;
  CHECK_LE(kill_nplaces, sizeof seen);
  for (uint32_t i = 0; i < KILL_SCENES; i++)
    failed += kill_matrix(kill_scenes[i], kill_places, kill_nplaces, seen);
  CHECK_EQ(failed, 0);
#ifdef WR_HOSTILE
  for (uint32_t i = 0; i < kill_nplaces; i++) {
    if (!seen[i]) fprintf(stderr, "  no scenario passes %s\n", kill_places[i]);
    missed += !seen[i];
  }
#endif
  CHECK_EQ(missed, 0);
}
