/* Strict JSON: what is accepted prints and parses again to the same value. */
#include "base/json.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *first = NULL, *second = NULL;
    char *text;

    if (kl_json_parse((const char *)data, size, &first, NULL) != KL_OK)
        return 0;
    text = json_dumps(first, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text || kl_json_parse(text, strlen(text), &second, NULL) != KL_OK ||
        !json_equal(first, second))
        abort();
    free(text);
    json_decref(first);
    json_decref(second);
    return 0;
}
