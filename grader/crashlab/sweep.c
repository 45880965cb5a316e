/*
 * unlinkat(2) for each name, and one level deeper where that is a directory.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE

#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int sweep_inside(int fd)
{
    DIR *dir = fdopendir(fd);
    struct dirent *entry;
    int err = 0;

    if (!dir) {
        err = -errno;
        close(fd);
        return err;
    }
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && !err)
            err = sweep(fd, entry->d_name);
    }
    closedir(dir);
    return err;
}

int sweep(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
        return 0;
    fchmodat(dir_fd, name, 0700, 0); /* it may have closed it to itself */
    int fd =
        openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = sweep_inside(fd);
    if (!err && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0)
        err = -errno;
    return err;
}
