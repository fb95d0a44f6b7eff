// SPDX-License-Identifier: GPL-2.0

//! Kernel trees which modules are built against, with the Rust metadata that headers packages lack.

use std::fmt;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::Machine;

use crate::building::boot_kernel::BootKernel;
use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;

/// Counts changes of this file that change the trees.
const RECIPE: &str = "1";

/// Configuration of the debug kernel, merged over the smallest one.
const DEBUG_CONFIG: &str = include_str!("../../kernels/debug-7.2.config");

/// Configuration of the native kernel, merged over the smallest one.
const NATIVE_CONFIG: &str = include_str!("../../kernels/native-7.3.config");

/// What the native kernel needs of User-Mode Linux that Linux does not have yet, in this order.
const NATIVE_PATCHES: [&str; 10] = [
    include_str!("../../kernels/um/0001-virtio-pcidev-commands-with-interrupts-off.patch"),
    include_str!("../../kernels/um/0002-virtio-pcidev-sender-reclaims.patch"),
    include_str!("../../kernels/um/0003-virtio-pcidev-more-posted-writes.patch"),
    include_str!("../../kernels/um/0004-virtio-pcidev-more-interrupt-messages.patch"),
    include_str!("../../kernels/um/0005-virt-pci-vectors-for-all-devices.patch"),
    include_str!("../../kernels/um/0006-interrupts-preempt-user-mode.patch"),
    include_str!("../../kernels/um/0007-idle-does-not-sleep-over-interrupts.patch"),
    include_str!("../../kernels/um/0008-console-options-are-not-lines.patch"),
    include_str!("../../kernels/um/0009-rust-modules-without-got.patch"),
    include_str!("../../kernels/um/0010-throttled-lines-come-back.patch"),
];

/// Disk space of a tree, in bytes.
const SPACE: u64 = 4 << 30;

/// Which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// Debian's, unmodified.
    Stock,
    /// Built here from Debian's sources, with KUnit and the kernel's checkers.
    Debug,
    /// Built here from Debian's sources, to run as a process (`ARCH=um`).
    Native,
}

impl Kernel {
    /// What runs it.
    pub fn machine(self) -> Machine {
        match self {
            Self::Stock | Self::Debug => Machine::Qemu,
            Self::Native => Machine::UserMode,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stock => "stock",
            Self::Debug => "debug",
            Self::Native => "native",
        })
    }
}

/// A prepared tree.
#[derive(Clone, Debug)]
pub struct KernelTree {
    /// What it was made from.
    pub key: Key,
    path: PathBuf,
    /// Variables for `make` in the tree.
    pub make_variables: Vec<String>,
    /// The kernel to boot.
    pub boot: BootKernel,
}

/// Unpacks the source package `$1` to `/lab/tree/source` without the bulk that no module build looks at.
const UNPACK: &str = "\
mkdir /lab/tree/source /lab/tree/build
tar -C /lab/tree/source --strip-components=1 --wildcards --no-same-owner \
    --exclude='*/drivers/gpu/*.[chS]' --exclude='*/drivers/media/*.[chS]' --exclude='*/sound/*.[chS]' \
    --exclude='*/Documentation/*.rst' --exclude='*/Documentation/*.yaml' --exclude='*/drivers/staging/*.[chS]' \
    --exclude='*/tools/testing/selftests/*' --exclude='*/arch/*/boot/dts/*' -xf /usr/src/$1.tar.xz";

