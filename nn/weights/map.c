/* Mapped model files: see map.h. */
#include "nn/weights/map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char lfs_mark[] = "version https://git-lfs.github.com/spec/";

thea_rc map_file(void **map, size_t *size, const char *path, struct thea_err *err)
{
    *map = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        thea_rc rc = errno == ENOENT ? THEA_ENOINPUT : errno == EACCES ? THEA_EPERM : THEA_EIO;
        return thea_fail(err, rc, "cannot open %s: %s", path, strerror(errno));
    }
    struct stat st;
    thea_rc rc = THEA_OK;
    if (fstat(fd, &st) != 0) {
        rc = thea_fail(err, THEA_EIO, "cannot read %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        rc = thea_fail(err, THEA_EDATA, "%s is not a regular file", path);
    } else if (st.st_size > 0) {
        void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) {
            rc = thea_fail(err, THEA_EOS, "cannot map %s: %s", path, strerror(errno));
        } else {
            *map = at;
            *size = (size_t)st.st_size;
        }
    }
    close(fd);
    return rc;
}

void unmap_file(void *map, size_t size)
{
    if (map != NULL) munmap(map, size);
}

thea_rc map_check_lfs(const void *bytes, size_t size, const char *path, struct thea_err *err)
{
    if (size < sizeof lfs_mark - 1 || memcmp(bytes, lfs_mark, sizeof lfs_mark - 1) != 0) return THEA_OK;
    return thea_fail(
        err, THEA_EDATA,
        "%s is a git-lfs pointer (%zu bytes), not the file itself\n  get it  git lfs pull, in the clone",
        path, size);
}
