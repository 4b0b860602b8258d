/*
 * Preloaded into a process, it writes down everything that the process does to the files of one folder, in the order in which it is
 * done: what a disk is asked for. Nothing is really synced, because the power is only cut on paper.
 *
 * POWER_FOLDER names the folder, by its real path, and POWER_LOG the log. Each entry is a head, and a path or data: kind (4 bytes),
 * length of what follows the head (4), file (8), offset (8), little-endian. Files are told by their inode, the folder by 0. A
 * number is used again after its file is gone, so an entry that makes a file begins a new one.
 *
 * One lock orders all of it: an entry is written before anybody else may act. SIGUSR1 kills the process as SIGKILL does, but not
 * between a deed and its entry. Where a call would change the folder in a way that the log has no words for, the process is aborted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { MAKE = 1, WRITE, CUT, SYNC, RENAME, REMOVE };

struct head {
    uint32_t kind, length;
    uint64_t file, offset;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_length;
static int log_file = -1;
/* Which descriptors are of files in the folder, or of the folder. */
#define DESCRIPTORS 65536
static unsigned char ours[DESCRIPTORS];

static volatile sig_atomic_t is_over;

static void end(void) {
    kill(getpid(), SIGKILL);
    pause();
}

static void enter(void) {
    pthread_mutex_lock(&lock);
}

static void leave(void) {
    pthread_mutex_unlock(&lock);
    /* Only then: whoever was told while the lock was held leaves the rest to its holder. */
    if (is_over) {
        enter();
        end();
    }
}

static void told_to_end(int signal) {
    (void)signal;
    is_over = 1;
    if (pthread_mutex_trylock(&lock) == 0) end();
}

/* The function that this one stands in front of. */
#define NEXT(name) ((__typeof__(&name))next_of(#name))

static void *next_of(const char *name) {
    void *next = dlsym(RTLD_NEXT, name);
    if (next == NULL) abort();
    return next;
}

static void unknown(const char *what) {
    dprintf(2, "power shim: there are no words for %s\n", what);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = { .sa_handler = told_to_end };
    sigaction(SIGUSR1, &action, NULL);
    folder = getenv("POWER_FOLDER");
    const char *path = getenv("POWER_LOG");
    if (folder == NULL || path == NULL) abort();
    folder_length = strlen(folder);
    log_file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (log_file < 0) abort();
}

static void note(enum kind kind, uint64_t file, uint64_t offset, const void *data, size_t length) {
    struct head head = { kind, length, file, offset };
    struct iovec parts[] = { { &head, sizeof head }, { (void *)data, length } };
    if (syscall(SYS_writev, log_file, parts, 2) != (ssize_t)(sizeof head + length)) abort();
}

static int within(const char *path) {
    return folder != NULL && strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == 0);
}

static int is_ours(int fd) {
    return fd >= 0 && fd < DESCRIPTORS && ours[fd];
}

static uint64_t file_of(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0) abort();
    return S_ISDIR(status.st_mode) ? 0 : status.st_ino;
}

/* The path with its folder resolved; the file itself need not be there. Answers whether it is in the folder. */
static int resolve(int at, const char *path, char *resolved) {
    int kept = errno;
    char parent[PATH_MAX + 32], name[NAME_MAX + 1];
    const char *slash = strrchr(path, '/');
    if (path[0] != '/' && at != AT_FDCWD) unknown("paths relative to an open folder");
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : path);
    int found = realpath(parent, resolved) != NULL;
    if (found) {
        size_t length = strlen(resolved);
        snprintf(resolved + length, PATH_MAX - length, "/%s", name);
    }
    errno = kept;
    return found && within(resolved);
}

