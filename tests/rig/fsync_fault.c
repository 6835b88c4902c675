/* Preloaded into an agent by tests/disk.rs: while the file that KONTOR_TEST_FSYNC names holds "fail",
   an fsync below a folder "raft" fails as that of a broken disk does; while it holds "hang", it does
   not come back; while it holds "slow", one below "services" or "checks" does not. While it holds
   "room", no write below "raft" finds room but for its first bytes, as on a disk that is full; while it
   holds "tables", none of a table of the log store does, as with a quota. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int below(int fd, const char *folder) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, folder) != NULL;
}

static char wanted(void) {
    char what = 0;
    const char *name = getenv("KONTOR_TEST_FSYNC");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    if (read(file, &what, 1) != 1) what = 0;
    close(file);
    return what;
}

static int synced(long call, int fd) {
    if (below(fd, "/services") || below(fd, "/checks")) {
        while (wanted() == 's') usleep(20000);
    } else if (below(fd, "/raft")) {
        while (wanted() == 'h') usleep(20000);
        if (wanted() == 'f') {
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(call, fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (wanted() == 'r' && below(fd, "/raft")) {
        /* A part of it may still find room. */
        if (count > 64) return syscall(SYS_write, fd, bytes, (size_t)7);
        errno = ENOSPC;
        return -1;
    }
    if (wanted() == 't' && below(fd, "/raft") && below(fd, "/tables/")) {
        errno = EDQUOT;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, count);
}

int fsync(int fd) { return synced(SYS_fsync, fd); }
int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }
