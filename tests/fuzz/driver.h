/* SPDX-License-Identifier: Apache-2.0 */
/* driver.h -- what the mains of fuzz targets share, where libFuzzer brings none.  Included behind
 * LLVMFuzzerTestOneInput. */
#ifndef VQ_TESTS_FUZZ_DRIVER_H
#define VQ_TESTS_FUZZ_DRIVER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input that was kept: the exit status. */
static int feed_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) return EXIT_FAILURE;
    uint8_t *bytes = malloc(1u << 20);
    size_t len = bytes != NULL ? fread(bytes, 1, 1u << 20, f) : 0;
    (void)fclose(f);
    (void)LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    return EXIT_SUCCESS;
}

#endif
