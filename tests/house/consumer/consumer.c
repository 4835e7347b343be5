/* SPDX-License-Identifier: Apache-2.0 */
/* consumer.c -- the smallest user of an installed libvq: header and library agree, and a file can
 * be built and opened (which needs every library that libvq needs). */
#include <stdio.h>
#include <vq/vq.h>

int main(int argc, char **argv)
{
    static const float rows[8] = {0, 0, 0, 1, 1, 0, 1, 1};
    uint32_t header = VQ_VERSION_MAJOR << 16 | VQ_VERSION_MINOR << 8 | VQ_VERSION_PATCH;
    vq_error err = {.text = ""};
    vq_source *source = NULL;
    vq_index *index = NULL;
    if (argc != 2 || vq_version() != header) return 1;
    if (vq_source_open_array(&source, rows, 4, 2, VQ_F32, &err) != VQ_OK ||
        vq_build(argv[1], source, NULL, &err) != VQ_OK ||
        vq_open(&index, argv[1], 0, &err) != VQ_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    vq_close(index);
    vq_source_close(source);
    return 0;
}
