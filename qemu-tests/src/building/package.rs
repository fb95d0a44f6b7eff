// SPDX-License-Identifier: GPL-2.0

//! What `make install` installs, with the module where modprobe finds it, to be copied to the root of a host.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::module;
use crate::building::module::Modules;
use crate::building::root::logged;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;

/// Puts the module of `/lab/modules` beside the root's own modules of release `$1`, and makes the index of all. Here and not in a
/// guest, where it takes a minute.
const INDEX: &str = "\
release=$1 module=$2
all=/usr/lib/modules/$release
place=/lab/package/usr/lib/modules/$release
install -D -m 644 -t $place/updates /lab/modules/$module.ko || exit
cp $all/modules.order $all/modules.builtin* $place/ && ln -s $all/kernel $place/kernel || exit
depmod --basedir /lab/package/usr $release && rm $place/kernel && grep -q ^updates/$module.ko: $place/modules.dep";

/// An installed package.
#[derive(Clone, Debug)]
pub struct Package {
    /// The root of what is installed.
    pub directory: PathBuf,
}

impl Package {
    /// Installs what is in `checkout`, and the built `modules` for the kernel of that release.
    pub fn install(
        cache: &Cache,
        root: &Root,
        release: &str,
        modules: &Modules,
        checkout: &Path,
    ) -> Result<Self> {
        let place = checkout.display().to_string();
        let key = Key::new("package", &[root.key.as_str(), &place]);
        let (directory, _lock) = cache.workshop(&key)?;
        fs::remove_dir_all(&directory)
            .and_then(|()| fs::create_dir_all(&directory))
            .with_context(|| format!("empty {}", directory.display()))?;
        let log = directory.with_extension("log");
        let mut make = Command::new("make");
        make.arg("--directory").arg(checkout).arg("install-files");
        make.arg(format!("DESTDIR={}", directory.display()));
        logged(&mut make, "make install-files", &log)?;

        let module = modules.file(module::NAME)?;
        let built = module.parent().context("the module's directory")?;
        let binds = vec![
            Bind::new(&directory, "package", Access::ReadWrite),
            Bind::new(built, "modules", Access::ReadOnly),
        ];
        let argv = ["sh", "-c", INDEX, "sh", release, module::NAME];
        root.run(&argv, binds, "/", &log)
            .context("index the modules")?;
        Ok(Self { directory })
    }
}
