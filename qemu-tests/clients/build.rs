// SPDX-License-Identifier: GPL-2.0

//! Generates the FFI declarations of libibverbs from the installed rdma-core headers.
//!
//! Runs the `bindgen` program rather than the crate: Debian ships it next to the libclang it needs,
//! and a kernel build with Rust needs it anyway.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// What the wrapper in `src/verbs` uses; everything these refer to comes along.
const FUNCTIONS: &str = "ibv_.*|_ibv_query_gid_table";
const TYPES: &str = "ibv_.*|verbs_context";
const CONSTANTS: &str = "IBV_.*";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-lib=dylib=ibverbs");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let header = out.join("rdma_core.h");
    std::fs::write(&header, "#include <infiniband/verbs.h>\n").expect("OUT_DIR is writable");

    let status = Command::new("bindgen")
        .arg(&header)
        .arg("--output")
        .arg(out.join("bindings.rs"))
        .args(["--allowlist-function", FUNCTIONS])
        .args(["--allowlist-type", TYPES])
        .args(["--allowlist-var", CONSTANTS])
        // Status and event codes come from outside: a Rust enum would be undefined behaviour for
        // a value that this version of the header does not know.
        .args(["--default-enum-style", "consts"])
        .arg("--no-prepend-enum-name")
        .arg("--no-layout-tests")
        .args(["--rust-target", "1.85"])
        .status()
        .expect("bindgen is installed (Debian: bindgen, libclang-dev, libibverbs-dev)");
    assert!(
        status.success(),
        "bindgen could not read <infiniband/verbs.h> (Debian: libibverbs-dev): {status}"
    );
}
