// SPDX-License-Identifier: GPL-2.0

//! The host's apt: which Debian mirror it uses, and installing what the lab needs from it.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

/// Where apt's sources are listed.
const SOURCES: &str = "/etc/apt";

/// The Debian mirror in the host's apt sources.
pub fn debian_mirror() -> Result<String> {
    find_mirror(Path::new(SOURCES))
}

fn find_mirror(directory: &Path) -> Result<String> {
    let mut files = vec![directory.join("sources.list")];
    let parts = directory.join("sources.list.d");
    if parts.exists() {
        let entries = fs::read_dir(&parts).with_context(|| format!("list {}", parts.display()))?;
        let mut found: Vec<PathBuf> = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()
            .with_context(|| format!("list {}", parts.display()))?;
        found.sort();
        files.extend(found);
    }
    for file in files.iter().filter(|file| file.exists()) {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let uris = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => deb822_uris(&text),
            Some("list") => one_line_uris(&text),
            _ => continue,
        };
        if let Some(mirror) = uris.into_iter().find(|uri| is_debian(uri)) {
            return Ok(mirror);
        }
    }
    bail!(
        "no Debian mirror is listed in {}: name one with --mirror",
        directory.display()
    )
}

/// Whether `uri` is a mirror of Debian's main archive: those end in `/debian`.
fn is_debian(uri: &str) -> bool {
    uri.trim_end_matches('/').ends_with("/debian")
}

/// URIs of the enabled `deb` stanzas of a deb822 file.
fn deb822_uris(text: &str) -> Vec<String> {
    let mut uris = Vec::new();
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    // Ends the last stanza.
    lines.push("");
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.trim().is_empty() {
            let field = |name: &str| {
                let found = fields
                    .iter()
                    .find(|(field, _)| field.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.as_str())
            };
            let enabled = field("Enabled").is_none_or(|value| value.trim() != "no");
            let binary = field("Types").is_some_and(|t| t.split_whitespace().any(|t| t == "deb"));
            if enabled && binary {
                let value = field("URIs").unwrap_or_default();
                uris.extend(value.split_whitespace().map(str::to_owned));
            }
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    uris
}

/// URIs of the `deb` lines of a one-line-style file.
fn one_line_uris(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let rest = line.trim_start().strip_prefix("deb")?;
            let mut rest = rest.strip_prefix([' ', '\t'])?.trim_start();
            if rest.starts_with('[') {
                rest = rest.split_once(']')?.1.trim_start();
            }
            rest.split_whitespace().next().map(str::to_owned)
        })
        .collect()
}

/// Installs, with the host's apt, the packages of the programs in `needed` (program, package) that are missing.
pub fn install_missing(needed: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&(&str, &str)> = needed
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = |index: fn(&(&str, &str)) -> String| {
        let names: Vec<String> = missing.iter().map(|entry| index(entry)).collect();
        names.join(", ")
    };
    if !is_installed("apt-get") {
        bail!(
            "missing programs: {}; there is no apt-get to install them, please do so by hand",
            names(|(program, _)| (*program).to_owned())
        );
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    apt_get(&["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt_get(&arguments)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(["--quiet", "--quiet"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("run apt-get")?;
    if !output.status.success() {
        bail!(
            "apt-get {}: {}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(())
}

/// Whether `program` is an absolute path that exists, or in one of `PATH`'s directories.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The administrator's directories may be missing in a user's PATH.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .any(|directory| directory.join(program).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deb822_stanzas() {
        let text = "Types: deb\n# a comment\nURIs: http://one.example/debian\n  http://two.example/debian\n\
            Suites: trixie\n\nTypes: deb-src\nURIs: http://source.example/debian\n\n\
            Enabled: no\nTypes: deb\nURIs: http://off.example/debian\n\n\
            types: deb deb-src\nuris: http://three.example/debian-security\n";
        assert_eq!(
            deb822_uris(text),
            [
                "http://one.example/debian",
                "http://two.example/debian",
                "http://three.example/debian-security"
            ]
        );
    }

    #[test]
    fn one_line_entries() {
        let text = "# deb http://no.example/debian x main\n\
            deb [arch=amd64 signed-by=/a b] http://one.example/debian trixie main\n\
            deb-src http://source.example/debian trixie main\n\
            \tdeb\thttp://two.example/debian/ trixie main\n\
            debris\n";
        assert_eq!(
            one_line_uris(text),
            ["http://one.example/debian", "http://two.example/debian/"]
        );
    }

    #[test]
    fn the_main_archive_is_chosen() {
        let directory = tempfile::tempdir().unwrap();
        let parts = directory.path().join("sources.list.d");
        fs::create_dir_all(&parts).unwrap();
        assert!(find_mirror(directory.path()).is_err());
        fs::write(
            parts.join("a.sources"),
            "Types: deb\nURIs: http://m.example/debian-security\nSuites: s\n",
        )
        .unwrap();
        fs::write(
            parts.join("b.list"),
            "deb http://m.example/debian/ s main\n",
        )
        .unwrap();
        fs::write(
            parts.join("c.disabled"),
            "deb http://x.example/debian s main\n",
        )
        .unwrap();
        assert_eq!(
            find_mirror(directory.path()).unwrap(),
            "http://m.example/debian/"
        );
    }

    #[test]
    fn programs_are_found() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program-of-the-lab"));
    }
}
