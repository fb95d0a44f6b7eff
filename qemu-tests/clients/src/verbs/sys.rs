// SPDX-License-Identifier: GPL-2.0

//! Declarations generated from `<infiniband/verbs.h>`; the rest of the crate uses the safe types
//! beside this module instead.

#![allow(missing_docs)]
#![allow(non_camel_case_types)]
#![allow(non_snake_case)]
#![allow(non_upper_case_globals)]
#![allow(dead_code)]
#![allow(clippy::all)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
