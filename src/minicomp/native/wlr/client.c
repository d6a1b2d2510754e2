/* Clients: who they are, which privileged globals they may see, and when they ask for too much.
 *
 * The identity is taken once, when the connection is made: the socket it came by, the peer's credentials, its
 * executable, and whether the app started it. A client made by mc_client_create is known for certain; of the
 * others the executable is as sure as /proc (a process may exec after connecting), so rules that must hold
 * use uid or socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ancestry.h"
#include "server.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

#define MAX_PRIVILEGED 32
#define PATH_BYTES 4096
#define FLUSH_ALL_NS (100 * MC_NSEC_PER_MSEC) /* a release that can wait does so no longer */
#define RESERVED_FDS 256 /* of RLIMIT_NOFILE, for connections, outputs, devices and our own */

struct rule {
    struct wl_list link; /* rules */
    int64_t uid;
    char *exe, *socket; /* owned; NULL fits everything */
    uint32_t grants;
};

/* Process-wide: one compositor lives in a process at a time; guarded by that server's lock. */
struct privileged {
    char name[64];
    const struct wl_interface *interface; /* found at the first look; NULL before */
};

struct mc_clients {
    struct privileged privileged[MAX_PRIVILEGED];
    size_t privileged_count;
    struct wl_list rules; /* rule.link */
    uint64_t creating;    /* grants + 1 of the client that mc_client_create is making, or 0 */
    uint32_t held_fds;    /* of all clients */
    pid_t app_pid;        /* not reaped while we look at clients; 0: nobody has the app's grants */
    uint32_t app_grants;
};

static bool read_executable(int32_t pid, char *path_ret, size_t size)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/%d/exe", pid);
    ssize_t length = readlink(link, path_ret, size - 1);
    if (length < 0) {
        return false;
    }
    path_ret[length] = '\0';
    return true;
}

static bool read_socket(int fd, char *path_ret, size_t size)
{
    struct sockaddr_un address;
    socklen_t length = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0 || length <= sizeof(address.sun_family)) {
        return false;
    }
    snprintf(path_ret, size, "%s", address.sun_path);
    return true;
}

/* The credentials name the process that connected. It may have ended, and another have its number by now: a
 * pidfd of the peer knows, which kernels before 6.5 do not give; there this is as sure as the number. */
static bool is_of_the_app(struct mc_server *server, int fd, pid_t pid)
{
    pid_t app_pid = server->client_rules->app_pid;
    if (app_pid == 0 || pid <= 0) {
        return false;
    }
    int pidfd = -1;
    socklen_t length = sizeof(pidfd);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) != 0) {
        return errno == ENOPROTOOPT && mc_process_descends(pid, app_pid);
    }
    bool descends = mc_process_descends(pid, app_pid);
    bool reaped = pidfd_send_signal(pidfd, 0, NULL, 0) != 0 && errno == ESRCH;
    close(pidfd);
    return descends && !reaped;
}

static uint32_t grants_by_rules(struct mc_server *server, struct wl_client *client, uint32_t uid, int32_t pid)
{
    char exe[PATH_BYTES] = "", socket[sizeof(((struct sockaddr_un *)0)->sun_path) + 1] = "";
    read_executable(pid, exe, sizeof(exe));
    read_socket(wl_client_get_fd(client), socket, sizeof(socket));
    const char *name = strrchr(socket, '/');
    name = name != NULL ? name + 1 : socket;
    struct rule *rule;
    wl_list_for_each (rule, &server->client_rules->rules, link) {
        bool fits = (rule->uid < 0 || rule->uid == (int64_t)uid) &&
                    (rule->exe == NULL || strcmp(rule->exe, exe) == 0) &&
                    (rule->socket == NULL || strcmp(rule->socket, name) == 0);
        if (fits) {
            return rule->grants;
        }
    }
    return 0;
}

static void handle_client_destroy(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_client *client = wl_container_of(listener, client, destroy);
    mc_surfaces_forget_client(client);
    mc_handles_remove(&client->server->handles, client->handle);
    mc_push(client->server, MC_EVENT_CLIENT_GONE, client->handle, client->pid, client->killed);
    client->server->client_rules->held_fds -= client->held_fds;
    if (client->ending != NULL) {
        wl_event_source_remove(client->ending);
    }
    mc_unlisten(&client->destroy);
    wl_list_remove(&client->link);
    wl_list_remove(&client->flush_link);
    mc_ration_client_gone(client);
    free(client);
}

