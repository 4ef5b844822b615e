/* LD_PRELOAD: what a process does to the files below RECORDER_ROOT is written to RECORDER_JOURNAL, in its order, and
 * calls fail or hang as RECORDER_FAULTS says.
 *
 * A line of RECORDER_FAULTS is "CALL PART ERRNO", "CALL PART hang" or "CALL PART die": CALL (fsync, pwrite, link, ...) of a
 * path that contains PART fails with that errno, does not return while the line is there, or ends the process by SIGKILL
 * while no other call is made: a kill from outside may come between a call and its record. "-" for PART means any path.
 *
 * Nothing is fsynced in truth: the journal says what a disk would hold (tests/system/powercut.py). What is mapped into
 * memory is not recorded: of a database that is its -shm, which nobody needs after a crash.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { CREATE = 1, WRITE, TRUNCATE, LINK, RENAME, UNLINK, MKDIR, SYNC };

struct head {
    uint32_t kind, name_bytes, data_bytes, spare;
    uint64_t inode, at;
};

struct place {
    uint64_t inode; /* 0: not one of ours */
    char *path;
};

#define MOST_FILES 65536
#define PATH_BYTES 4096
static struct place places[MOST_FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *faults;
static size_t root_bytes;
static int journal = -1;

/* The next definition of a function of libc. */
#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        fprintf(stderr, "recorder: this libc has no %s\n", name);
        abort();
    }
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("RECORDER_JOURNAL");
    faults = getenv("RECORDER_FAULTS");
    root = getenv("RECORDER_ROOT");
    if (root == NULL || path == NULL) {
        root = NULL;
        return;
    }
    root_bytes = strlen(root);
    journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0) {
        perror("recorder: the journal cannot be opened");
        abort();
    }
}

static void record(enum kind kind, const char *name, uint64_t inode, uint64_t at, const void *data, size_t bytes) {
    struct head head = {kind, strlen(name), bytes, 0, inode, at};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)name, head.name_bytes}, {(void *)data, bytes}};
    ssize_t all = sizeof head + head.name_bytes + bytes;
    if (syscall(SYS_writev, journal, parts, 3) != all) {
        perror("recorder: the journal cannot be written");
        abort();
    }
}

/* The absolute path, or NULL for one that is not below the root. */
static const char *watched(const char *path, char *into) {
    if (root == NULL || path == NULL)
        return NULL;
    if (path[0] != '/') {
        if (getcwd(into, PATH_BYTES) == NULL || strlen(into) + strlen(path) + 2 > PATH_BYTES)
            return NULL;
        strcat(strcat(into, "/"), path);
        path = into;
    }
    return strncmp(path, root, root_bytes) || (path[root_bytes] != '/' && path[root_bytes] != 0) ? NULL : path;
}

static struct place *place_of(int fd) {
    return fd >= 0 && fd < MOST_FILES && places[fd].inode ? &places[fd] : NULL;
}

/* The errno with which a call is to fail now, or 0; returns when it hangs no more. */
static int fault(const char *call, const char *path) {
    for (;;) {
        char text[1024], *line, *rest = text;
        int hangs = 0, file;
        ssize_t bytes;
        if (faults == NULL || path == NULL || (file = syscall(SYS_openat, AT_FDCWD, faults, O_RDONLY | O_CLOEXEC, 0)) < 0)
            return 0;
        bytes = syscall(SYS_read, file, text, sizeof text - 1);
        syscall(SYS_close, file);
        text[bytes > 0 ? bytes : 0] = 0;
        while ((line = strsep(&rest, "\n")) != NULL) {
            char name[32], part[256], what[32];
            if (sscanf(line, "%31s %255s %31s", name, part, what) != 3 || strcmp(name, call))
                continue;
            if (strcmp(part, "-") && strstr(path, part) == NULL)
                continue;
            if (!strcmp(what, "die")) {
                pthread_mutex_lock(&lock);
                kill(getpid(), SIGKILL);
                pause();
            }
            if (strcmp(what, "hang"))
                return atoi(what);
            hangs = 1;
        }
        if (!hangs)
            return 0;
        usleep(10000);
    }
}

/* ---- what takes a path */

