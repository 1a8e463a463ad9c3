// SPDX-License-Identifier: Apache-2.0
// The shape of a registration: which fields there are, and their defaults.
#ifndef VIV_STORE_REGIS_SHAPE_H
#define VIV_STORE_REGIS_SHAPE_H

#include "store/shape.h"

extern const struct viv_shape viv_store__registration_shape;

#endif
