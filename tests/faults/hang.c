/*
 * Preloaded into a process, it lets no file be synced while the file exists that HANGS_WHILE names: a disk that does not answer. HANGS_AT names
 * the only one that this is so for, if any. Once somebody waits for it, the file that WAITS names is there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int hangs(int descriptor) {
    const char *hangs_while = getenv("HANGS_WHILE"), *hangs_at = getenv("HANGS_AT");
    char link[64], path[PATH_MAX + 1] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    if (hangs_at != NULL && (readlink(link, path, PATH_MAX) < 0 || strcmp(path, hangs_at) != 0)) return 0;
    return hangs_while != NULL && access(hangs_while, F_OK) == 0;
}

static int sync_by(const char *name, int descriptor) {
    while (hangs(descriptor)) {
        close(open(getenv("WAITS"), O_CREAT | O_WRONLY, 0600));
        usleep(1000);
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(descriptor);
}

int fsync(int descriptor) {
    return sync_by("fsync", descriptor);
}

int fdatasync(int descriptor) {
    return sync_by("fdatasync", descriptor);
}