static int opened(int dir, const char *path, int flags, mode_t mode) {
    static int (*inner)(int, const char *, int, ...);
    char into[PATH_BYTES];
    const char *name = dir == AT_FDCWD || (path && path[0] == '/') ? watched(path, into) : NULL;
    struct stat state;
    int fd, is_new, error;
    if (inner == NULL)
        inner = (int (*)(int, const char *, int, ...))real("openat");
    if (name == NULL)
        return inner(dir, path, flags, mode);
    if ((error = fault("open", name))) {
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    is_new = (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, name, F_OK) != 0;
    fd = inner(dir, path, flags, mode);
    error = errno;
    if (fd >= 0 && fd < MOST_FILES && fstat(fd, &state) == 0) {
        free(places[fd].path);
        places[fd].path = strdup(name);
        places[fd].inode = state.st_ino;
        if (is_new)
            record(CREATE, name, state.st_ino, 0, NULL, 0);
        else if ((flags & O_TRUNC) && S_ISREG(state.st_mode))
            record(TRUNCATE, "", state.st_ino, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE(flags) ({ mode_t mode = 0; if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { va_list more; va_start(more, flags); \
    mode = va_arg(more, int); va_end(more); } mode; })
int open(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags, MODE(flags)); }
int open64(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags | O_LARGEFILE, MODE(flags)); }
int openat(int dir, const char *path, int flags, ...) { return opened(dir, path, flags, MODE(flags)); }
int openat64(int dir, const char *path, int flags, ...) { return opened(dir, path, flags | O_LARGEFILE, MODE(flags)); }

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < MOST_FILES)
        places[fd].inode = 0;
    pthread_mutex_unlock(&lock);
    return REAL(close)(fd);
}

int mkdir(const char *path, mode_t mode) {
    char into[PATH_BYTES];
    const char *name = watched(path, into);
    int done;
    if (name == NULL)
        return REAL(mkdir)(path, mode);
    pthread_mutex_lock(&lock);
    done = REAL(mkdir)(path, mode);
    if (done == 0) {
        struct stat state;
        if (stat(name, &state) == 0)
            record(MKDIR, name, state.st_ino, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

static int removed(const char *path, int (*inner)(const char *)) {
    char into[PATH_BYTES];
    const char *name = watched(path, into);
    int done, error;
    if (name == NULL)
        return inner(path);
    if ((error = fault("unlink", name))) {
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    done = inner(path);
    error = errno;
    if (done == 0)
        record(UNLINK, name, 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int unlink(const char *path) { return removed(path, REAL(unlink)); }
int rmdir(const char *path) { return removed(path, REAL(rmdir)); }

static int renamed(enum kind kind, const char *call, const char *old, const char *new,
                   int (*inner)(const char *, const char *)) {
    char old_into[PATH_BYTES], new_into[PATH_BYTES];
    const char *from = watched(old, old_into), *to = watched(new, new_into);
    int done, error;
    if (from == NULL || to == NULL)
        return inner(old, new);
    if ((error = fault(call, to))) {
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    done = inner(old, new);
    error = errno;
    if (done == 0)
        record(kind, from, 0, 0, to, strlen(to));
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int link(const char *old, const char *new) { return renamed(LINK, "link", old, new, REAL(link)); }
int rename(const char *old, const char *new) { return renamed(RENAME, "rename", old, new, REAL(rename)); }

/* ---- what takes an open file */

static ssize_t written(int fd, const void *data, size_t bytes, off_t at,
                       ssize_t (*inner)(int, const void *, size_t, off_t)) {
    struct place *place = place_of(fd);
    ssize_t done;
    int error;
    if (place == NULL)
        return inner(fd, data, bytes, at);
    if ((error = fault("pwrite", place->path))) {
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    done = inner(fd, data, bytes, at);
    error = errno;
    if (done > 0)
        record(WRITE, "", place->inode, at, data, done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) { return written(fd, data, bytes, at, REAL(pwrite)); }
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
    return written(fd, data, bytes, at, REAL(pwrite64));
}
static ssize_t plain(int fd, const void *data, size_t bytes, off_t at) {
    (void)at;
    return REAL(write)(fd, data, bytes);
}
ssize_t write(int fd, const void *data, size_t bytes) {
    if (place_of(fd) == NULL)
        return REAL(write)(fd, data, bytes);
    return written(fd, data, bytes, lseek(fd, 0, SEEK_CUR), plain);
}

static int truncated(int fd, off_t bytes, int (*inner)(int, off_t)) {
    struct place *place = place_of(fd);
    int done, error;
    if (place == NULL)
        return inner(fd, bytes);
    pthread_mutex_lock(&lock);
    done = inner(fd, bytes);
    error = errno;
    if (done == 0)
        record(TRUNCATE, "", place->inode, bytes, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int ftruncate(int fd, off_t bytes) { return truncated(fd, bytes, REAL(ftruncate)); }
int ftruncate64(int fd, off64_t bytes) { return truncated(fd, bytes, REAL(ftruncate64)); }

static int synced(int fd, int (*inner)(int)) {
    struct place *place = place_of(fd);
    int error;
    if (place == NULL)
        return inner(fd);
    if ((error = fault("fsync", place->path))) {
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    record(SYNC, "", place->inode, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}
int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }
