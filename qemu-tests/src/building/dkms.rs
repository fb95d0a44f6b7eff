// SPDX-License-Identifier: GPL-2.0

//! The module as DKMS builds it on a Debian machine with the stock kernel: of the package with the sources, and of what it recommends.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::debian::Debian;
use crate::building::module;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;

/// Where the package and the built module are while DKMS is at work.
const SHARED: &str = "dkms";

/// Installs the package for the kernel of release `$1`, first without the kernel's source, of which the metadata is made that its headers lack,
/// and removes it in the end. The module goes to the shared directory.
const SCRIPT: &str = "\
release=$1
export DEBIAN_FRONTEND=noninteractive
die() { echo \"$*\" >&2; exit 1; }
state() { dkms status usb4_roce; }

# DKMS passes the kernel over, and says why. Nobody is left half configured, nor would a kernel be that is installed now.
mkdir /usr/src/away && mv /usr/src/linux-source-*.tar.xz /usr/src/away/
said=$(apt-get --yes --no-install-recommends install /lab/dkms/usb4-roce-dkms_*.deb 2>&1) || die \"not installed: $said\"
echo \"$said\"
echo \"$said\" | grep -q '^    sudo apt install linux-source-' || die 'it is not said what is missing'
[ -z \"$(dpkg --audit)\" ] || die \"half configured: $(dpkg --audit)\"
/etc/kernel/postinst.d/dkms \"$release\" || die 'a kernel could not be installed'
state | grep -q ': added$' || die \"without the kernel's source: $(state)\"

# What was said.
mv /usr/src/away/* /usr/src/
dkms autoinstall -k \"$release\"
state | grep -q \"$release.*: installed$\" || die \"with the kernel's source: $(state)\"
built=$(modinfo --set-version \"$release\" --field filename usb4_roce)
xz --decompress --stdout \"$built\" > /lab/dkms/usb4_roce.ko

# Another package of the same kernel has other symbols: the metadata is not used any more.
before=$(stat --format %Y /var/cache/usb4-roce/*/made-of)
[ \"$(/usr/src/usb4_roce-*/packaging/dkms-prepare \"$release\" /lib/modules/\"$release\"/build | tail -n 1)\" = /var/cache/usb4-roce/\"$release\"/build ]
[ \"$(stat --format %Y /var/cache/usb4-roce/*/made-of)\" = \"$before\" ] || die 'the metadata was made twice'

apt-get --yes remove usb4-roce-dkms
left=$(find /lib/modules /var/lib/dkms /var/cache /usr/src -xdev -iname '*usb4[-_]roce*' -not -path '/var/cache/apt/*')
[ -z \"$left\" ] || die \"a package that is gone leaves $left\"";

/// Builds it in `root`, which has the tools, for the kernel of that `release`; gives the module.
pub fn build(cache: &Cache, root: &Root, release: &str, packages: &Debian) -> Result<PathBuf> {
    let key = Key::new("dkms", &[root.key.as_str(), release]);
    let (directory, _lock) = cache.workshop(&key)?;
    let shared = directory.join(SHARED);
    fs::remove_dir_all(&directory)
        .and_then(|()| fs::create_dir_all(&shared))
        .with_context(|| format!("empty {}", directory.display()))?;
    for package in packages.files()? {
        copy_into(&package, &shared)?;
    }
    let binds = vec![Bind::new(&shared, SHARED, Access::ReadWrite)];
    let changes = directory.join("changes");
    let log = directory.with_extension("log");
    root.run_changing(&["sh", "-ec", SCRIPT, "sh", release], binds, &changes, &log)
        .context("have DKMS build the module")?;
    // A tree of the kernel's source is among them.
    fs::remove_dir_all(&changes).with_context(|| format!("remove {}", changes.display()))?;
    Ok(shared.join(format!("{}.ko", module::NAME)))
}

fn copy_into(file: &Path, directory: &Path) -> Result<()> {
    let target = directory.join(file.file_name().unwrap_or_default());
    fs::copy(file, &target).with_context(|| format!("copy {}", file.display()))?;
    Ok(())
}
