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

/// Something in place of the command, its pages and completions.
fn command() -> PathBuf {
    let command = place("command");
    for file in [
        "usb4-roce",
        "man/usb4-roce.1",
        "man/usb4-roce-status.1",
        "completions/usb4-roce.bash",
        "completions/_usb4-roce",
        "completions/usb4-roce.fish",
    ] {
        let file = command.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    command
}

fn make(target: &str, place: &Path, prefix: &str, command: &Path) {
    let output = Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--silent", target, "KDIR=/nonexistent"])
        .arg(format!("DESTDIR={}", place.display()))
        .arg(format!("PREFIX={prefix}"))
        .arg(format!("COMMAND={}", command.display()))
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
    let command = command();
    for prefix in ["/usr", "/usr/local", "/opt/roce"] {
        let place = place(&prefix.replace(['/', ' '], "-"));
        make("install-files", &place, prefix, &command);
        let installed = files(&place, &place);
        assert!(installed.len() > 8, "{installed:?}");
        for file in [
            "bin/usb4-roce",
            "share/man/man1/usb4-roce-status.1",
            "share/zsh/site-functions/_usb4-roce",
        ] {
            let file = format!("{prefix}/{file}");
            assert!(installed.contains(&file), "{file}: {installed:?}");
        }
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
        make("uninstall", &place, prefix, &command);
        assert_eq!(files(&place, &place), [""; 0]);
    }
}

/// What the links of a page lead to, without what is on the network or the same page.
fn targets(page: &str) -> Vec<&str> {
    let links = page.split("](").skip(1);
    links
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

#[test]
fn links_of_the_installed_manual_lead_to_what_is_installed() {
    let place = place("manual");
    make("install-files", &place, "/usr", Path::new("/nonexistent"));
    let manual = place.join("usr/share/doc/usb4-roce");
    let mut links = 0;
    for file in files(&manual, &manual) {
        let page = fs::read_to_string(manual.join(file.trim_start_matches('/'))).unwrap();
        for target in targets(&page) {
            assert!(manual.join(target).is_file(), "{file} links to {target}");
            links += 1;
        }
    }
    assert!(links > 10, "{links} links");
    let first = fs::read_to_string(manual.join("README.md")).unwrap();
    assert!(
        first.contains("in ARCHITECTURE.md of the sources"),
        "{first}"
    );
}

#[test]
fn what_was_not_built_is_not_installed() {
    let place = place("without-command");
    make("install-files", &place, "/usr", Path::new("/nonexistent"));
    let installed = files(&place, &place);
    let is_program = |file: &String| file.starts_with("/usr/bin/");
    assert!(!installed.iter().any(is_program), "{installed:?}");
}

#[test]
fn dkms_gets_all_that_is_built() {
    let place = place("dkms");
    make("dkms-sources", &place, "/usr", Path::new("/nonexistent"));
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
