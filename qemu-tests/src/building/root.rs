// SPDX-License-Identifier: GPL-2.0

//! The Debian root: what hosts run from, and where kernels, modules and clients are built.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

use crate::building::addition::Addition;
use crate::building::apt;
use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::within::Bind;
use crate::building::within::Layer;
use crate::building::within::Lifetime;
use crate::building::within::Program;
use crate::building::within::Seat;
use crate::building::within::View;

/// Counts changes of this file that change the root.
const RECIPE: &str = "1";

/// The Debian release.
const SUITE: &str = "trixie";

/// What comes from backports although Debian's release has it too.
const BACKPORTED: &str = "linux-* qemu-* seabios ovmf ipxe-qemu";

/// Packages of the root.
const PACKAGES: &str = include_str!("../../root/packages");

/// The keys of Debian's archive.
pub const ARCHIVE_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Programs which make the root, and the host's packages with them.
const NEEDED: [(&str, &str); 2] = [
    ("mmdebstrap", "mmdebstrap"),
    (ARCHIVE_KEYS, "debian-archive-keyring"),
];

/// Disk space of the root in bytes, with room for apt's downloads.
const SPACE: u64 = 5 << 30;

/// Counts changes of this file that change what lies over the root.
const ADDITION_RECIPE: &str = "1";

/// Where the files of a layer are in its entry of the cache.
const LAYER_FILES: &str = "files";

