// SPDX-License-Identifier: GPL-2.0

//! Where things are that commands name: distributions have places of their own.

use crate::root::Root;

/// Places of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// What makes rails.
    pub helper: String,
    /// The certificate of the key that DKMS signs modules with.
    pub signing_certificate: String,
}

/// Where systemd finds the unit, in its order.
const UNITS: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// The unit that starts the helper.
const UNIT: &str = "usb4-roce@.service";

/// Where the helper is, if no unit says so.
const HELPER: &str = "/usr/libexec/usb4-roce-setup";

/// Ubuntu's DKMS signs with the key that its installer has made, others with DKMS's own.
const UBUNTU_CERTIFICATE: &str = "/var/lib/shim-signed/mok/MOK.der";
const DKMS_CERTIFICATE: &str = "/var/lib/dkms/mok.pub";

impl Installation {
    /// Looks where things are.
    pub fn find(root: &Root) -> Self {
        let mut units = UNITS
            .iter()
            .filter_map(|directory| root.value(&format!("{directory}/{UNIT}")));
        let helper = units.find_map(|unit| helper_of(&unit));
        let certificate = match root.exists(UBUNTU_CERTIFICATE) {
            true => UBUNTU_CERTIFICATE,
            false => DKMS_CERTIFICATE,
        };
        Self {
            helper: helper.unwrap_or_else(|| HELPER.to_owned()),
            signing_certificate: certificate.to_owned(),
        }
    }
}

/// The program that `unit` starts.
fn helper_of(unit: &str) -> Option<String> {
    let command = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))?;
    command.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn installation(files: &[(&str, &str)]) -> Installation {
        let place = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = place.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Installation::find(&Root::at(place.path()))
    }

    #[test]
    fn the_helper_is_where_the_unit_says() {
        const UNIT: &str =
            "[Service]\nExecStartPre=-/x y\nExecStart=/usr/lib/usb4-roce/usb4-roce-setup keep %i\n";
        let arch = installation(&[("/usr/lib/systemd/system/usb4-roce@.service", UNIT)]);
        assert_eq!(arch.helper, "/usr/lib/usb4-roce/usb4-roce-setup");
        assert_eq!(installation(&[]).helper, HELPER);
    }

    #[test]
    fn the_certificate_is_the_distribution_s() {
        assert_eq!(installation(&[]).signing_certificate, DKMS_CERTIFICATE);
        let ubuntu = installation(&[(UBUNTU_CERTIFICATE, "")]);
        assert_eq!(ubuntu.signing_certificate, UBUNTU_CERTIFICATE);
    }
}
