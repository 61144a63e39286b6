/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_HUGE_TMPFS_H
#define SPMVM_MEMORY_HUGE_TMPFS_H

/*
 * A tmpfs of this process's own, for memory in huge pages. A memfd is a file of a tmpfs that the kernel mounted for itself, and that one
 * gives huge pages to who asks by madvise(MADV_HUGEPAGE) only where the administrator changed shmem_enabled, which is "never" by default.
 * A tmpfs that is mounted with huge=advise has a say of its own (Linux Documentation/admin-guide/mm/transhuge.rst, "Hugepages in
 * tmpfs/shmem"). It is mounted nowhere: nobody else finds it, and it goes with its last file.
 */

/*
 * Opens one. Root makes it at once; an ordinary user in a user namespace, by a child process that lives as long as this
 * call. Returns the descriptor of its root folder, O_CLOEXEC, the caller's; or -errno when memfds have to do: -EOPNOTSUPP
 * where they are as good or the host wants no huge pages, -EPERM or -ENOSPC where the host lets this user make no mount,
 * -ENOSYS before Linux 5.2. No reason not to start. Main thread.
 */
int huge_tmpfs_open(void);

#endif
