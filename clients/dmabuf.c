/* dmabuf: a client whose buffers are dma-bufs. This file is the program; `dmabuf --help` is the user's
 * manual.
 */
#include "dmabuf.h"

#include <stdio.h>

#include "common/json_log.h"

static int show_pairs(const struct dmabuf_options *options, struct connection *connection)
{
    static struct json_log log;
    struct channel channel;
    int result = (int)channel_open(&channel, connection, (uint32_t)options->version);
    json_log_open(&log, "-");
    if (result == EXIT_OK) {
        channel_log_offer(&channel, &log, true);
        channel_close(&channel);
    }
    return json_log_close(&log) != 0 ? EXIT_LOCAL : result;
}

int main(int argc, char **argv)
{
    struct dmabuf_options options;
    switch (dmabuf_options_parse(&options, argc, argv)) {
    case DMABUF_OPTIONS_HELP_SHOWN:
        return EXIT_OK;
    case DMABUF_OPTIONS_BAD:
        return EXIT_USAGE;
    case DMABUF_OPTIONS_RUN:
        break;
    }
    if (options.list) {
        dmabuf_list();
        return EXIT_OK;
    }
    if (options.bad != NULL && !dmabuf_has_scenario(options.bad)) {
        return EXIT_USAGE;
    }
    struct connection connection;
    int result = (int)connection_connect(&connection, "dmabuf", options.wait_s);
    if (result == EXIT_OK) {
        result = options.pairs         ? show_pairs(&options, &connection)
                 : options.bad != NULL ? dmabuf_misbehave(&options, &connection)
                                       : dmabuf_show(&options, &connection);
    }
    connection_finish(&connection);
    return result;
}
