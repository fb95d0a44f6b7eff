// SPDX-License-Identifier: GPL-2.0

//! What is made before hosts can run, and is kept in the cache: the root, kernels, the module, the lab's own programs.

pub mod addition;
pub mod apt;
pub mod boot_kernel;
pub mod cache;
pub mod clients;
pub mod command;
pub mod container;
pub mod counter;
pub mod crates;
pub mod debian;
pub mod dkms;
pub mod init;
pub mod kernel_tree;
pub mod lint;
pub mod minimal_root;
pub mod mirror_tree;
pub mod module;
pub mod newest_pyverbs;
pub mod package;
pub mod programs;
pub mod progress;
pub mod pyverbs;
pub mod root;
pub mod root_cargo;
pub mod run_directory;
pub mod tool;
pub mod within;
pub mod workbench;
