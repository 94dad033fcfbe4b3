/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * client: the client's side of the control socket (see pager/pager.h, doc/status-json.md).
 *
 * No call waits longer than it was told to, whatever the other side does.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <json-c/json.h>
#include <stdint.h>

/* The longest answer that is taken, bytes. */
#define CLIENT_ANSWER_MAX (64u << 20)

/*
 * client_enter - make @work_dir the current directory, where the socket lies: a path may be
 * longer than the address of a socket.
 * Return: 0 or -errno, logged.
 */
int client_enter(const char *work_dir);

/*
 * client_open - connect to the server of the current directory and send one request line.
 * Return: a descriptor, -ENOENT (no socket), -ECONNREFUSED (nobody behind it), -ETIMEDOUT or
 * -errno; not logged.
 */
int client_open(const char *request, unsigned int timeout_ms);

/*
 * client_read - the answer.
 * @text: if not NULL, gets the object as it came (caller frees).
 * Return: 0 and *@out (caller puts); -ECONNRESET (closed without an answer), -EPROTO (no JSON
 * object), -EMSGSIZE, -ETIMEDOUT or -errno; not logged.
 */
int client_read(int fd, unsigned int timeout_ms, json_object **out, char **text);

/* client_ask - both, with "status". Return: as above; not logged. */
int client_ask(unsigned int timeout_ms, json_object **out, char **text);

/* client_complain - say why client_open() or client_read() failed with @err (-errno). */
void client_complain(const char *work_dir, int err);

/* Members of the answer; a default where one is missing or of another type. */
const char *client_string(json_object *o, const char *key, const char *otherwise);
uint64_t client_u64(json_object *o, const char *key);
json_object *client_array(json_object *o, const char *key);

#endif
