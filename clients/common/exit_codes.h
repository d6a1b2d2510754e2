/* What every client's exit code means; documented in each --help and in clients/README.md. */
#ifndef CLIENTS_COMMON_EXIT_CODES_H
#define CLIENTS_COMMON_EXIT_CODES_H

enum exit_code {
    EXIT_OK = 0,
    EXIT_USAGE = 1,
    EXIT_NO_COMPOSITOR = 2, /* cannot connect, or a global that is needed is not offered */
    EXIT_DISCONNECTED = 3,  /* protocol error, or the compositor closed the connection */
    EXIT_LOCAL = 4,         /* something outside the protocol: log not writable, no memory, no fd */
};

#endif
