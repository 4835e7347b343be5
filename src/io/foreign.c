/* SPDX-License-Identifier: Apache-2.0 */
/* foreign.c -- names for files that are not ours to read, so that an error can say what was given.
 */
#include <string.h>

#include "src/base/bytes.h"
#include "src/io/format.h"

typedef struct signature {
    size_t at, len;
    const char *bytes;
    const char *name;
} signature;

#define SIGNATURE(at, bytes, name)                                                                 \
    {                                                                                              \
        at, sizeof(bytes) - 1, bytes, name                                                         \
    }

static const signature signatures[] = {
    SIGNATURE(0, "\x1f\x8b", "a gzip file (unpack it; .zst is read as it is)"),
    SIGNATURE(0, "BZh", "a bzip2 file (unpack it; .zst is read as it is)"),
    SIGNATURE(0,
              "\xfd"
              "7zXZ",
              "an xz file (unpack it; .zst is read as it is)"),
    SIGNATURE(0, "\x04\x22\x4d\x18", "an lz4 file (unpack it; .zst is read as it is)"),
    SIGNATURE(0, "7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it)"),
    SIGNATURE(0, "\x89HDF\r\n\x1a\n", "an HDF5 file (write its matrix as .npy or .fbin)"),
    SIGNATURE(0, "PAR1", "a Parquet file (write its column as .npy or .fbin)"),
    SIGNATURE(0, "ARROW1", "an Arrow file (write its column as .npy or .fbin)"),
    SIGNATURE(0, "\x89PNG\r\n\x1a\n", "a PNG picture"),
    SIGNATURE(0, "\xff\xd8\xff", "a JPEG picture"),
    SIGNATURE(0, "%PDF", "a PDF document"),
    SIGNATURE(0, "SQLite format 3", "an SQLite database"),
    SIGNATURE(0,
              "\x7f"
              "ELF",
              "a program"),
    SIGNATURE(16, "\xde\xc0\xef\xbe", "a vq index or another LMDB database"),
    SIGNATURE(257, "ustar", "a tar archive (unpack it)"),
    SIGNATURE(0, "GGUF", "a GGUF model"),
    SIGNATURE(0, "IxF", "a Faiss index"),
    SIGNATURE(0, "IwF", "a Faiss index"),
    SIGNATURE(0, "IwP", "a Faiss index"),
    SIGNATURE(0, "IxP", "a Faiss index"),
    SIGNATURE(0, "IHN", "a Faiss index"),
    SIGNATURE(0, "\x80\x02", "a Python pickle (write the array with numpy.save)"),
    SIGNATURE(0, "\x80\x03", "a Python pickle (write the array with numpy.save)"),
    SIGNATURE(0, "\x80\x04", "a Python pickle (write the array with numpy.save)"),
    SIGNATURE(0, "\x80\x05", "a Python pickle (write the array with numpy.save)"),
};

static bool holds(const uint8_t *bytes, size_t len, const char *text)
{
    return memmem(bytes, len, text, strlen(text)) != NULL;
}

static const char *zip_name(const uint8_t *bytes, size_t len)
{
    if (holds(bytes, len, "data.pkl")) return "a PyTorch file (write the tensor with numpy.save)";
    if (holds(bytes, len, ".npy")) return "an npz archive (save one array with numpy.save)";
    return "a zip archive (unpack it)";
}

/* Text: no control characters but white space; JSON if it starts like it. */
static const char *text_name(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] == 0x7f || (bytes[i] < 0x20 && strchr("\t\n\f\r", bytes[i]) == NULL) ||
            bytes[i] == 0)
            return NULL;
    size_t at = 0;
    while (at < len && strchr(" \t\r\n", bytes[at]) != NULL) at++;
    if (at == len) return "a text file";
    return bytes[at] == '{' || bytes[at] == '[' ? "a JSON text" : "a text file";
}

const char *vq_foreign_name(const uint8_t *bytes, size_t len)
{
    if (len == 0) return "an empty file";
    if (len >= 4 && memcmp(bytes, "PK\x03\x04", 4) == 0) return zip_name(bytes, len);
    if (len >= 9 && vq_le64(bytes) < (100u << 20) && bytes[8] == '{')
        return "a safetensors file (write the tensor with numpy.save)";
    for (size_t i = 0; i < VQ_COUNT(signatures); i++) {
        const signature *s = &signatures[i];
        if (s->at + s->len <= len && memcmp(bytes + s->at, s->bytes, s->len) == 0) return s->name;
    }
    return text_name(bytes, len);
}
