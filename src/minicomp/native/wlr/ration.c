/* Each client has a ration of the loop thread's time (pure/ration.h), so that a flood of requests waits in
 * the socket of whoever sends it, and in the end the sender does.
 *
 * The time between a client's first request of a turn and whatever comes after its last is charged to it. One
 * that is in debt is *muted*: its socket is not watched for requests. It is *served* again, which is one read
 * of 4 KiB at least, a moment after a frame was handed to the display: then nobody waits for this thread for
 * most of a refresh. The moment is the kernel's: its worker that copies the frame would have to share the CPU
 * with us, and with a process that can write again. Without frames a client is served a refresh later
 * (mc_deadlines_apply has the timer).
 *
 * libwayland keeps the event source of a client to itself. But which fd it watches, and with what data, the
 * kernel says in /proc/self/fdinfo (proc(5): tfd, data, ino), and the data is all that is needed to change
 * what is watched for. A muted client that hangs up is noticed: epoll reports that unasked. When libwayland
 * changes the watch itself (a full socket to a client), the client is served once too often and muted anew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "server.h"

#define SAVING_NS (100 * MC_NSEC_PER_MSEC)
/* What takes longer was not the request: other programs had the CPU, or another source of events followed. */
#define LONGEST_REQUEST_NS (100 * MC_NSEC_PER_USEC)
#define PERIOD_WITHOUT_OUTPUTS_NS (MC_NSEC_PER_SEC / 60)
/* All that were muted together may take this part of a refresh once they are served; at least one is. */
#define SERVED_SHARE 4
/* Who was muted so often with more in its socket floods us: what it sends has no end that we know of. It is
 * served so rarely then that what its process does when it can write again, which may be ten milliseconds of
 * work to fill its socket, and the picture that it changes are in few frames. */
#define FLOOD_AFTER 64
#define FLOOD_PAUSE_NS (125 * MC_NSEC_PER_MSEC)

/* So long after a frame was handed over, in refreshes, nobody is served yet: the kernel is at work on it. */
#define KERNEL_SHARE 24

/* Flags of CLIENT_MUTED. */
#define MUTED_SERVED 1u

/* The fastest output's: a client is served once in each of its refreshes. */
static uint64_t period_ns(struct mc_server *server)
{
    uint64_t shortest_ns = 0;
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        uint64_t period_ns = mc_vclock_period_ns(&output->pacing.clock);
        if (period_ns != 0 && (shortest_ns == 0 || period_ns < shortest_ns)) {
            shortest_ns = period_ns;
        }
    }
    return shortest_ns != 0 ? shortest_ns : PERIOD_WITHOUT_OUTPUTS_NS;
}

static struct mc_ration_rules rules(struct mc_server *server)
{
    return (struct mc_ration_rules){
        .share = server->limits.time_share, .saving_ns = SAVING_NS, .period_ns = period_ns(server)};
}

/* ---- the watch ---- */

/* What libwayland has registered for the client's socket; false where the kernel does not say. */
static bool find_watch(struct mc_server *server, struct mc_client *client)
{
    struct stat socket, watched;
    if (fstat(wl_client_get_fd(client->client), &socket) != 0) {
        return false;
    }
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d",
             wl_event_loop_get_fd(wl_display_get_event_loop(server->display)));
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool found = false;
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        int fd;
        uint64_t data, inode;
        /* The number is this process's, of the moment it was registered: the socket's own duplicate. */
        if (sscanf(line, "tfd: %d events: %*x data: %" SCNx64 " pos:%*d ino:%" SCNx64, &fd, &data, &inode) ==
                3 &&
            inode == socket.st_ino && fstat(fd, &watched) == 0 && watched.st_ino == socket.st_ino &&
            watched.st_dev == socket.st_dev) {
            client->watch = (struct mc_client_watch){.fd = fd, .data = data, .known = true};
            found = true;
        }
    }
    fclose(file);
    return found;
}

static bool watch(struct mc_server *server, struct mc_client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = client->watch.data};
    int epoll_fd = wl_event_loop_get_fd(wl_display_get_event_loop(server->display));
    return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->watch.fd, &event) == 0;
}

/* ---- muting and serving ---- */

static bool floods(const struct mc_client *client)
{
    return client->muted_in_row >= FLOOD_AFTER;
}

/* Who is muted and has nothing more to say has made a pause. */
static void count(struct mc_server *server, struct mc_client *client)
{
    int waiting;
    if (ioctl(wl_client_get_fd(client->client), FIONREAD, &waiting) != 0 || waiting == 0) {
        client->muted_in_row = 0;
        return;
    }
    client->muted_in_row += client->muted_in_row < FLOOD_AFTER;
    if (floods(client) && !client->told) {
        client->told = true;
        mc_log(
            server, MC_LOG_WARNING,
            "client %u (pid %d) floods us with requests: they are read a few times a second, and it has to "
            "wait (limits.time_share_per_client)",
            client->id, client->pid);
    }
}

/* When it is served without a frame to wait for. */
static uint64_t due_ns(const struct mc_client *client, uint64_t period_ns)
{
    return client->muted_ns + period_ns + (floods(client) ? FLOOD_PAUSE_NS : 0);
}

static void set_due(struct mc_server *server, uint64_t due_ns)
{
    server->ration.due_ns = due_ns;
    server->rearm = true;
}

