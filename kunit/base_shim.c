// SPDX-License-Identifier: GPL-2.0

/* Once more: an object file can be part of one module only. */
#include "../src/base/shim.c"
