/* tests/c/server.h - the fork server and the workers of a real daemon, written in C.
 *
 * A program that is whiprayd names itself as the daemon's Python as well (server_config): then the
 * daemon runs it with -c, which is the fork server, and that forks the workers. */
#ifndef SERVER_H
#define SERVER_H

#include "check.h"
#include "client/client.h"
#include "wire/pack.h"

/* Does a task, in a worker. */
typedef void server_obey(wr_client *c, const wr_job *job);
_Noreturn void server_run(server_obey *obey);
/* What a driver says about itself, see node/config.h. */
void server_config(wr_buf *b, double cpus, uint64_t store_bytes, const char *temp_dir);
/* One CPU, for the workers of this driver. */
uint16_t server_shape(wr_client *c);
/* A request that is answered with a number. */
uint32_t server_ask(wr_client *c, uint32_t type, wr_buf *body);

#endif