static int open_it(int at, const char *path, int flags, mode_t mode) {
    char resolved[PATH_MAX];
    if (!resolve(at, path, resolved)) {
        int fd = syscall(SYS_openat, at, path, flags, mode);
        if (fd >= 0 && fd < DESCRIPTORS) ours[fd] = 0;
        return fd;
    }
    if ((flags & O_TMPFILE) == O_TMPFILE) unknown("files without a name");
    enter();
    int there = access(resolved, F_OK) == 0;
    int fd = syscall(SYS_openat, at, path, flags, mode);
    int kept = errno;
    if (fd >= DESCRIPTORS) unknown("so many descriptors");
    if (fd >= 0) {
        ours[fd] = 1;
        if (!there) note(MAKE, file_of(fd), 0, resolved, strlen(resolved));
        else if (flags & O_TRUNC) note(CUT, file_of(fd), 0, NULL, 0);
    }
    leave();
    errno = kept;
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) { MODE(flags) return open_it(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_it(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_it(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_it(at, path, flags, mode); }
/* What a compiler makes of the first two when it hardens the code. */
int __open_2(const char *path, int flags) { return open_it(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_it(AT_FDCWD, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_it(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS) ours[fd] = 0;
    return syscall(SYS_close, fd);
}

static int copied(int from, int to) {
    if (to >= DESCRIPTORS && is_ours(from)) unknown("so many descriptors");
    if (to >= 0 && to < DESCRIPTORS) ours[to] = is_ours(from);
    return to;
}

int dup(int fd) { return copied(fd, syscall(SYS_dup, fd)); }
int dup2(int fd, int to) { return copied(fd, fd == to ? to : (int)syscall(SYS_dup3, fd, to, 0)); }
int dup3(int fd, int to, int flags) { return copied(fd, syscall(SYS_dup3, fd, to, flags)); }

static int control(int fd, int command, void *argument) {
    int done = syscall(SYS_fcntl, fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, done) : done;
}

int fcntl(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return control(fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return control(fd, command, argument);
}

/* Writes at an offset, or where the file stands when that is negative. */
static ssize_t write_it(int fd, const struct iovec *parts, int count, off_t offset) {
    enter();
    ssize_t written = offset < 0 ? syscall(SYS_writev, fd, parts, count)
                                 : syscall(SYS_pwritev, fd, parts, count, (long)offset, 0L);
    int kept = errno;
    if (written > 0) {
        uint64_t at = offset < 0 ? (uint64_t)lseek(fd, 0, SEEK_CUR) - written : (uint64_t)offset;
        size_t left = written;
        for (int part = 0; left > 0; part++) {
            size_t length = parts[part].iov_len < left ? parts[part].iov_len : left;
            if (length > 0) note(WRITE, file_of(fd), at, parts[part].iov_base, length);
            at += length;
            left -= length;
        }
    }
    leave();
    errno = kept;
    return written;
}

ssize_t write(int fd, const void *data, size_t length) {
    if (!is_ours(fd)) return syscall(SYS_write, fd, data, length);
    struct iovec part = { (void *)data, length };
    return write_it(fd, &part, 1, -1);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!is_ours(fd)) return syscall(SYS_writev, fd, parts, count);
    return write_it(fd, parts, count, -1);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    if (!is_ours(fd)) return syscall(SYS_pwrite64, fd, data, length, offset);
    struct iovec part = { (void *)data, length };
    return write_it(fd, &part, 1, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite(fd, data, length, offset); }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    if (!is_ours(fd)) return syscall(SYS_pwritev, fd, parts, count, (long)offset, 0L);
    return write_it(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) { return pwritev(fd, parts, count, offset); }

static ssize_t write_of_stream(void *cookie, const char *data, size_t length) {
    return write((int)(intptr_t)cookie, data, length);
}

static int seek_of_stream(void *cookie, off64_t *offset, int from) {
    off_t at = lseek((int)(intptr_t)cookie, *offset, from);
    if (at >= 0) *offset = at;
    return at < 0 ? -1 : 0;
}

static int close_of_stream(void *cookie) {
    return close((int)(intptr_t)cookie);
}

/* The library writes streams by calls that nobody can stand in front of, so one that writes here is made anew. */
static FILE *open_stream(const char *path, const char *how, __typeof__(&fopen) next) {
    char resolved[PATH_MAX];
    if (how[0] == 'r' && strchr(how, '+') == NULL) return next(path, how);
    if (!resolve(AT_FDCWD, path, resolved)) return next(path, how);
    if (how[0] != 'w' || strchr(how, '+') != NULL) unknown("streams that append, or read and write");
    int fd = open_it(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return NULL;
    cookie_io_functions_t calls = { NULL, write_of_stream, seek_of_stream, close_of_stream };
    return fopencookie((void *)(intptr_t)fd, "w", calls);
}

FILE *fopen(const char *path, const char *how) { return open_stream(path, how, NEXT(fopen)); }
FILE *fopen64(const char *path, const char *how) { return open_stream(path, how, NEXT(fopen64)); }

int ftruncate(int fd, off_t length) {
    if (!is_ours(fd)) return syscall(SYS_ftruncate, fd, length);
    enter();
    int done = syscall(SYS_ftruncate, fd, length);
    int kept = errno;
    if (done == 0) note(CUT, file_of(fd), length, NULL, 0);
    leave();
    errno = kept;
    return done;
}

int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

#define NO_WORDS(returns, name, parameters, fd, ...) \
    returns name parameters { \
        if (is_ours(fd)) unknown(#name); \
        return NEXT(name)(__VA_ARGS__); \
    }

NO_WORDS(int, fallocate, (int fd, int mode, off_t offset, off_t length), fd, fd, mode, offset, length)
NO_WORDS(int, fallocate64, (int fd, int mode, off64_t offset, off64_t length), fd, fd, mode, offset, length)
NO_WORDS(int, posix_fallocate, (int fd, off_t offset, off_t length), fd, fd, offset, length)
NO_WORDS(int, posix_fallocate64, (int fd, off64_t offset, off64_t length), fd, fd, offset, length)
NO_WORDS(ssize_t, pwritev2, (int fd, const struct iovec *parts, int count, off_t offset, int flags), fd, fd, parts, count, offset, flags)
NO_WORDS(ssize_t, pwritev64v2, (int fd, const struct iovec *parts, int count, off64_t offset, int flags), fd, fd, parts, count, offset, flags)
NO_WORDS(ssize_t, copy_file_range, (int from, off64_t *at, int to, off64_t *offset, size_t length, unsigned flags), to, from, at, to, offset, length, flags)

static int sync_it(int fd) {
    enter();
    note(SYNC, file_of(fd), 0, NULL, 0);
    leave();
    return 0;
}

int fsync(int fd) { return is_ours(fd) ? sync_it(fd) : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return is_ours(fd) ? sync_it(fd) : (int)syscall(SYS_fdatasync, fd); }

static int rename_it(int at, const char *from, int to_at, const char *to, unsigned flags) {
    char paths[2 * PATH_MAX], resolved[PATH_MAX];
    int leaves = resolve(at, from, paths), comes = resolve(to_at, to, resolved);
    if (leaves != comes || (leaves && flags != 0)) unknown("renames into the folder, out of it, or with conditions");
    enter();
    int done = syscall(SYS_renameat2, at, from, to_at, to, flags);
    int kept = errno;
    if (done == 0 && leaves) {
        size_t length = strlen(paths) + 1;
        strcpy(paths + length, resolved);
        note(RENAME, 0, 0, paths, length + strlen(resolved));
    }
    leave();
    errno = kept;
    return done;
}

int rename(const char *from, const char *to) { return rename_it(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int at, const char *from, int to_at, const char *to) { return rename_it(at, from, to_at, to, 0); }
int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags) { return rename_it(at, from, to_at, to, flags); }

static int remove_it(int at, const char *path, int flags) {
    char resolved[PATH_MAX];
    int ours_too = resolve(at, path, resolved);
    enter();
    int done = syscall(SYS_unlinkat, at, path, flags);
    int kept = errno;
    if (done == 0 && ours_too) note(REMOVE, 0, 0, resolved, strlen(resolved));
    leave();
    errno = kept;
    return done;
}

int unlink(const char *path) { return remove_it(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return remove_it(at, path, flags); }
int rmdir(const char *path) { return remove_it(AT_FDCWD, path, AT_REMOVEDIR); }

static int make_folder(int at, const char *path, mode_t mode) {
    char resolved[PATH_MAX];
    int is_within = resolve(at, path, resolved);
    int done = syscall(SYS_mkdirat, at, path, mode);
    if (done == 0 && is_within) unknown("folders in the folder");
    return done;
}

int mkdir(const char *path, mode_t mode) { return make_folder(AT_FDCWD, path, mode); }
int mkdirat(int at, const char *path, mode_t mode) { return make_folder(at, path, mode); }
