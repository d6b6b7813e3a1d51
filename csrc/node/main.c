/* whiprayd: started by a driver with a socket as descriptor 3; ends with that driver. */
#include <stdio.h>

#include "node/node.h"

#define OWNER_FD 3

int main(void) {
  int rc = node_run(OWNER_FD);
  if (rc == 2) fprintf(stderr, "whiprayd is started by whipray.init(), not by hand\n");
  return rc;
}