static void mute(struct mc_server *server, struct mc_client *client, uint64_t now_ns, uint64_t spent_ns)
{
    if (!client->watch.known && !find_watch(server, client)) {
        server->ration.impossible = true;
        mc_log(server, MC_LOG_INFO,
               "requests are not rationed: /proc/self/fdinfo does not say what is watched");
        return;
    }
    if (!watch(server, client, 0)) {
        return;
    }
    mc_trace_now(&server->trace, MC_POINT_CLIENT_MUTED, 0, 0, client->id, spent_ns, 0);
    if (!wl_list_empty(&client->muted_link)) {
        client->cost_ns += spent_ns; /* the rest of a read that something came in between of */
        return;
    }
    client->cost_ns = spent_ns;
    client->muted_ns = now_ns;
    client->times_muted++;
    count(server, client);
    wl_list_insert(server->ration.muted.prev, &client->muted_link);
    uint64_t due = due_ns(client, period_ns(server));
    if (server->ration.due_ns == 0 || due < server->ration.due_ns) {
        set_due(server, due);
    }
}

static bool may_be_served(struct mc_client *client, const struct mc_ration_rules *its, uint64_t now_ns)
{
    return floods(client) ? now_ns >= client->muted_ns + FLOOD_PAUSE_NS
                          : mc_ration_is_paid(&client->ration, its, now_ns);
}

/* libwayland may have waited for room to write when it was muted: asked for both, it takes back what it does
 * not need. */
static void serve(struct mc_server *server, struct mc_client *client, uint64_t now_ns)
{
    wl_list_remove(&client->muted_link);
    wl_list_init(&client->muted_link);
    if (floods(client)) {
        mc_ration_seize(&client->ration, now_ns); /* one read */
    }
    watch(server, client, EPOLLIN | EPOLLOUT);
    mc_trace_now(&server->trace, MC_POINT_CLIENT_MUTED, 0, 0, client->id, 0, MUTED_SERVED);
}

static void serve_all(struct mc_server *server, uint64_t now_ns)
{
    struct mc_ration_rules its = rules(server);
    int64_t left_ns = (int64_t)(its.period_ns / SERVED_SHARE);
    uint64_t next_ns = 0;
    struct mc_client *client, *next;
    wl_list_for_each_safe (client, next, &server->ration.muted, muted_link) {
        if (left_ns > 0 && may_be_served(client, &its, now_ns)) {
            left_ns -= (int64_t)client->cost_ns;
            serve(server, client, now_ns);
            continue;
        }
        uint64_t due = due_ns(client, its.period_ns);
        due = due > now_ns ? due : now_ns + its.period_ns;
        next_ns = next_ns == 0 || due < next_ns ? due : next_ns;
    }
    server->ration.put_off = false;
    set_due(server, next_ns);
}

void mc_ration_handed_over(struct mc_output *output)
{
    struct mc_rationing *ration = &output->server->ration;
    ration->turn_ns = mc_now_ns(); /* composing is no client's work */
    if (wl_list_empty(&ration->muted)) {
        return;
    }
    struct mc_ration_rules its = rules(output->server);
    uint64_t serve_ns = ration->turn_ns + its.period_ns / KERNEL_SHARE;
    struct mc_client *client;
    wl_list_for_each (client, &ration->muted, muted_link) {
        if (may_be_served(client, &its, serve_ns)) {
            ration->put_off = true; /* this is the frame that it was put off for */
            set_due(output->server, serve_ns);
            return;
        }
    }
}

void mc_ration_run(struct mc_server *server)
{
    uint64_t now_ns;
    if (server->ration.due_ns == 0 || server->ration.due_ns > (now_ns = mc_now_ns())) {
        return;
    }
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        if (output->redraw.state == MC_REDRAW_QUEUED && !server->ration.put_off) {
            server->ration.put_off = true; /* once: who knows whether the display takes it */
            set_due(server, now_ns + period_ns(server));
            return;
        }
    }
    serve_all(server, now_ns);
}

/* ---- turns ---- */

void mc_ration_turn_of(struct mc_server *server, struct wl_client *wl_client)
{
    mc_ration_turn_over(server);
    double share =
        server->limits.time_share; /* none with the step clock: while time stands still nobody waits */
    if (share > 0 && share < 1 && !server->ration.impossible && !server->step) {
        server->ration.turn = mc_client_from(server, wl_client);
        server->ration.turn_ns = mc_now_ns();
        server->ration.requests = 0;
    }
}

void mc_ration_turn_over(struct mc_server *server)
{
    struct mc_client *client = server->ration.turn;
    if (client == NULL) {
        return;
    }
    server->ration.turn = NULL;
    struct mc_ration_rules its = rules(server);
    uint64_t now_ns = mc_now_ns();
    uint64_t spent_ns =
        mc_min_ns(now_ns - server->ration.turn_ns, server->ration.requests * LONGEST_REQUEST_NS);
    if (client->ration.filled_ns == 0) {
        mc_ration_open(&client->ration, &its, server->ration.turn_ns);
    }
    if (client->muted_in_row != 0 && mc_ration_is_full(&client->ration, &its, now_ns)) {
        client->muted_in_row = 0;
    }
    if (!mc_ration_spend(&client->ration, &its, now_ns, spent_ns)) {
        mute(server, client, now_ns, spent_ns);
    }
}

void mc_ration_client_gone(struct mc_client *client)
{
    wl_list_remove(&client->muted_link);
    if (client->server->ration.turn == client) {
        client->server->ration.turn = NULL;
    }
}
