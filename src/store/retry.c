// SPDX-License-Identifier: Apache-2.0
// Retries: the rule of a policy.
#include "store/retry.h"

#include "os/rand.h"
#include <string.h>

enum { INITIAL_MS = 1000, MAX_MS = 300000, MAX_ATTEMPTS = 5 };
#define FACTOR 2.0
#define JITTER 0.2

static double real_of(const json_t *object, const char *name, double by_default)
{
    const json_t *value = json_object_get(object, name);
    return value == NULL ? by_default : json_number_value(value);
}

static int64_t whole_of(const json_t *object, const char *name, int64_t by_default)
{
    const json_t *value = json_object_get(object, name);
    return value == NULL ? by_default : json_integer_value(value);
}

void viv_store__retry_read(const json_t *policy, struct viv_store__retry *out_retry)
{
    const json_t *backoff = json_object_get(policy, "backoff");
    *out_retry = (struct viv_store__retry){
        .on = json_object_get(policy, "retry_on"),
        .initial_ms = whole_of(backoff, "initial_ms", INITIAL_MS),
        .max_ms = whole_of(backoff, "max_ms", MAX_MS),
        .factor = real_of(backoff, "factor", FACTOR),
        .jitter = real_of(backoff, "jitter", JITTER),
        .max_attempts = (uint32_t)whole_of(policy, "max_attempts", MAX_ATTEMPTS)};
}

static bool is_listed(const struct viv_store__retry *retry, const char *ending)
{
    if (retry->on == NULL) return strcmp(ending, "lost") == 0 || strcmp(ending, "unavailable") == 0;
    for (size_t i = 0; i < json_array_size(retry->on); i++) {
        const char *word = json_string_value(json_array_get(retry->on, i));
        if (strcmp(word, "*") == 0 || strcmp(word, ending) == 0) return true;
    }
    return false;
}

bool viv_store__retry_wants(const struct viv_store__retry *retry, const char *ending,
                            uint64_t charged)
{
    return charged < retry->max_attempts && is_listed(retry, ending);
}

int64_t viv_store__retry_delay_ms(const struct viv_store__retry *retry, uint64_t k, double noise)
{
    const double max_ms = (double)retry->max_ms;
    double delay_ms = (double)retry->initial_ms;
    // Grows, or stays for ever: nothing is left to do once it is the greatest, or k is large.
    for (uint64_t i = 1; i < k && i < MAX_MS && delay_ms < max_ms && retry->factor > 1; i++)
        delay_ms *= retry->factor;
    if (delay_ms > max_ms) delay_ms = max_ms;
    delay_ms += delay_ms * retry->jitter * noise;
    return delay_ms >= (double)INT64_MAX ? INT64_MAX : (int64_t)(delay_ms + 0.5);
}

double viv_store__retry_noise(void)
{
    int32_t bits;
    return viv_os_random(&bits, sizeof bits) == VIV_OK ? (double)bits / -(double)INT32_MIN : 0;
}
