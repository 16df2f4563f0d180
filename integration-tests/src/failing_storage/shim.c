/*
 * A storage that fails when it is told to. Loaded by LD_PRELOAD into a server, it stands between the server and the C
 * library: calls that write, sync, size, open for writing, rename or remove a file whose path holds one of the texts in
 * FAILING_STORAGE_PATHS (separated by colons) are counted while the storage is armed, and those whose number is in the
 * range that the control file names fail, with the error that it names. All processes of a server share the count.
 *
 * FAILING_STORAGE_CONTROL names the control file, eight numbers of 64 bits that the harness writes while the server runs;
 * see `struct control`. What failed is appended to the file of that name with `.log` behind it, a line each.
 *
 * It fails calls, it loses no bytes: what a write has brought before the sync that fails is in the page cache, as it is
 * when a process is killed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Also in shim.rs. */
enum { WRITE = 1, SYNC = 2, SIZE = 4, NAME = 8 };

/* Also in shim.rs. All but the last two are written by the harness, `armed` last. */
struct control {
    uint64_t armed;
    uint64_t calls;  /* which kinds of calls count, added up */
    uint64_t error;  /* errno of the calls that fail */
    uint64_t first;  /* the first call that fails, from 1 */
    uint64_t count;  /* how many fail from there on */
    uint64_t partly; /* the first of them writes half of its bytes instead, as on a volume that fills up */
    uint64_t seen;   /* calls counted */
    uint64_t failed; /* calls that failed */
};

static struct control *control;
static const char *paths;
static char journal[PATH_MAX];

#define REAL(name, ...)                                          \
    ({                                                           \
        static __typeof__(name) *real;                           \
        if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
        real(__VA_ARGS__);                                       \
    })

__attribute__((constructor)) static void attach(void)
{
    const char *name = getenv("FAILING_STORAGE_CONTROL");
    const char *texts = getenv("FAILING_STORAGE_PATHS");
    if (!name || !texts) return;
    /* PostgreSQL writes over its environment. */
    paths = strdup(texts);
    if (!paths) return;
    snprintf(journal, sizeof journal, "%s.log", name);
    int file = REAL(open, name, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at != MAP_FAILED) control = at;
}

static int is_meant(const char *path)
{
    for (const char *one = paths; one && *one;) {
        size_t length = strcspn(one, ":");
        if (length && memmem(path, strlen(path), one, length)) return 1;
        one += length;
        if (*one) one++;
    }
    return 0;
}

static void note(const char *call, uint64_t number, const char *path, const char *how)
{
    char line[PATH_MAX + 100];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long long second = now.tv_sec % 86400;
    int length = snprintf(line, sizeof line, "%02lld:%02lld:%02lld.%03ld %s %llu %s %s\n", second / 3600, second / 60 % 60,
                          second % 60, now.tv_nsec / 1000000, call, (unsigned long long)number, how, path);
    int file = REAL(open, journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0) return;
    /* Only people read it. */
    if (length > 0 && REAL(write, file, line, (size_t)length) < 0) {
    }
    close(file);
}

enum verdict { PASS, FAIL, HALF };

/* Judges one call on `path`, of which `bytes` are to be written. On FAIL errno is set. */
static enum verdict judge_path(int kind, const char *call, const char *path, size_t bytes)
{
    if (!is_meant(path)) return PASS;
    uint64_t number = __atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST);
    if (number < control->first || number - control->first >= control->count) return PASS;
    int half = kind == WRITE && control->partly && number == control->first && bytes > 1;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    note(call, number, path, half ? "partly" : "not");
    if (half) return HALF;
    errno = (int)control->error;
    return FAIL;
}

static int is_armed(int kind)
{
    return control && __atomic_load_n(&control->armed, __ATOMIC_SEQ_CST) && (control->calls & (uint64_t)kind);
}

static enum verdict judge(int kind, const char *call, int file, size_t bytes)
{
    if (!is_armed(kind)) return PASS;
    char link[64], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length <= 0) return PASS;
    path[length] = 0;
    return judge_path(kind, call, path, bytes);
}

/* Judges a call that names a file, which may be relative to the working directory. */
static enum verdict judge_name(const char *call, const char *path)
{
    if (path[0] == '/') return judge_path(NAME, call, path, 0);
    char whole[2 * PATH_MAX];
    int before = errno;
    ssize_t length = readlink("/proc/self/cwd", whole, PATH_MAX);
    errno = before;
    if (length <= 0) return PASS;
    snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
    return judge_path(NAME, call, whole, 0);
}

/* A file that is there can't be opened for writing where the file system is read-only; whatever else fails would fail for
   reading as well. */
static enum verdict judge_open(const char *call, const char *path, int flags)
{
    if (!is_armed(NAME) || ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT))) return PASS;
    int before = errno;
    int is_there = access(path, F_OK) == 0;
    errno = before;
    return is_there && control->error != EROFS ? PASS : judge_name(call, path);
}