static void handle_client_created(struct wl_listener *listener, void *data)
{
    struct mc_server *server = wl_container_of(listener, server, client_created);
    struct wl_client *wl_client = data;
    struct mc_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        wl_client_post_no_memory(wl_client);
        return;
    }
    client->server = server;
    client->client = wl_client;
    client->id = ++server->next_client_id;
    pid_t pid;
    uid_t uid;
    wl_client_get_credentials(wl_client, &pid, &uid, NULL);
    client->pid = pid;
    client->uid = uid;
    if (server->client_rules->creating != 0) {
        client->grants = (uint32_t)(server->client_rules->creating - 1);
    } else {
        client->grants = grants_by_rules(server, wl_client, uid, pid);
        if (is_of_the_app(server, wl_client_get_fd(wl_client), pid)) {
            client->grants |= server->client_rules->app_grants;
        }
    }
    if (server->limits.unread_bytes != 0) {
        /* The socket's buffer is the limit: libwayland disconnects a client when that is full and its own 4
         * KiB are too. The kernel doubles the value for its bookkeeping. */
        int bytes = (int)(server->limits.unread_bytes / 2);
        setsockopt(wl_client_get_fd(wl_client), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    client->handle = mc_handles_add(&server->handles, MC_HANDLE_CLIENT, client);
    client->destroy.notify = handle_client_destroy;
    wl_client_add_destroy_listener(wl_client, &client->destroy);
    wl_list_insert(&server->clients, &client->link);
    wl_list_init(&client->flush_link);
    wl_list_init(&client->muted_link);
    atomic_fetch_add_explicit(&server->changes, 1, memory_order_relaxed);
    mc_push(server, MC_EVENT_CLIENT_NEW, client->handle, pid, client->grants);
}

struct mc_client *mc_client_from(struct mc_server *server, struct wl_client *wl_client)
{
    (void)server;
    struct wl_listener *listener = wl_client_get_destroy_listener(wl_client, handle_client_destroy);
    if (listener == NULL) {
        return NULL;
    }
    struct mc_client *client = wl_container_of(listener, client, destroy);
    return client;
}

void mc_client_withhold(struct mc_server *server, struct wl_client *wl_client, bool withhold)
{
    struct mc_client *client = mc_client_from(server, wl_client);
    *(withhold ? &server->withheld : &server->releasing) += 1;
    if (client != NULL) {
        *(withhold ? &client->withheld : &client->releasing) += 1;
    }
}

void mc_client_has_event(struct mc_server *server, struct wl_client *wl_client)
{
    struct mc_client *client = mc_client_from(server, wl_client);
    if (client != NULL && wl_list_empty(&client->flush_link)) {
        wl_list_insert(server->to_flush.prev, &client->flush_link);
    }
}

void mc_clients_flush_safely(struct mc_server *server)
{
    struct mc_client *client, *next;
    wl_list_for_each_safe (client, next, &server->to_flush, flush_link) {
        if (client->withheld == 0) {
            wl_list_remove(&client->flush_link);
            wl_list_init(&client->flush_link);
            wl_client_flush(client->client);
        }
    }
}

/* After the idle sources have run: among them the configures that clients were withheld for. */
static void release(struct mc_server *server)
{
    struct mc_client *client;
    wl_list_for_each (client, &server->clients, link) {
        client->withheld -= client->releasing;
        client->releasing = 0;
    }
    server->withheld -= server->releasing;
    server->releasing = 0;
}

void mc_clients_flush(struct mc_server *server)
{
    if (server->releasing != 0) {
        release(server);
    }
    /* The wl_buffer.release that follows from a commit goes with the frame callback that the commit asks for:
     * in each frame one message and one wake-up of the client less. It waits only while something is due
     * soon. */
    uint64_t now_ns = mc_now_ns();
    bool soon = server->deadline_ns != 0 && server->deadline_ns < now_ns + FLUSH_ALL_NS && !server->step;
    if ((!soon || now_ns - server->flushed_ns > FLUSH_ALL_NS) && server->withheld == 0) {
        server->flushed_ns = now_ns;
        wl_display_flush_clients(server->display);
    }
    mc_clients_flush_safely(server); /* what a socket does not take goes with the next flush of all */
}

/* libwayland asks for every global and client at registry time: pointers are compared, names only once. */
static bool filter_global(const struct wl_client *wl_client, const struct wl_global *global, void *data)
{
    struct mc_server *server = data;
    const struct wl_interface *interface = wl_global_get_interface(global);
    struct mc_clients *clients = server->client_rules;
    for (size_t i = 0; i < clients->privileged_count; i++) {
        struct privileged *privileged = &clients->privileged[i];
        if (privileged->interface == NULL && strcmp(privileged->name, interface->name) == 0) {
            privileged->interface = interface;
        }
        if (privileged->interface == interface) {
            struct mc_client *client = mc_client_from(server, (struct wl_client *)wl_client);
            return client != NULL && (client->grants & 1u << i) != 0;
        }
    }
    return true;
}

void mc_client_kill_now(struct mc_client *client, const char *reason)
{
    if (client->killed) {
        return; /* what it had sent before is still being read */
    }
    client->killed = true;
    mc_log(client->server, MC_LOG_WARNING, "client %u (pid %d) disconnected: %s", client->id, client->pid,
           reason);
    /* Posting an error destroys the client when its events are next dispatched, not under our feet here. */
    wl_client_post_implementation_error(client->client, "%s", reason);
}

void mc_client_count_fds(struct mc_client *client, uint32_t count)
{
    struct mc_server *server = client->server;
    uint64_t now_ns = mc_now_ns();
    if (now_ns - client->fd_window_ns > MC_NSEC_PER_SEC) {
        client->fd_window_ns = now_ns;
        client->fds_in_window = 0;
    }
    client->fds_in_window += count;
    if (server->limits.fds_per_client != 0 && client->fds_in_window > server->limits.fds_per_client) {
        mc_client_kill_now(client, "too many file descriptors within a second (limits.fds_per_client)");
    }
}

static void handle_ending(void *data)
{
    struct mc_client *client = data;
    client->ending = NULL;
    wl_client_destroy(client->client);
}

/* Fds that stay open add up over clients, and when there are no more, nobody can connect or send one. Whoever
 * holds the most goes, and at the end of this dispatch: it might not say anything for us to end it by. Those
 * that are going already do not count. */
static void end_greediest(struct mc_server *server, uint64_t limit)
{
    uint64_t held = 0;
    struct mc_client *greediest = NULL, *client;
    wl_list_for_each (client, &server->clients, link) {
        if (client->ending == NULL) {
            held += client->held_fds;
            greediest = greediest == NULL || client->held_fds > greediest->held_fds ? client : greediest;
        }
    }
    if (held > limit) {
        mc_client_kill_now(greediest, "we are running out of file descriptors, and it holds the most");
        greediest->ending =
            wl_event_loop_add_idle(wl_display_get_event_loop(server->display), handle_ending, greediest);
    }
}

void mc_client_hold_fds(struct mc_server *server, uint64_t handle, int32_t change)
{
    struct mc_client *client = mc_handles_get(&server->handles, MC_HANDLE_CLIENT, handle);
    if (client == NULL || change == 0) {
        return; /* gone; what it held left the count with it */
    }
    client->held_fds += (uint32_t)change;
    server->client_rules->held_fds += (uint32_t)change;
    if (change < 0) {
        return;
    }
    if (server->limits.fds_per_client != 0 && client->held_fds > server->limits.fds_per_client) {
        mc_client_kill_now(client, "too many file descriptors in use (limits.fds_per_client)");
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        server->client_rules->held_fds + RESERVED_FDS > limit.rlim_cur) {
        end_greediest(server, limit.rlim_cur > RESERVED_FDS ? limit.rlim_cur - RESERVED_FDS : 0);
    }
}

int mc_clients_init(struct mc_server *server)
{
    server->client_rules = calloc(1, sizeof(*server->client_rules));
    if (server->client_rules == NULL) {
        return -ENOMEM;
    }
    wl_list_init(&server->client_rules->rules);
    return 0;
}

void mc_clients_attach(struct mc_server *server)
{
    server->client_created.notify = handle_client_created;
    wl_display_add_client_created_listener(server->display, &server->client_created);
    wl_display_set_global_filter(server->display, filter_global, server);
}

void mc_clients_detach(struct mc_server *server)
{
    mc_unlisten(&server->client_created);
    struct mc_client *client, *next;
    wl_list_for_each_safe (client, next, &server->clients, link) {
        wl_client_destroy(client->client);
    }
}

void mc_clients_finish(struct mc_server *server)
{
    if (server->client_rules == NULL) {
        return;
    }
    mc_clients_clear_rules(server);
    free(server->client_rules);
    server->client_rules = NULL;
}

int mc_clients_set_privileged(struct mc_server *server, const char *const *names, size_t count)
{
    if (count > MAX_PRIVILEGED) {
        return -E2BIG;
    }
    mc_verb_begin(server);
    struct mc_clients *clients = server->client_rules;
    memset(clients->privileged, 0, sizeof(clients->privileged));
    for (size_t i = 0; i < count; i++) {
        snprintf(clients->privileged[i].name, sizeof(clients->privileged[i].name), "%s", names[i]);
    }
    clients->privileged_count = count;
    mc_verb_end(server);
    return 0;
}

static char *copy(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

int mc_clients_add_rule(struct mc_server *server, int64_t uid, const char *exe, const char *socket,
                        uint32_t grants)
{
    struct rule *rule = calloc(1, sizeof(*rule));
    if (rule == NULL) {
        return -ENOMEM;
    }
    rule->uid = uid;
    rule->exe = copy(exe);
    rule->socket = copy(socket);
    rule->grants = grants;
    if ((exe != NULL && rule->exe == NULL) || (socket != NULL && rule->socket == NULL)) {
        free(rule->exe);
        free(rule->socket);
        free(rule);
        return -ENOMEM; /* half a rule would fit more clients than was meant */
    }
    mc_verb_begin(server);
    wl_list_insert(server->client_rules->rules.prev, &rule->link);
    mc_verb_end(server);
    return 0;
}

void mc_clients_clear_rules(struct mc_server *server)
{
    struct rule *rule, *next;
    wl_list_for_each_safe (rule, next, &server->client_rules->rules, link) {
        wl_list_remove(&rule->link);
        free(rule->exe);
        free(rule->socket);
        free(rule);
    }
}

void mc_clients_set_app(struct mc_server *server, int32_t pid, uint32_t grants)
{
    server->client_rules->app_pid = grants != 0 ? pid : 0;
    server->client_rules->app_grants = grants;
}

uint64_t mc_client_create(struct mc_server *server, int fd, uint32_t grants)
{
    mc_verb_begin(server);
    server->client_rules->creating = (uint64_t)grants + 1;
    struct wl_client *wl_client = wl_client_create(server->display, fd);
    server->client_rules->creating = 0;
    struct mc_client *client = wl_client != NULL ? mc_client_from(server, wl_client) : NULL;
    uint64_t handle = client != NULL ? client->handle : 0;
    if (wl_client == NULL) {
        close(fd);
    }
    mc_verb_end(server);
    return handle;
}

int mc_client_kill(struct mc_server *server, uint64_t handle)
{
    mc_verb_begin(server);
    struct mc_client *client = mc_handles_get(&server->handles, MC_HANDLE_CLIENT, handle);
    if (client != NULL) {
        wl_client_destroy(client->client);
    }
    mc_verb_end(server);
    return client != NULL ? 0 : -ENOENT;
}

size_t mc_clients_list(struct mc_server *server, struct mc_client_info *infos_ret, size_t max)
{
    size_t count = 0;
    mc_verb_begin(server);
    struct mc_client *client;
    wl_list_for_each (client, &server->clients, link) {
        if (count < max) {
            infos_ret[count] = (struct mc_client_info){
                .handle = client->handle,
                .id = client->id,
                .grants = client->grants,
                .surfaces = client->surfaces,
                .pid = client->pid,
                .uid = client->uid,
                .times_muted = client->times_muted,
            };
        }
        count++;
    }
    mc_look_end(server);
    return count;
}

void mc_clients_set_limits(struct mc_server *server, uint32_t fds_per_client, uint32_t surfaces_per_client,
                           uint32_t unread_bytes, double time_share)
{
    mc_verb_begin(server);
    server->limits.fds_per_client = fds_per_client;
    server->limits.surfaces_per_client = surfaces_per_client;
    server->limits.unread_bytes = unread_bytes;
    server->limits.time_share = time_share;
    mc_verb_end(server);
}
