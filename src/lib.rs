// SPDX-License-Identifier: GPL-2.0

//! The kernel-free core of `usb4_roce`, built for the host.
