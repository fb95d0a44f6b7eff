// SPDX-License-Identifier: GPL-2.0

//! Everything that has to be built before hosts can run, each built once and only when it is asked for.

use std::cell::OnceCell;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::addition::Addition;
use crate::building::cache::Cache;
use crate::building::clients::Clients;
use crate::building::command;
use crate::building::container::Container;
use crate::building::container::Release;
use crate::building::container::VERIFY;
use crate::building::counter;
use crate::building::debian::Debian;
use crate::building::dkms;
use crate::building::kernel_tree::Kernel;
use crate::building::kernel_tree::KernelTree;
use crate::building::lint;
use crate::building::module::Modules;
use crate::building::newest_pyverbs;
use crate::building::package::Package;
use crate::building::programs;
use crate::building::progress::Step;
use crate::building::pyverbs;
use crate::building::root::Root;
use crate::building::tool::checkout;
use crate::building::tool::Tools;

/// The built things.
pub struct Workbench {
    cache: Cache,
    mirror: Option<String>,
    source: PathBuf,
    root: OnceCell<Root>,
    tools: OnceCell<Tools>,
    clients: OnceCell<Clients>,
    counter: OnceCell<PathBuf>,
    stock: OnceCell<KernelTree>,
    debug: OnceCell<KernelTree>,
    native: OnceCell<KernelTree>,
    stock_modules: OnceCell<Modules>,
    debug_modules: OnceCell<Modules>,
    native_modules: OnceCell<Modules>,
}

/// The value in `cell`, made by `make` the first time.
fn once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if cell.get().is_none() {
        let value = make()?;
        return Ok(cell.get_or_init(|| value));
    }
    cell.get().map_or_else(|| unreachable!(), Ok)
}

