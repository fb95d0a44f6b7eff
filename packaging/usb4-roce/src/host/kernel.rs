// SPDX-License-Identifier: GPL-2.0

//! The kernel: its release, its configuration, and what it demands of modules.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::root::Root;

/// The running kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its release, such as `7.3.4+deb13-amd64`.
    pub release: String,
    /// Whether the firmware has Secure Boot on; nothing if it does not say.
    pub secure_boot: Option<SecureBoot>,
    /// Its configuration, if it is to be had.
    config: Option<String>,
}

/// What the firmware says of Secure Boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureBoot {
    /// It is on.
    On,
    /// It is off.
    Off,
}

/// The first version of Linux that has USB4STREAM.
pub const FIRST_WITH_STREAMS: (u32, u32) = (7, 2);

/// The firmware's variable: four bytes of attributes, and one that is 1 if Secure Boot is on.
const SECURE_BOOT: &str =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

impl Kernel {
    /// Reads what is running.
    pub fn read(root: &Root) -> Self {
        let release = root.value("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            secure_boot: secure_boot(root),
            config: config(root, &release),
            release,
        }
    }

    /// The first two numbers of its version.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        Some((major, numbers.next()?.parse().ok()?))
    }

    /// Its configuration, if it is to be had.
    pub fn config(&self) -> Option<&str> {
        self.config.as_deref()
    }

    /// What its configuration says of an option, such as `m`; `Unset` if it has it not.
    pub fn option(&self, name: &str) -> ConfigOption {
        let Some(config) = &self.config else {
            return ConfigOption::Unknown;
        };
        let mut values = config.lines().filter_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix('=')?;
            Some(ConfigOption::Set(value.to_owned()))
        });
        values.next().unwrap_or(ConfigOption::Unset)
    }
}

/// What a kernel's configuration says of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOption {
    /// Its value.
    Set(String),
    /// It is not there.
    Unset,
    /// The configuration was not found.
    Unknown,
}

fn secure_boot(root: &Root) -> Option<SecureBoot> {
    match root.bytes(SECURE_BOOT).ok()?.last()? {
        1 => Some(SecureBoot::On),
        _ => Some(SecureBoot::Off),
    }
}

fn config(root: &Root, release: &str) -> Option<String> {
    let plain = [
        format!("/boot/config-{release}"),
        format!("/lib/modules/{release}/config"),
        format!("/lib/modules/{release}/build/.config"),
    ];
    if let Some(text) = plain.iter().find_map(|path| root.value(path)) {
        return Some(text);
    }
    let packed = root.bytes("/proc/config.gz").ok()?;
    let mut text = String::new();
    GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;

    use super::*;

    fn kernel(release: &str) -> Kernel {
        Kernel {
            release: release.to_owned(),
            secure_boot: None,
            config: None,
        }
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(kernel("7.10.4+deb13-amd64").version(), Some((7, 10)));
        assert_eq!(kernel("8.0-rc1").version(), Some((8, 0)));
        assert_eq!(kernel("6.12.1-arch1-1").version(), Some((6, 12)));
        assert_eq!(kernel("").version(), None);
        assert!(kernel("7.10").version() >= Some(FIRST_WITH_STREAMS));
        assert!(kernel("7.1.9").version() < Some(FIRST_WITH_STREAMS));
    }

    #[test]
    fn the_packed_configuration_will_do() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("proc")).unwrap();
        let file = std::fs::File::create(place.path().join("proc/config.gz")).unwrap();
        let mut packer = GzEncoder::new(file, flate2::Compression::fast());
        packer
            .write_all(b"CONFIG_USB4_STREAM=m\n# CONFIG_USB4_STREAM_X is not set\n")
            .unwrap();
        packer.finish().unwrap();
        let kernel = Kernel::read(&Root::at(place.path()));
        let option = |name| kernel.option(name);
        assert_eq!(
            option("CONFIG_USB4_STREAM"),
            ConfigOption::Set("m".to_owned())
        );
        assert_eq!(option("CONFIG_USB4"), ConfigOption::Unset);
    }

    #[test]
    fn secure_boot_is_the_last_byte() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::at(place.path());
        assert_eq!(secure_boot(&root), None);
        let variables = place.path().join("sys/firmware/efi/efivars");
        std::fs::create_dir_all(&variables).unwrap();
        let file = place.path().join(SECURE_BOOT.trim_start_matches('/'));
        std::fs::write(&file, [6, 0, 0, 0, 1]).unwrap();
        assert_eq!(secure_boot(&root), Some(SecureBoot::On));
        std::fs::write(&file, [6, 0, 0, 0, 0]).unwrap();
        assert_eq!(secure_boot(&root), Some(SecureBoot::Off));
    }
}
