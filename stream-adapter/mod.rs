// SPDX-License-Identifier: GPL-2.0

//! Rails: an open USB4STREAM as a framed, integrity-checked, restartable pipe.

pub(crate) mod bindings;
pub mod event;
pub mod kthread;
pub mod stream_file;
pub mod wake_list;
