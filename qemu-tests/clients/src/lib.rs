// SPDX-License-Identifier: GPL-2.0

//! Programs that check a verbs device from user space, through the distribution's libibverbs.

pub mod verbs;