impl Workbench {
    /// A workbench which keeps things in `cache`. The root comes from `mirror`, the module's sources from
    /// `source`; without them, from the host's mirror and from the lab's own checkout.
    pub fn new(cache: Cache, mirror: Option<String>, source: Option<PathBuf>) -> Result<Self> {
        let source = match source {
            Some(source) => source,
            None => checkout()?,
        };
        Ok(Self {
            cache,
            mirror,
            source,
            root: OnceCell::new(),
            tools: OnceCell::new(),
            clients: OnceCell::new(),
            counter: OnceCell::new(),
            stock: OnceCell::new(),
            debug: OnceCell::new(),
            native: OnceCell::new(),
            stock_modules: OnceCell::new(),
            debug_modules: OnceCell::new(),
            native_modules: OnceCell::new(),
        })
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The Debian root.
    pub fn root(&self) -> Result<&Root> {
        once(&self.root, || {
            Root::provide(&self.cache, self.mirror.as_deref())
        })
    }

    /// The lab's own programs.
    pub fn tools(&self) -> Result<&Tools> {
        once(&self.tools, || {
            let step = Step::begin("build the cable and the agent");
            let tools = Tools::build(&self.cache.target())?;
            step.done();
            Ok(tools)
        })
    }

    /// The program for users.
    pub fn user_tool(&self) -> Result<PathBuf> {
        let root = self.root()?;
        let step = Step::begin("build usb4-roce");
        let program = command::program(&self.cache, root, &checkout()?)?;
        step.done();
        Ok(program)
    }

    /// The verbs client programs.
    pub fn clients(&self) -> Result<&Clients> {
        let root = self.root()?;
        once(&self.clients, || {
            let step = Step::begin("build the verbs clients");
            let clients = Clients::build(&self.cache, root, &checkout()?)?;
            step.done();
            Ok(clients)
        })
    }

    /// The QEMU plugin which counts instructions.
    pub fn counter(&self) -> Result<&Path> {
        let root = self.root()?;
        let path = once(&self.counter, || {
            let step = Step::begin("build the instruction counter");
            let plugin = counter::build(&self.cache, root, &checkout()?)?;
            step.done();
            Ok(plugin)
        })?;
        Ok(path)
    }

    /// The prepared tree of `kernel`.
    pub fn tree(&self, kernel: Kernel) -> Result<&KernelTree> {
        let root = self.root()?;
        let cell = match kernel {
            Kernel::Stock => &self.stock,
            Kernel::Debug => &self.debug,
            Kernel::Native => &self.native,
        };
        once(cell, || KernelTree::provide(&self.cache, root, kernel))
    }

    /// The checkout's modules for `kernel`.
    pub fn modules(&self, kernel: Kernel) -> Result<&Modules> {
        let (root, tree) = (self.root()?, self.tree(kernel)?);
        let cell = match kernel {
            Kernel::Stock => &self.stock_modules,
            Kernel::Debug => &self.debug_modules,
            Kernel::Native => &self.native_modules,
        };
        once(cell, || {
            let step = Step::begin("build the kernel module");
            let modules = Modules::build(&self.cache, root, tree, Path::new(&self.source))?;
            step.done();
            Ok(modules)
        })
    }

    /// What hosts need to use the module: it, and what is shipped to configure it.
    pub fn module(&self, kernel: Kernel) -> Result<Vec<PathBuf>> {
        let mut files = self.modules(kernel)?.files()?;
        files.push(self.source.join("packaging/usb4-roce-setup"));
        Ok(files)
    }

    /// The same, and the verbs clients.
    pub fn subject(&self, kernel: Kernel) -> Result<Vec<PathBuf>> {
        let mut files = self.module(kernel)?;
        files.extend(self.clients()?.files());
        Ok(files)
    }

    /// The Debian root with the packages of `addition`.
    pub fn root_with(&self, addition: Addition) -> Result<Root> {
        self.root()?.with(&self.cache, addition)
    }

    /// The checkout's programs that are built with the libraries of `addition`.
    pub fn programs(&self, addition: Addition) -> Result<Vec<PathBuf>> {
        let root = self.root_with(addition)?;
        let step = Step::begin(&format!("build the programs of {addition}"));
        let files = programs::build(&self.cache, &root, addition, &checkout()?)?;
        step.done();
        Ok(files)
    }

    /// What hosts need to run public test programs: pyverbs of their release and the newest, and what runs its tests one by one.
    pub fn conformance(&self) -> Result<Vec<PathBuf>> {
        let runner = checkout()?.join("qemu-tests/conformance/each_pyverbs_test.py");
        let of_release = pyverbs::provide(&self.cache, self.root()?)?;
        let newest = newest_pyverbs::provide(&self.cache, self.mirror.as_deref())?;
        Ok(vec![of_release, newest, runner])
    }

    /// Roots of other releases, as far as the mirror has them, a directory with programs for each, and what runs them there.
    pub fn containers(&self) -> Result<Vec<PathBuf>> {
        let root = self.root()?;
        let checkout = checkout()?;
        let mut containers = Vec::new();
        for release in Release::ALL {
            match Container::provide(&self.cache, self.mirror.as_deref(), release) {
                Ok(container) => containers.push(container),
                Err(error) if release.may_be_gone() => eprintln!("lab: {error:#}"),
                Err(error) => return Err(error),
            }
        }
        let oldest = containers.first().context("there is no release")?;
        let step = Step::begin("build programs for containers");
        let client = Clients::build_program(&self.cache, root, &checkout, VERIFY, oldest)?;
        let mut files = vec![checkout.join("qemu-tests/containers/contain")];
        for container in &containers {
            let programs = container.programs(&self.cache, root, &checkout, &client)?;
            files.extend([programs, container.path.clone()]);
        }
        step.done();
        Ok(files)
    }

    /// What is installed of the checkout on a host with the stock kernel.
    pub fn package(&self) -> Result<Package> {
        let modules = self.modules(Kernel::Stock)?;
        let release = self.tree(Kernel::Stock)?.boot.release();
        Package::install(&self.cache, self.root()?, &release, modules, &self.source)
    }

    /// Packages of the checkout, with the module for `kernel`.
    pub fn debian(&self, kernel: Kernel) -> Result<Debian> {
        let root = self.root_with(Addition::Packaging)?;
        let modules = self.modules(kernel)?;
        let release = self.tree(kernel)?.boot.release();
        let step = Step::begin("make packages");
        let packages = Debian::build(&self.cache, &root, &release, modules, &self.source)?;
        step.done();
        Ok(packages)
    }

    /// The module as DKMS builds it of the checkout's package for the stock kernel, and what is shipped to configure it.
    pub fn dkms(&self) -> Result<Vec<PathBuf>> {
        let packages = self.debian(Kernel::Stock)?;
        let root = self.root_with(Addition::Packaging)?;
        let release = self.tree(Kernel::Stock)?.boot.release();
        let step = Step::begin("have DKMS build the kernel module");
        let module = dkms::build(&self.cache, &root, &release, &packages)?;
        step.done();
        Ok(vec![module, self.source.join("packaging/usb4-roce-setup")])
    }

    /// Checks the formatting and the lints of the module's sources, built for `kernel`.
    pub fn lint(&self, kernel: Kernel) -> Result<()> {
        let (root, tree) = (self.root()?, self.tree(kernel)?);
        let step = Step::begin(&format!("check the kernel module for the {kernel} kernel"));
        lint::check(&self.cache, root, tree, &self.source)?;
        step.done();
        Ok(())
    }
}
