// SPDX-License-Identifier: GPL-2.0

//! The library by which programs drive the device: rdma-core's for rxe.

use crate::root::Root;

/// Whether it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// It is.
    Installed,
    /// Its library is there, but no file tells libibverbs to load it.
    NotNamed,
    /// Its library is not there.
    Missing,
}

impl Provider {
    /// Looks for it where distributions put it.
    pub fn find(root: &Root) -> Self {
        const NAMED: [&str; 2] = [
            "/etc/libibverbs.d/rxe.driver",
            "/usr/share/libibverbs.d/rxe.driver",
        ];
        let mut places = vec![
            "/usr/lib64/libibverbs".to_owned(),
            "/usr/lib/libibverbs".to_owned(),
        ];
        let of_architectures = root.directories("/usr/lib").into_iter();
        places.extend(of_architectures.map(|name| format!("/usr/lib/{name}/libibverbs")));
        let is_library = |name: &String| name.starts_with("librxe-rdmav") && name.ends_with(".so");
        let is_there = places
            .iter()
            .any(|place| root.names(place).iter().any(is_library));
        let is_named = NAMED.iter().any(|path| root.exists(path));
        match (is_there, is_named) {
            (false, _) => Self::Missing,
            (true, false) => Self::NotNamed,
            (true, true) => Self::Installed,
        }
    }
}
