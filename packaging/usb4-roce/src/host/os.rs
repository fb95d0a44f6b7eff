// SPDX-License-Identifier: GPL-2.0

//! The distribution, for commands that install what is missing.

use crate::root::Root;

/// A distribution.
#[derive(Clone, Debug)]
pub struct Os {
    /// What it calls itself.
    pub name: String,
    family: Family,
}

/// Distributions with the same package manager and names of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Debian,
    Fedora,
    Arch,
    Other,
}

/// What may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// A kernel that is new enough, and its headers.
    Kernel,
    /// Headers of the running kernel.
    Headers,
    /// The libraries through which programs use verbs devices.
    Provider,
    /// The programs that measure.
    Perftest,
}

impl Os {
    /// Reads which it is.
    pub fn read(root: &Root) -> Self {
        let release = root
            .value("/etc/os-release")
            .or_else(|| root.value("/usr/lib/os-release"))
            .unwrap_or_default();
        let field = |name: &str| {
            let lines = release.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            values.next().unwrap_or("").trim_matches('"').to_owned()
        };
        let ids = format!("{} {}", field("ID"), field("ID_LIKE"));
        let is = |wanted: &[&str]| ids.split(' ').any(|id| wanted.contains(&id));
        let family = if is(&["debian", "ubuntu"]) {
            Family::Debian
        } else if is(&["fedora", "rhel", "centos"]) {
            Family::Fedora
        } else if is(&["arch"]) {
            Family::Arch
        } else {
            Family::Other
        };
        Self {
            name: field("PRETTY_NAME"),
            family,
        }
    }

    /// The command that installs `software`, where it is known.
    pub fn install(&self, software: Software) -> Option<&'static str> {
        Some(match (self.family, software) {
            (Family::Debian, Software::Kernel) => {
                "sudo apt install -t $(. /etc/os-release; echo $VERSION_CODENAME)-backports \
                 linux-image-amd64 linux-headers-amd64"
            }
            (Family::Debian, Software::Headers) => "sudo apt install linux-headers-$(uname -r)",
            (Family::Debian, Software::Provider) => "sudo apt install ibverbs-providers rdma-core",
            (Family::Debian, Software::Perftest) => "sudo apt install perftest",
            (Family::Fedora, Software::Kernel) => "sudo dnf upgrade kernel kernel-devel",
            (Family::Fedora, Software::Headers) => "sudo dnf install kernel-devel-$(uname -r)",
            (Family::Fedora, Software::Provider) => "sudo dnf install libibverbs rdma-core",
            (Family::Fedora, Software::Perftest) => "sudo dnf install perftest",
            (Family::Arch, Software::Kernel) => "sudo pacman -Syu linux linux-headers",
            (Family::Arch, Software::Headers) => "sudo pacman -S linux-headers",
            (Family::Arch, Software::Provider) => "sudo pacman -S rdma-core",
            // It is in the user repository only.
            (Family::Arch, Software::Perftest) | (Family::Other, _) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(release: &str, software: Software) -> Option<&'static str> {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("etc")).unwrap();
        std::fs::write(place.path().join("etc/os-release"), release).unwrap();
        Os::read(&Root::at(place.path())).install(software)
    }

    #[test]
    fn relatives_have_the_same_commands() {
        let perftest = |release| install(release, Software::Perftest);
        let apt = Some("sudo apt install perftest");
        assert_eq!(perftest("ID=debian\n"), apt);
        assert_eq!(perftest("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), apt);
        assert_eq!(perftest("ID=fedora\n"), Some("sudo dnf install perftest"));
        assert_eq!(perftest("ID=\"gentoo\"\n"), None);
        assert_eq!(perftest(""), None);
        let provider = install("ID=arch\n", Software::Provider);
        assert_eq!(provider, Some("sudo pacman -S rdma-core"));
    }
}
