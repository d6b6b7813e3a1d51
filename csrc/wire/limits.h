/* wire/limits.h - how large things on a socket may be.  Decoders refuse what goes beyond. */
#ifndef WR_WIRE_LIMITS_H
#define WR_WIRE_LIMITS_H

#define WR_FRAME_HEADER 12u
#define WR_MAX_BODY (64u << 20)       /* of one frame */
#define WR_MAX_DEPTH 16u              /* of nested arrays and maps */
#define WR_MAX_NAME 4096u             /* names of actors, namespaces, resources */
#define WR_MAX_KEY 65536u             /* keys of the key-value store */
#define WR_MAX_ENV 4096u              /* variables of one environment */
#define WR_MAX_LIST 65536u            /* entries of a list in a configuration */
#define WR_MAX_EVENT_BYTES (8u << 20) /* events a client keeps that nobody fetched yet */

#endif
