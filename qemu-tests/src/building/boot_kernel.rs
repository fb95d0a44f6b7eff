// SPDX-License-Identifier: GPL-2.0

//! The kernel hosts boot: its image, its modules, and the initramfs that finds the root.

use std::collections::HashMap;
use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use cpio::newc;
use lab_agent::protocol::Machine;
use lab_agent::protocol::MODULE_LIST;

use crate::building::init::Init;

/// What the agent needs to reach the root and the share.
const QEMU_NEEDS: [&str; 3] = ["9pnet_virtio", "9p", "overlay"];

/// The same in User-Mode Linux.
const USER_MODE_NEEDS: [&str; 2] = ["hostfs", "overlay"];

/// What the agent needs beside that to keep what the guest writes.
const DISK_NEEDS: [&str; 2] = ["virtio_blk", "ext4"];

/// What the agent needs on `machine` to reach the root and the share, for `init`.
fn needed(machine: Machine, init: Init) -> Vec<&'static str> {
    let root = match machine {
        Machine::Qemu => &QEMU_NEEDS[..],
        Machine::UserMode => &USER_MODE_NEEDS[..],
    };
    let disk = match (machine, init) {
        (Machine::Qemu, Init::Systemd) => &DISK_NEEDS[..],
        (Machine::UserMode, _) | (_, Init::Agent) => &[][..],
    };
    [root, disk].concat()
}

/// A bootable kernel.
#[derive(Clone, Debug)]
pub struct BootKernel {
    /// The image, on the host.
    pub image: PathBuf,
    /// `/lib/modules/<release>`, on the host.
    pub modules: PathBuf,
}

impl BootKernel {
    /// The only kernel installed in the Debian root.
    pub fn of_root(root: &Path) -> Result<Self> {
        let modules = only_release(&root.join("usr/lib/modules"))?;
        let release = modules.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            image: root.join(format!("boot/vmlinuz-{release}")),
            modules: modules.clone(),
        })
    }

    /// The kernel `image`, with its modules as the only release in `modules`.
    pub fn new(image: PathBuf, modules: &Path) -> Result<Self> {
        Ok(Self {
            image,
            modules: only_release(modules)?,
        })
    }

    /// The kernel's release, as `uname -r` tells it.
    pub fn release(&self) -> String {
        let name = self.modules.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Writes the initramfs for `machine` to `path`: the agent as `/init`, and the modules it needs for the guest's `init`.
    pub fn write_initramfs(
        &self,
        machine: Machine,
        init: Init,
        agent: &Path,
        path: &Path,
    ) -> Result<()> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
        let text = |name: &str| {
            let path = self.modules.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let modules = load_order(
            &text("modules.dep")?,
            &text("modules.builtin")?,
            &needed(machine, init),
        )?;
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut archive = Archive { file, inode: 0 };
        archive.directory("dev")?;
        // Lets the kernel open the console before the agent mounts devtmpfs.
        archive.entry(
            newc::Builder::new("dev/console")
                .mode(0o600)
                .set_mode_file_type(newc::ModeFileType::Char)
                .rdev_major(5)
                .rdev_minor(1),
            &[],
        )?;
        archive.file("init", 0o755, &read(agent)?)?;
        archive.directory("modules")?;
        let mut list = String::new();
        for (number, module) in modules.iter().enumerate() {
            let base = Path::new(module).file_name().unwrap_or_default();
            let place = format!("modules/{number}-{}", base.to_string_lossy());
            archive.file(&place, 0o644, &read(&self.modules.join(module))?)?;
            list.push_str(&format!("/{place}\n"));
        }
        archive.file(MODULE_LIST.trim_start_matches('/'), 0o644, list.as_bytes())?;
        newc::trailer(archive.file).context("end the initramfs")?;
        Ok(())
    }
}

/// The only directory in `directory`.
fn only_release(directory: &Path) -> Result<PathBuf> {
    let releases: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("list {}", directory.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("list {}", directory.display()))?;
    match &releases[..] {
        [release] => Ok(release.clone()),
        other => bail!(
            "{} holds {} kernels instead of one",
            directory.display(),
            other.len()
        ),
    }
}

/// A cpio archive being written.
struct Archive {
    file: File,
    inode: u32,
}