/// Installs packages with the root's own apt: `$1` is the release, `$2` are further components of the archive, and the rest packages.
const ADD: &str = "\
export DEBIAN_FRONTEND=noninteractive
suite=$1 components=$2
shift 2
mirror=$(sed -n \"s|^deb \\(.*\\) $suite main$|\\1|p\" /etc/apt/sources.list)
[ -z \"$components\" ] || echo \"deb $mirror $suite $components\" > /etc/apt/sources.list.d/addition.list
apt-get --quiet --quiet update
apt-get --quiet --quiet --yes --no-install-recommends install \"$@\"
apt-get clean
rm -rf /var/lib/apt/lists/*";

/// The Debian root.
#[derive(Clone, Debug)]
pub struct Root {
    /// Where it is.
    pub path: PathBuf,
    /// What it was made from.
    pub key: Key,
    /// Files that lie over it.
    layer: Option<PathBuf>,
}

/// The names in a package list: one a line, `#` begins a comment.
fn package_names(list: &str) -> Vec<&str> {
    list.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|name| !name.is_empty())
        .collect()
}

impl Root {
    /// The root, made with packages from `mirror` (the host's, if none is named) if it is not in the cache.
    pub fn provide(cache: &Cache, mirror: Option<&str>) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("the lab makes a Debian root and mount namespaces: run it as root");
        }
        let packages = package_names(PACKAGES).join(",");
        let key = Key::new("root", &[RECIPE, SUITE, BACKPORTED, &packages]);
        let path = cache.entry(&key, "make the Debian root", SPACE, |directory| {
            let mirror = match mirror {
                Some(mirror) => mirror.to_owned(),
                None => apt::debian_mirror()?,
            };
            apt::install_missing(&NEEDED)?;
            bootstrap(directory, &mirror, &packages)
        })?;
        Ok(Self {
            path,
            key,
            layer: None,
        })
    }

    /// The same root with the packages of `addition`, which are installed if they are not in the cache.
    pub fn with(&self, cache: &Cache, addition: Addition) -> Result<Self> {
        let packages = package_names(addition.packages());
        let inputs = [
            self.key.as_str(),
            ADDITION_RECIPE,
            addition.components(),
            &packages.join(","),
        ];
        let key = Key::new("layer", &inputs);
        let what = format!("install {addition} over the Debian root");
        let path = cache.entry(&key, &what, addition.space(), |directory| {
            self.add(directory, addition.components(), &packages)
        })?;
        Ok(Self {
            path: self.path.clone(),
            key,
            layer: Some(path.join(LAYER_FILES)),
        })
    }

    /// Installs `packages`, some from the archive's further `components`, into a new layer in `directory`.
    fn add(&self, directory: &Path, components: &str, packages: &[&str]) -> Result<()> {
        // Whom the host asks for the mirror's address may have changed since the root was made.
        let resolver = "etc/resolv.conf";
        let files = directory.join(LAYER_FILES);
        let settings = files.join("etc");
        fs::create_dir_all(&settings).with_context(|| format!("create {}", settings.display()))?;
        fs::copy(Path::new("/").join(resolver), files.join(resolver))
            .context("copy the host's resolver")?;
        let mut argv = vec!["sh", "-ec", ADD, "sh", SUITE, components];
        argv.extend(packages);
        let log = directory.with_extension("log");
        self.run_changing(&argv, Vec::new(), directory, &log)
            .context("install packages")
    }

    /// Runs `argv` as [`Self::run`] does; what it changes of the root goes to a layer in `directory`.
    pub fn run_changing(
        &self,
        argv: &[&str],
        binds: Vec<Bind>,
        directory: &Path,
        log: &Path,
    ) -> Result<()> {
        let [files, work] = [LAYER_FILES, "work"].map(|name| directory.join(name));
        for path in [&files, &work] {
            fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
        }
        let program = Program {
            view: Some(View {
                layer: Some(Layer::Growing {
                    below: self.layer.clone(),
                    files,
                    work: work.clone(),
                }),
                ..self.view(binds, "/")
            }),
            ..program_of(argv)
        };
        logged(&mut program.command()?, argv.first().unwrap_or(&""), log)?;
        fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))
    }

    /// The root as a program in `directory` sees it, with `binds` below `/lab`.
    pub fn view(&self, binds: Vec<Bind>, directory: &str) -> View {
        View {
            root: self.path.clone(),
            layer: self.layer.clone().map(Layer::Fixed),
            binds,
            directory: PathBuf::from(directory),
        }
    }

    /// Runs `argv` in the root to its end, with `binds` below `/lab`, in the directory `directory`.
    /// An error has the last lines of what it wrote; everything is in the file `log`.
    pub fn run(&self, argv: &[&str], binds: Vec<Bind>, directory: &str, log: &Path) -> Result<()> {
        let program = Program {
            view: Some(self.view(binds, directory)),
            ..program_of(argv)
        };
        let mut command = program.command()?;
        logged(&mut command, argv.first().unwrap_or(&""), log)
    }
}

/// A program that ends with the lab.
fn program_of(argv: &[&str]) -> Program {
    Program {
        view: None,
        lifetime: Lifetime::WithTheLab,
        seat: Seat::default(),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
    }
}

/// Runs `command` with its output in the file `log`.
pub fn logged(command: &mut Command, name: &str, log: &Path) -> Result<()> {
    const LAST_LINES: usize = 15;
    let output = std::fs::File::create(log).with_context(|| format!("create {}", log.display()))?;
    let errors = output.try_clone().context("duplicate the log")?;
    let status = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .with_context(|| format!("run {name}"))?;
    if !status.success() {
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        bail!(
            "{name}: {status}\n{}\n(all of it: {})",
            last.join("\n"),
            log.display()
        );
    }
    Ok(())
}

fn bootstrap(directory: &Path, mirror: &str, packages: &str) -> Result<()> {
    let pin = format!(
        "mkdir -p \"$1/etc/apt/preferences.d\" && printf \
        'Package: {BACKPORTED}\\nPin: release n={SUITE}-backports\\nPin-Priority: 900\\n' \
        > \"$1/etc/apt/preferences.d/backports\""
    );
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--variant=apt", "--components=main"])
        .arg(format!("--include={packages}"))
        .arg(format!("--setup-hook={pin}"))
        // Where binds go in the lab's mount namespaces.
        .arg("--customize-hook=mkdir \"$1/lab\"")
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .arg("--aptopt=Acquire::Retries \"3\"")
        .arg(SUITE)
        .arg(directory);
    for suite in ["", "-updates", "-backports"] {
        command.arg(format!("deb {mirror} {SUITE}{suite} main"));
    }
    let log = directory.with_extension("log");
    logged(&mut command, "mmdebstrap", &log)
        .with_context(|| format!("is the mirror {mirror} reachable?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_lists_may_have_comments() {
        assert_eq!(package_names("# x\na\n\n  b # why\n"), ["a", "b"]);
        assert!(package_names(PACKAGES).contains(&"qemu-system-x86"));
    }
}