/// Makes the metadata for the installed kernel of release `$1`. The version suffix comes from the package, so
/// modules get the same version magic.
const PREPARE: &str = "\
release=$1 jobs=$2
base=$(make -s -C /lab/linux kernelversion) || exit
suffix=${release#\"$base\"}
compiler=$(sed -n 's/^CONFIG_CC_VERSION_TEXT=\"\\([^ ]*\\) .*/\\1/p' /boot/config-$release)
kbuild() { make -C /lab/linux O=/lab/kbuild CC=$compiler LOCALVERSION=$suffix -j$jobs \"$@\"; }
cp /boot/config-$release /lab/kbuild/.config && kbuild olddefconfig && kbuild prepare modules_prepare || exit
grep -qx CONFIG_RUST=y /lab/kbuild/.config || { echo 'the configuration lost CONFIG_RUST: a Rust tool is missing or too old' >&2; exit 1; }
cp /usr/src/linux-headers-$release/Module.symvers /lab/kbuild/ || exit
made=$(cat /lab/kbuild/include/config/kernel.release)
[ \"$made\" = \"$release\" ] || { echo \"the tree is for $made instead of $release\" >&2; exit 1; }";

/// Builds the debug kernel.
const BUILD: &str = "\
jobs=$1
kbuild() { make -C /lab/linux O=/lab/kbuild LLVM=1 -j$jobs \"$@\"; }
kbuild tinyconfig || exit
/lab/linux/scripts/kconfig/merge_config.sh -m -O /lab/kbuild /lab/kbuild/.config /lab/tree/debug.config || exit
kbuild olddefconfig || exit
for option in RUST KUNIT PROVE_LOCKING KASAN DEBUG_KMEMLEAK FAILSLAB FAIL_PAGE_ALLOC SUSPEND MEMCG SMP; do
  grep -qx CONFIG_$option=y /lab/kbuild/.config || { echo \"the configuration lost CONFIG_$option\" >&2; exit 1; }
done
kbuild bzImage modules && kbuild INSTALL_MOD_PATH=/lab/tree modules_install || exit
cp /lab/kbuild/arch/x86/boot/bzImage /lab/tree/vmlinuz || exit
find /lab/kbuild -name '*.o' -not -path '*/scripts/*' -not -path '*/tools/*' -not -path '*/rust/*' -delete
rm -f /lab/kbuild/vmlinux* /lab/tree/lib/modules/*/build";

/// Builds the native kernel.
const BUILD_NATIVE: &str = "\
jobs=$1
kbuild() { make -C /lab/linux O=/lab/kbuild ARCH=um -j$jobs \"$@\"; }
# They have no context: they fit where they belong, or not at all.
patch --directory=/lab/tree/source --strip=1 --fuzz=0 < /lab/tree/native.patch || exit
kbuild tinyconfig || exit
/lab/linux/scripts/kconfig/merge_config.sh -m -O /lab/kbuild /lab/kbuild/.config /lab/tree/native.config || exit
kbuild olddefconfig || exit
for option in RUST KUNIT PREEMPT HOSTFS OVERLAY_FS UML_PCI_OVER_VIRTIO XXHASH; do
  grep -qx CONFIG_$option=y /lab/kbuild/.config || { echo \"the configuration lost CONFIG_$option\" >&2; exit 1; }
done
kbuild vmlinux modules && kbuild INSTALL_MOD_PATH=/lab/tree modules_install || exit
cp /lab/kbuild/vmlinux /lab/tree/vmlinux || exit
find /lab/kbuild -name '*.o' -not -path '*/scripts/*' -not -path '*/tools/*' -not -path '*/rust/*' -delete
rm -f /lab/kbuild/vmlinux* /lab/kbuild/linux /lab/tree/lib/modules/*/build";

/// The number of compilers to run at once.
pub fn jobs() -> String {
    available_parallelism().map_or(1, usize::from).to_string()
}

impl KernelTree {
    /// The tree of `kernel`, made if it is not in the cache.
    pub fn provide(cache: &Cache, root: &Root, kernel: Kernel) -> Result<Self> {
        match kernel {
            Kernel::Stock => Self::stock(cache, root),
            Kernel::Debug => Self::debug(cache, root),
            Kernel::Native => Self::native(cache, root),
        }
    }

    fn stock(cache: &Cache, root: &Root) -> Result<Self> {
        let boot = BootKernel::of_root(&root.path)?;
        let key = Key::new("stock", &[RECIPE, UNPACK, PREPARE, root.key.as_str()]);
        let what = "prepare the tree of Debian's kernel for Rust modules";
        let path = cache.entry(&key, what, SPACE, |directory| {
            let log = directory.with_extension("log");
            let source = format!("linux-source-{}", version_of(&boot.release()));
            run(root, directory, &["sh", "-ec", UNPACK, "sh", &source], &log)?;
            let argv = ["sh", "-c", PREPARE, "sh", &boot.release(), &jobs()];
            run(root, directory, &argv, &log)
        })?;
        let compiler = compiler(&path.join("build/.config"))?;
        Ok(Self {
            key,
            path,
            make_variables: vec![format!("CC={compiler}")],
            boot,
        })
    }

    fn debug(cache: &Cache, root: &Root) -> Result<Self> {
        let inputs = [RECIPE, UNPACK, BUILD, DEBUG_CONFIG, root.key.as_str()];
        let key = Key::new("debug", &inputs);
        let what = "build the debug kernel";
        let path = cache.entry(&key, what, SPACE, |directory| {
            let log = directory.with_extension("log");
            let argv = ["sh", "-ec", UNPACK, "sh", "linux-source-7.2"];
            run(root, directory, &argv, &log)?;
            let config = directory.join("debug.config");
            fs::write(&config, DEBUG_CONFIG)
                .with_context(|| format!("write {}", config.display()))?;
            run(root, directory, &["sh", "-c", BUILD, "sh", &jobs()], &log)
        })?;
        let boot = BootKernel::new(path.join("vmlinuz"), &path.join("lib/modules"))?;
        Ok(Self {
            key,
            path,
            make_variables: ["LLVM=1", "KUNIT=1"].map(str::to_owned).to_vec(),
            boot,
        })
    }

    fn native(cache: &Cache, root: &Root) -> Result<Self> {
        let patches = NATIVE_PATCHES.concat();
        let inputs = [RECIPE, UNPACK, BUILD_NATIVE, NATIVE_CONFIG, &patches];
        let key = Key::new("native", &[&inputs[..], &[root.key.as_str()]].concat());
        let what = "build the native kernel";
        let path = cache.entry(&key, what, SPACE, |directory| {
            let log = directory.with_extension("log");
            let argv = ["sh", "-ec", UNPACK, "sh", "linux-source-7.3"];
            run(root, directory, &argv, &log)?;
            for (name, text) in [("native.config", NATIVE_CONFIG), ("native.patch", &patches)] {
                let file = directory.join(name);
                fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
            }
            let argv = ["sh", "-c", BUILD_NATIVE, "sh", &jobs()];
            run(root, directory, &argv, &log)
        })?;
        let boot = BootKernel::new(path.join("vmlinux"), &path.join("lib/modules"))?;
        Ok(Self {
            key,
            path,
            make_variables: ["ARCH=um", "KUNIT=1"].map(str::to_owned).to_vec(),
            boot,
        })
    }

    /// Binds of the tree: the source as `/lab/linux`, the build directory as `/lab/kbuild`.
    pub fn binds(&self) -> Vec<Bind> {
        binds(&self.path, Access::ReadOnly)
    }
}

/// The C compiler that the kernel configuration in the file `config` is for.
fn compiler(config: &Path) -> Result<String> {
    let text = fs::read_to_string(config).with_context(|| format!("read {}", config.display()))?;
    compiler_in(&text)
        .map(str::to_owned)
        .with_context(|| format!("{} names no compiler", config.display()))
}

/// The program in the line `CONFIG_CC_VERSION_TEXT="program (more)..."` of a kernel configuration.
fn compiler_in(config: &str) -> Option<&str> {
    let text = config
        .lines()
        .find_map(|line| line.strip_prefix("CONFIG_CC_VERSION_TEXT=\""))?;
    text.split([' ', '"']).next()
}

/// `7.3` of `7.3.4+deb13-amd64`.
fn version_of(release: &str) -> String {
    let mut parts = release.split('.');
    let (major, minor) = (parts.next(), parts.next());
    [major, minor]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(".")
}

fn binds(tree: &Path, access: Access) -> Vec<Bind> {
    vec![
        Bind::new(&tree.join("source"), "linux", Access::ReadOnly),
        Bind::new(&tree.join("build"), "kbuild", access),
    ]
}

fn run(root: &Root, tree: &Path, argv: &[&str], log: &Path) -> Result<()> {
    let mut all = vec![Bind::new(tree, "tree", Access::ReadWrite)];
    if tree.join("source").exists() {
        all.extend(binds(tree, Access::ReadWrite));
    }
    root.run(argv, all, "/", log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_package_is_named_after_the_release() {
        assert_eq!(version_of("7.3.4+deb13-amd64"), "7.3");
    }

    #[test]
    fn the_compiler_is_the_configuration_s() {
        let config =
            "CONFIG_A=y\nCONFIG_CC_VERSION_TEXT=\"x86_64-linux-gnu-gcc-14 (Debian 14.2.0) 14\"\n";
        assert_eq!(compiler_in(config), Some("x86_64-linux-gnu-gcc-14"));
        assert_eq!(compiler_in("CONFIG_A=y\n"), None);
    }

    #[test]
    fn patches_change_user_mode_linux_only_and_say_why() {
        for patch in NATIVE_PATCHES {
            assert!(patch.starts_with("Subject: [PATCH "), "{patch}");
            let (message, changes) = patch.split_once("\n---\n").unwrap();
            assert!(message.lines().count() > 2, "{message}");
            for line in changes.lines() {
                // Nothing of the kernel's code but what changes.
                assert!(!line.starts_with(' '), "{line:?}");
                if let Some(file) = line.strip_prefix("+++ b/") {
                    assert!(file.starts_with("arch/um/"), "{file}");
                }
            }
        }
    }
}
