// SPDX-License-Identifier: GPL-2.0

//! Packages beside those of the root, which few tests need.

use std::fmt;

use clap::ValueEnum;

use crate::building::init::Init;

/// Packages that are installed together, over the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Addition {
    /// UCX, Open MPI, MPICH, Gloo and libfabric
    Libraries,
    /// NCCL's static library, and NVIDIA's CUDA runtime which it is linked against: not free software
    Nccl,
    /// What llama.cpp is built by
    LlamaCpp,
    /// NVMe over Fabrics, NFS, and what loads a disk
    Storage,
    /// What makes packages
    Packaging,
    /// systemd as init, and NetworkManager
    PlainDebian,
}

impl Addition {
    /// The list of packages.
    pub fn packages(self) -> &'static str {
        match self {
            Self::Libraries => include_str!("../../root/libraries"),
            Self::Nccl => include_str!("../../root/nccl"),
            Self::LlamaCpp => include_str!("../../root/llama-cpp"),
            Self::Storage => include_str!("../../root/storage"),
            Self::Packaging => include_str!("../../root/packaging"),
            Self::PlainDebian => include_str!("../../root/plain-debian"),
        }
    }

    /// Components of Debian's archive that they come from, beside `main`.
    pub fn components(self) -> &'static str {
        match self {
            Self::Libraries
            | Self::LlamaCpp
            | Self::Storage
            | Self::Packaging
            | Self::PlainDebian => "",
            Self::Nccl => "contrib non-free",
        }
    }

    /// The first process of hosts that have them.
    pub fn init(self) -> Init {
        match self {
            Self::PlainDebian => Init::Systemd,
            Self::Libraries | Self::Nccl | Self::LlamaCpp | Self::Storage | Self::Packaging => {
                Init::Agent
            }
        }
    }

    /// Disk space in bytes, with room for apt's downloads.
    pub fn space(self) -> u64 {
        match self {
            Self::Libraries | Self::Nccl => 1 << 30,
            Self::LlamaCpp => 200 << 20,
            Self::Storage | Self::Packaging | Self::PlainDebian => 400 << 20,
        }
    }

    /// The programs of the checkout that are built with them.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Libraries => &["ucx-check", "mpi-check", "mpich-check", "gloo-check"],
            Self::Nccl => &["nccl-ib"],
            Self::LlamaCpp => &["llama-check"],
            Self::Storage | Self::Packaging | Self::PlainDebian => &[],
        }
    }

    /// The package below `qemu-tests/programs` that depends on the crates which these programs are built of, beside Debian's packages.
    pub fn crates(self) -> Option<&'static str> {
        match self {
            Self::Libraries | Self::Nccl | Self::Storage | Self::Packaging | Self::PlainDebian => {
                None
            }
            Self::LlamaCpp => Some("llama-cpp"),
        }
    }
}

impl fmt::Display for Addition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Libraries => "libraries over verbs",
            Self::Nccl => "NCCL",
            Self::LlamaCpp => "llama.cpp",
            Self::Storage => "storage",
            Self::Packaging => "tools for packages",
            Self::PlainDebian => "a plain Debian",
        })
    }
}
