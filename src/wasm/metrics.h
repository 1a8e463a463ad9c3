// SPDX-License-Identifier: Apache-2.0
// Metrics that guests report: kept by environment and name. Threads: any.
#ifndef VIV_WASM_METRICS_H
#define VIV_WASM_METRICS_H

#include "base/err.h"

struct viv_metrics;
enum viv_metric_kind { VIV_METRIC_COUNTER, VIV_METRIC_GAUGE, VIV_METRIC_HISTOGRAM };

struct viv_metric {
    uint32_t env;
    enum viv_metric_kind kind;
    const char *name; // terminated; may contain NUL before that
    size_t name_len;
    uint64_t counter;        // COUNTER
    double value;            // GAUGE: its value; HISTOGRAM: sum
    uint64_t count;          // HISTOGRAM: number of records
    double minimum, maximum; // HISTOGRAM
};

enum viv_err viv_metrics_new(struct viv_metrics **out_metrics) VIV_MUST_CHECK;
void viv_metrics_free(struct viv_metrics *metrics);
// A name keeps the kind it first had; another kind's call on it is ignored. Over VIV_METRICS_MAX
// names of an environment: counted as dropped.
void viv_metrics_count(struct viv_metrics *metrics, uint32_t env, const char *name, size_t len,
                       bool add, uint64_t value);
void viv_metrics_gauge(struct viv_metrics *metrics, uint32_t env, const char *name, size_t len,
                       bool add, double value);
void viv_metrics_record(struct viv_metrics *metrics, uint32_t env, const char *name, size_t len,
                        double value);
uint64_t viv_metrics_dropped(const struct viv_metrics *metrics);
// Calls visit for each, under the lock: short.
void viv_metrics_each(struct viv_metrics *metrics,
                      void (*visit)(void *arg, const struct viv_metric *metric), void *arg);

#endif
