/* SPDX-License-Identifier: Apache-2.0 */
/* output.c -- see output.h.  A run that is interrupted removes its temporary file. */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/util.h"

static char *volatile pending; /* the temporary file to remove should the program end early */

static void drop_pending(void)
{
    if (pending != NULL) (void)unlink(pending);
}

static void interrupted(int sig)
{
    drop_pending();
    _exit(128 + sig);
}

static void guard_once(void)
{
    static bool done;
    if (done) return;
    done = true;
    (void)atexit(drop_pending);
    struct sigaction sa = {.sa_handler = interrupted};
    (void)sigemptyset(&sa.sa_mask);
    (void)sigaction(SIGINT, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    (void)sigaction(SIGHUP, &sa, NULL);
}

const vq_format *output_format(const char *path)
{
    char ending[VQ_ENDING_MAX];
    vq_path_ending(path, ending, NULL);
    return vq_format_by_name(ending);
}

int output_folder(const char *path)
{
    char *folder = folder_of(path);
    int code = CLI_DONE;
    if (access(folder, W_OK | X_OK) != 0)
        code = fail(CLI_SYSTEM, "cannot write %s: %s", path, strerror(errno));
    free(folder);
    return code;
}

int output_new(const char *path, bool force)
{
    struct stat st;
    if (path == NULL) return fail(CLI_USAGE, "-o OUT is missing: which file to write?");
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return fail(CLI_SYSTEM, "cannot write %s: it is a folder", path);
    if (!force && access(path, F_OK) == 0)
        return fail(CLI_USAGE, "%s exists; give --force to replace it", path);
    return output_folder(path);
}

int output_open(output *o, const char *path)
{
    *o = (output){.f = stdout};
    if (path == NULL || strcmp(path, "-") == 0) return CLI_DONE;
    o->path = path;
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        if (S_ISDIR(st.st_mode)) return fail(CLI_SYSTEM, "cannot write %s: it is a folder", path);
        o->f = fopen(path, "wb");
        if (o->f == NULL) return fail(CLI_SYSTEM, "cannot write %s: %s", path, strerror(errno));
        return CLI_DONE;
    }
    o->temporary = xprintf("%s.tmp-%ld", path, (long)getpid());
    int fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    o->f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (o->f == NULL) {
        int code = fail(CLI_SYSTEM, "cannot write %s: %s", path, strerror(errno));
        free(o->temporary);
        return code;
    }
    guard_once();
    pending = o->temporary;
    return CLI_DONE;
}

int output_close(output *o, int code)
{
    int bad = fflush(o->f) != 0 || ferror(o->f);
    int why = errno;
    if (o->path != NULL && fclose(o->f) != 0 && !bad) {
        bad = 1;
        why = errno;
    }
    if (code == CLI_DONE && !bad && o->temporary != NULL && rename(o->temporary, o->path) != 0) {
        bad = 1;
        why = errno;
    }
    if (bad && (code == CLI_DONE || code == CLI_SYSTEM))
        code = fail(CLI_SYSTEM, "cannot write %s: %s",
                    o->path != NULL ? o->path : "standard output", strerror(why != 0 ? why : EIO));
    if (code != CLI_DONE) drop_pending();
    pending = NULL;
    free(o->temporary);
    o->temporary = NULL;
    return code;
}
