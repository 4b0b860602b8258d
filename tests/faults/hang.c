/*
 * Preloaded into a process, it lets no file be synced while the file exists that HANGS_WHILE names: a disk that does not answer. Once
 * somebody waits for it, the file that WAITS names is there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_by(const char *name, int descriptor) {
    const char *hangs_while = getenv("HANGS_WHILE");
    while (hangs_while && access(hangs_while, F_OK) == 0) {
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
