// SPDX-License-Identifier: GPL-2.0

//! Error codes.

use kernel::{
    bindings,
    error::Error, //
};

/// The error for what a device does not support: `EOPNOTSUPP`, which the `kernel` crate of Linux
/// 7.2 has no name for.
pub fn unsupported() -> Error {
    Error::from_errno(-(bindings::EOPNOTSUPP as kernel::ffi::c_int))
}