impl Archive {
    fn entry(&mut self, builder: newc::Builder, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let file = self.file.try_clone().context("duplicate the initramfs")?;
        let size = u32::try_from(content.len()).context("a file is too big for an initramfs")?;
        let mut writer = builder.ino(self.inode).nlink(1).write(file, size);
        writer.write_all(content).context("write the initramfs")?;
        writer.finish().context("write the initramfs")?;
        Ok(())
    }

    fn directory(&mut self, name: &str) -> Result<()> {
        let builder = newc::Builder::new(name)
            .mode(0o755)
            .set_mode_file_type(newc::ModeFileType::Directory);
        self.entry(builder, &[])
    }

    fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let builder = newc::Builder::new(name)
            .mode(mode)
            .set_mode_file_type(newc::ModeFileType::Regular);
        self.entry(builder, content)
    }
}

/// Name of the module in the file `path`: `-` and `_` mean the same.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split(".ko").next().unwrap_or(file);
    name.replace('-', "_")
}

/// The files to load for the modules `needed`, dependencies first, from the texts of `modules.dep` and
/// `modules.builtin`.
fn load_order(dependencies: &str, builtin: &str, needed: &[&str]) -> Result<Vec<String>> {
    let mut files = HashMap::new();
    for line in dependencies.lines() {
        if let Some((file, rest)) = line.split_once(':') {
            // The direct dependencies of a module come last in its list.
            let first: Vec<&str> = rest.split_whitespace().rev().collect();
            files.insert(module_name(file), (file, first));
        }
    }
    let mut order: Vec<String> = Vec::new();
    for name in needed {
        let Some((file, dependencies)) = files.get(*name) else {
            if builtin.lines().any(|path| module_name(path) == *name) {
                continue;
            }
            bail!("the kernel has no module {name}");
        };
        for file in dependencies.iter().chain([file]) {
            if !order.iter().any(|ordered| ordered == file) {
                order.push((*file).to_owned());
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "kernel/fs/netfs/netfs.ko.xz:\n\
        kernel/net/9p/9pnet.ko.xz:\n\
        kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n\
        kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz\n";

    #[test]
    fn dependencies_come_first_and_once() {
        let builtin = "kernel/fs/overlayfs/overlay.ko\n";
        let order = load_order(DEPENDENCIES, builtin, &QEMU_NEEDS).unwrap();
        assert_eq!(
            order,
            [
                "kernel/net/9p/9pnet.ko.xz",
                "kernel/net/9p/9pnet_virtio.ko.xz",
                "kernel/fs/netfs/netfs.ko.xz",
                "kernel/fs/9p/9p.ko.xz"
            ]
        );
    }

    #[test]
    fn a_missing_module_is_named() {
        let error = load_order(DEPENDENCIES, "", &QEMU_NEEDS).unwrap_err();
        assert!(error.to_string().contains("overlay"));
    }

    #[test]
    fn initramfs_holds_the_agent_and_the_modules() {
        let directory = tempfile::tempdir().unwrap();
        let modules = directory.path().join("1.2.3");
        fs::create_dir_all(&modules).unwrap();
        fs::write(
            modules.join("modules.dep"),
            "a/9p.ko:\nb/9pnet_virtio.ko:\n",
        )
        .unwrap();
        fs::write(modules.join("modules.builtin"), "kernel/overlay.ko\n").unwrap();
        for file in ["a/9p.ko", "b/9pnet_virtio.ko"] {
            fs::create_dir_all(modules.join(file).parent().unwrap()).unwrap();
            fs::write(modules.join(file), file).unwrap();
        }
        let agent = directory.path().join("agent");
        fs::write(&agent, b"agent").unwrap();
        let kernel = BootKernel {
            image: PathBuf::new(),
            modules,
        };
        let path = directory.path().join("initramfs");
        let machine = Machine::Qemu;
        let init = Init::Agent;
        kernel
            .write_initramfs(machine, init, &agent, &path)
            .unwrap();

        let mut input = File::open(&path).unwrap();
        let mut names = Vec::new();
        loop {
            let reader = newc::Reader::new(&mut input).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            reader.finish().unwrap();
        }
        assert_eq!(
            names,
            [
                "dev",
                "dev/console",
                "init",
                "modules",
                "modules/0-9pnet_virtio.ko",
                "modules/1-9p.ko",
                "modules.list"
            ]
        );
        assert_eq!(kernel.release(), "1.2.3");
    }
}
