// SPDX-License-Identifier: GPL-2.0

//! Kernel modules: which are loaded, and which could be.

use std::collections::BTreeSet;

use crate::root::Root;

/// The modules of the running kernel.
#[derive(Clone, Debug)]
pub struct Modules {
    loaded: BTreeSet<String>,
    available: BTreeSet<String>,
    built_in: BTreeSet<String>,
    /// Versions of our module's sources that DKMS has.
    pub dkms: Vec<String>,
    /// The version that our module says it has, where it says so.
    pub version: Option<String>,
}

/// Where a module stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It works: loaded, or part of the kernel.
    Present,
    /// There is a file of it for this kernel, which is not loaded.
    NotLoaded,
    /// There is none for this kernel.
    NotBuilt,
}

/// Our module.
pub const USB4_ROCE: &str = "usb4_roce";
/// The driver of streams.
pub const STREAM: &str = "thunderbolt_stream";
/// The driver of USB4 controllers.
pub const THUNDERBOLT: &str = "thunderbolt";
/// The kernel's own network over such cables.
pub const NETWORK: &str = "thunderbolt_net";
/// What rdma_cm is for programs.
pub const RDMA_UCM: &str = "rdma_ucm";

impl Modules {
    /// Reads which there are.
    pub fn read(root: &Root) -> Self {
        let release = root.value("/proc/sys/kernel/osrelease").unwrap_or_default();
        let list = |name: &str| -> BTreeSet<String> {
            let text = root.value(&format!("/lib/modules/{release}/{name}"));
            let text = text.unwrap_or_default();
            text.lines().filter_map(module_name).collect()
        };
        Self {
            loaded: root.names("/sys/module").into_iter().collect(),
            available: list("modules.dep"),
            built_in: list("modules.builtin"),
            dkms: root.directories("/var/lib/dkms/usb4_roce"),
            version: root.value("/sys/module/usb4_roce/version"),
        }
    }

    /// Where the module `name` stands.
    pub fn presence(&self, name: &str) -> Presence {
        if self.loaded.contains(name) || self.built_in.contains(name) {
            Presence::Present
        } else if self.available.contains(name) {
            Presence::NotLoaded
        } else {
            Presence::NotBuilt
        }
    }

    /// Whether the module `name` works.
    pub fn is_present(&self, name: &str) -> bool {
        self.presence(name) == Presence::Present
    }
}

/// The name of the module whose file a line of an index begins with.
fn module_name(line: &str) -> Option<String> {
    let path = line.split(':').next()?;
    let file = path.rsplit('/').next()?;
    let name = file.split(".ko").next()?;
    Some(name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files() {
        for (line, name) in [
            (
                "kernel/drivers/thunderbolt/thunderbolt.ko.xz:",
                "thunderbolt",
            ),
            ("updates/usb4_roce.ko: kernel/x.ko", "usb4_roce"),
            ("kernel/drivers/net/thunderbolt-net.ko", "thunderbolt_net"),
        ] {
            assert_eq!(module_name(line).as_deref(), Some(name));
        }
    }
}