/* No room is no reason why a file can't be removed or renamed. */
static enum verdict judge_change(const char *call, const char *path)
{
    if (!is_armed(NAME) || (control->error != EROFS && control->error != EIO)) return PASS;
    return judge_name(call, path);
}

ssize_t write(int file, const void *from, size_t bytes)
{
    enum verdict verdict = judge(WRITE, "write", file, bytes);
    return verdict == FAIL ? -1 : REAL(write, file, from, verdict == HALF ? bytes / 2 : bytes);
}

#define PWRITE(name, offset_t)                                                          \
    ssize_t name(int file, const void *from, size_t bytes, offset_t at)                 \
    {                                                                                   \
        enum verdict verdict = judge(WRITE, #name, file, bytes);                        \
        return verdict == FAIL ? -1 : REAL(name, file, from, verdict == HALF ? bytes / 2 : bytes, at); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* Half of a vector is its first part, halved. */
#define HALVED(from) (&(struct iovec){ (from)->iov_base, (from)->iov_len - (from)->iov_len / 2 })

ssize_t writev(int file, const struct iovec *from, int parts)
{
    switch (judge(WRITE, "writev", file, 2)) {
    case FAIL: return -1;
    case HALF: return REAL(writev, file, HALVED(from), 1);
    default: return REAL(writev, file, from, parts);
    }
}

#define PWRITEV(name, offset_t)                                                \
    ssize_t name(int file, const struct iovec *from, int parts, offset_t at)   \
    {                                                                          \
        switch (judge(WRITE, #name, file, 2)) {                                \
        case FAIL: return -1;                                                  \
        case HALF: return REAL(name, file, HALVED(from), 1, at);               \
        default: return REAL(name, file, from, parts, at);                     \
        }                                                                      \
    }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define SYNC_CALL(name) \
    int name(int file) { return judge(SYNC, #name, file, 0) == PASS ? REAL(name, file) : -1; }
SYNC_CALL(fsync)
SYNC_CALL(fdatasync)

#define FTRUNCATE(name, offset_t) \
    int name(int file, offset_t size) { return judge(SIZE, #name, file, 0) == PASS ? REAL(name, file, size) : -1; }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

#define FALLOCATE(name, offset_t)                                                               \
    int name(int file, int mode, offset_t at, offset_t size)                                    \
    {                                                                                           \
        return judge(SIZE, #name, file, 0) == PASS ? REAL(name, file, mode, at, size) : -1;     \
    }
FALLOCATE(fallocate, off_t)
FALLOCATE(fallocate64, off64_t)

#define POSIX_FALLOCATE(name, offset_t)                                                         \
    int name(int file, offset_t at, offset_t size)                                              \
    {                                                                                           \
        return judge(SIZE, #name, file, 0) == PASS ? REAL(name, file, at, size) : (int)control->error; \
    }
POSIX_FALLOCATE(posix_fallocate, off_t)
POSIX_FALLOCATE(posix_fallocate64, off64_t)

/* Only a call that may make a file has a mode. */
#define MODE(flags)                                                        \
    ({                                                                     \
        mode_t mode = 0;                                                   \
        if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) {   \
            va_list more;                                                  \
            va_start(more, flags);                                         \
            mode = (mode_t)va_arg(more, int);                              \
            va_end(more);                                                  \
        }                                                                  \
        mode;                                                              \
    })

#define OPEN_CALL(name)                                                                         \
    int name(const char *path, int flags, ...)                                                  \
    {                                                                                           \
        mode_t wanted = MODE(flags);                                                            \
        return judge_open(#name, path, flags) == PASS ? REAL(name, path, flags, wanted) : -1;   \
    }
OPEN_CALL(open)
OPEN_CALL(open64)

#define OPENAT_CALL(name)                                                                             \
    int name(int directory, const char *path, int flags, ...)                                         \
    {                                                                                                 \
        mode_t wanted = MODE(flags);                                                                  \
        return judge_open(#name, path, flags) == PASS ? REAL(name, directory, path, flags, wanted) : -1; \
    }
OPENAT_CALL(openat)
OPENAT_CALL(openat64)

/* What programs call that were compiled with _FORTIFY_SOURCE. */
#define CHECKED_OPEN(name)                                                                      \
    int name(const char *path, int flags);                                                      \
    int name(const char *path, int flags)                                                       \
    {                                                                                           \
        return judge_open(#name, path, flags) == PASS ? REAL(name, path, flags) : -1;           \
    }
CHECKED_OPEN(__open_2)
CHECKED_OPEN(__open64_2)

int unlink(const char *path) { return judge_change("unlink", path) == PASS ? REAL(unlink, path) : -1; }
int rename(const char *from, const char *to) { return judge_change("rename", from) == PASS ? REAL(rename, from, to) : -1; }
