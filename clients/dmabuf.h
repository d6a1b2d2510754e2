/* dmabuf: what its parts share. */
#ifndef CLIENTS_DMABUF_H
#define CLIENTS_DMABUF_H

#include "common/connection.h"
#include "dmabuf_channel.h"
#include "dmabuf_options.h"

#define EXIT_UNEXPECTED 5 /* --bad: another answer than the expected one */
#define EXIT_REFUSED 6    /* a good buffer was refused */

/* Shows the picture: dmabuf_show.c. */
int dmabuf_show(const struct dmabuf_options *options, struct connection *connection);

/* --list and --bad: dmabuf_bad.c. */
void dmabuf_list(void);
bool dmabuf_has_scenario(const char *name); /* says so on stderr if not */
int dmabuf_misbehave(const struct dmabuf_options *options, struct connection *connection);

#endif
