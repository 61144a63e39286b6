/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_USER_NAMESPACE_H
#define SPMVM_BASE_USER_NAMESPACE_H

#include <stdbool.h>

/*
 * A user namespace, in which an ordinary user may make other namespaces and mounts (user_namespaces(7)). The user of this process is
 * the only one in it.
 */
struct user_namespace {
	char uid_map[32], gid_map[32]; /* for /proc/self */
};

/*
 * The effective user and group of this process, who are root in it or, unless as_root, still themselves: peers on a socket are told
 * apart by that.
 */
struct user_namespace user_namespace_of_self(bool as_root);

/*
 * Moves the calling process, which has one thread, into a new one, and into other new namespaces that go with it (CLONE_NEW*).
 * Async-signal-safe. 0 or -errno: where the host lets nobody make one, -EPERM, -ENOSPC or, with AppArmor, not before it is used.
 */
int user_namespace_enter(const struct user_namespace *space, int others);

#endif
