/* wire/messages.h - what travels between a process and whiprayd.
 *
 * A frame is: body length u32 | type u32 | request id u32 (little endian) | body.  Bodies are
 * msgpack arrays with the fields in the order given here, unless stated otherwise; readers accept
 * further fields at the end.  A request with id 0 is not answered; any other is answered by one
 * REPLY or ERROR with the same id.  Events have id 0.  "str" fields may also be sent as bin. */
#ifndef WR_WIRE_MESSAGES_H
#define WR_WIRE_MESSAGES_H

#define WR_PROTOCOL_VERSION 1u

enum wr_message {
  /* first message of a connection */
  WR_MSG_CONFIG = 1, /* owner's socket: the body is the configuration map (node/config.h) */
  WR_MSG_HELLO = 2,  /* listening socket: [version uint, role uint (enum wr_role), config map] */
  /* both are answered by WELCOME (with the segment's descriptor) or ERROR */

  /* requests of drivers and workers */
  WR_MSG_DETACH = 3,      /* [] -> [] after everything of the job has ended */
  WR_MSG_WANT = 4,        /* [pool uint]: tasks wait and no worker is idle; not answered */
  WR_MSG_ACTOR_UP = 5,    /* [actor uint]: the sending worker is that actor now */
  WR_MSG_POOL_REG = 6,    /* [env map str->str, optional: keep workers ready bool] -> [pool uint];
                             {}: the job's own environment */
  WR_MSG_SHAPE_REG = 7,   /* [pool uint, resources map str->float] -> [shape uint]; in a placement
                             group with three more fields: its number plus one, its generation,
                             number of the bundle plus one or 0: any */
  WR_MSG_NAME_CLAIM = 8,  /* [ns str, name str, actor uint, gen uint] -> [0], or taken:
                             [1, actor, gen] */
  WR_MSG_NAME_GET = 9,    /* [ns str, name str] -> [actor uint, gen uint] or [] */
  WR_MSG_NAME_LIST = 10,  /* [ns str or nil: all] -> [[ns, name, actor, gen], ...] */
  WR_MSG_NAME_DROP = 11,  /* [ns str, name str] -> [dropped bool] */
  WR_MSG_KILL_ACTOR = 12, /* [actor uint, gen uint, no_restart bool] -> [found bool] */
  WR_MSG_INTERRUPT = 13,  /* [slot, gen, task, its gen: uint, force bool] -> [sent] */
  WR_MSG_KV_PUT = 14,     /* [ns str, key bin, value bin, overwrite bool] -> [existed bool] */
  WR_MSG_KV_GET = 15,     /* [ns str, key bin] -> [value bin] or [] */
  WR_MSG_KV_DEL = 16,     /* [ns str, key bin, by_prefix bool] -> [deleted uint] */
  WR_MSG_KV_KEYS = 17,    /* [ns str, prefix bin] -> [key bin, ...] */
  WR_MSG_STATS = 18,      /* [] -> [map str->uint] */
  WR_MSG_EXITING = 19,    /* [reason str]: the sending worker leaves on purpose; not an error */
  WR_MSG_SESSION = 20,    /* [] -> the fields of WELCOME */
  WR_MSG_RESOURCES = 21,  /* [[name str, ...]] -> [number uint, ...] */
  WR_MSG_GROUP_REMOVE = 22, /* [group uint, gen uint] -> [found bool]: begun, and soon done */

  WR_MSG_ROOM = 23,       /* [bytes uint, waited uint]: the store is too full for a value, since so
                           * many ns; not answered */
  WR_MSG_FETCH = 24,      /* [idx uint, gen uint]: bring a spilled value back; not answered */
  WR_MSG_REMADE = 25,     /* []: a value has been made again for whiprayd; not answered */

  /* answers */
  WR_MSG_REPLY = 64,
  WR_MSG_ERROR = 65,   /* [status int, text str] */
  WR_MSG_WELCOME = 66, /* [slot, gen, session id bin, session dir str, num_cpus float, daemon pid,
                          job's default pool, driver's slot, namespace str] */

  /* events */
  WR_MSG_LOG = 96,            /* [pid, slot, name str, is_err bool, lines bin] */
  WR_MSG_ENDED = 97,          /* [reason str] */
  WR_MSG_WORKER_TROUBLE = 98, /* [text str] */

  /* fork server; bodies are plain little endian words, not msgpack */
  WR_MSG_SPAWN = 128,   /* slot u32, gen u32, pool u32, then "NAME=value\0"...; three descriptors:
                           socket, stdout, stderr */
  WR_MSG_REAP = 129,    /* pid u32: its status has been read; answered by REAPED */
  WR_MSG_READY = 130,   /* empty */
  WR_MSG_SPAWNED = 131, /* slot u32, gen u32, pid u32 */
  WR_MSG_SPAWN_FAILED = 132, /* slot u32, gen u32, errno u32 */
  WR_MSG_REAPED = 133 /* pid u32, KiB u32: the most memory it had resident; 0: not known */
};

#endif
