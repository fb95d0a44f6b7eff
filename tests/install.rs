// SPDX-License-Identifier: GPL-2.0

//! `make install-files` puts things where PREFIX says, and `make uninstall` takes all of them away.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// A place to install to.
fn place(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("install-{name}"));
    let _ = fs::remove_dir_all(&place);
    place
}

fn make(target: &str, place: &Path, prefix: &str) {
    let output = Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--silent", target, "KDIR=/nonexistent"])
        .arg(format!("DESTDIR={}", place.display()))
        .arg(format!("PREFIX={prefix}"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "make {target}: {errors}");
}

/// Names of all files below `directory`, from `place` on.
fn files(place: &Path, directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(place, &path));
        } else {
            found.push(format!("/{}", path.strip_prefix(place).unwrap().display()));
        }
    }
    found
}

#[test]
fn what_is_installed_is_uninstalled() {
    for prefix in ["/usr", "/usr/local", "/opt/roce"] {
        let place = place(&prefix.replace(['/', ' '], "-"));
        make("install-files", &place, prefix);
        let installed = files(&place, &place);
        assert!(installed.len() > 8, "{installed:?}");
        for file in &installed {
            assert!(
                file.starts_with(prefix) || file.starts_with("/etc/"),
                "{file}"
            );
        }
        let unit = fs::read_to_string(place.join(
            format!("{prefix}/lib/systemd/system/usb4-roce@.service").trim_start_matches('/'),
        ))
        .unwrap();
        assert!(
            unit.contains(&format!("={prefix}/libexec/usb4-roce-setup keep")),
            "{unit}"
        );
        assert!(!unit.contains("@PREFIX@"), "{unit}");
        make("uninstall", &place, prefix);
        assert_eq!(files(&place, &place), [""; 0]);
    }
}

#[test]
fn dkms_gets_all_that_is_built() {
    let place = place("dkms");
    make("dkms-sources", &place, "/usr");
    let version = env!("CARGO_PKG_VERSION");
    let source = place.join(format!("usr/src/usb4_roce-{version}"));
    let config = fs::read_to_string(source.join("dkms.conf")).unwrap();
    assert!(
        config.contains(&format!("PACKAGE_VERSION=\"{version}\"\n")),
        "{config}"
    );
    for part in [
        "Kbuild",
        "Cargo.toml",
        "src/version.c",
        "verbs/mod.rs",
        "stream-adapter/mod.rs",
        "packaging/dkms-build",
        "packaging/dkms-prepare",
        "packaging/preflight",
        "packaging/rust-metadata",
    ] {
        assert!(source.join(part).exists(), "{part}");
    }
}
