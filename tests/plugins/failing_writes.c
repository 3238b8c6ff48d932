/* Loaded into a process by LD_PRELOAD: below $FAILING_WRITES_FOLDER, one write, rename or creation
   of a file in $FAILING_WRITES_ONE_IN fails with EIO, and nothing of it is done.

   Each process draws by itself, from its own id and its clock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int below(const char *path) {
    const char *folder = getenv("FAILING_WRITES_FOLDER");
    return folder && path && !strncmp(path, folder, strlen(folder));
}

static int fails(void) {
    static __thread unsigned state;
    const char *rate = getenv("FAILING_WRITES_ONE_IN");
    if (!rate) return 0;
    if (!state) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        state = (unsigned)getpid() * 2654435761u ^ (unsigned)now.tv_nsec ^ 1u;
    }
    if (rand_r(&state) % atoi(rate)) return 0;
    errno = EIO;
    return 1;
}

static int below_fd(int fd) {
    char link[64], path[4096];
    if (fd < 3) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (below_fd(fd) && fails()) return -1;
    return real(fd, data, size);
}

int rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    if (!real) real = dlsym(RTLD_NEXT, "rename");
    if (below(to) && fails()) return -1;
    return real(from, to);
}

#define OPENS(name)                                                                              \
    int name(const char *path, int flags, ...) {                                                 \
        static int (*real)(const char *, int, ...);                                              \
        va_list rest;                                                                            \
        va_start(rest, flags);                                                                   \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                \
        va_end(rest);                                                                            \
        if (!real) real = dlsym(RTLD_NEXT, #name);                                               \
        if ((flags & O_CREAT) && below(path) && fails()) return -1;                              \
        return real(path, flags, mode);                                                          \
    }
OPENS(open)
OPENS(open64)
