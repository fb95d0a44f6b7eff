// SPDX-License-Identifier: GPL-2.0

//! What the module is between loading and unloading: its configuration, its devices' registration, who the host is, and
//! what happens to the host and its controllers meanwhile.

pub(crate) mod configfs;
pub(crate) mod debug_files;
pub(crate) mod identity;
pub(crate) mod power;
pub(crate) mod reboot;
pub(crate) mod registration;
pub(crate) mod unbind;
