// SPDX-License-Identifier: GPL-2.0

//! The host as its files show it: everything that is read, nothing that is judged.

use std::collections::BTreeSet;

use crate::root::Root;
use address::Address;
use bus::Bus;
use controller::Controller;
use device::Device;
use installation::Installation;
use interface::Interface;
use kernel::Kernel;
use kernel_log::KernelLog;
use module::Modules;
use os::Os;
use provider::Provider;
use rail::Rail;
use user::User;

pub mod address;
pub mod bus;
pub mod cable;
pub mod controller;
pub mod device;
pub mod installation;
pub mod interface;
pub mod kernel;
pub mod kernel_log;
pub mod link_rate;
pub mod module;
pub mod os;
pub mod processor;
pub mod provider;
pub mod rail;
pub mod user;

/// The network interface's name.
pub const INTERFACE: &str = "usb4r0";

/// What a host is read from: its files, and what no file says.
#[derive(Clone, Debug)]
pub struct Source {
    /// The files.
    pub root: Root,
    /// The addresses of all interfaces: files say them in part only.
    pub addresses: Vec<Address>,
}

impl Source {
    /// This host.
    pub fn this() -> Self {
        Self {
            root: Root::host(),
            addresses: address::of_this_host(),
        }
    }
}

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its distribution.
    pub os: Os,
    /// Its kernel.
    pub kernel: Kernel,
    /// The kernel's modules.
    pub modules: Modules,
    /// Where things are that commands name.
    pub installation: Installation,
    /// What the kernel has said.
    pub log: KernelLog,
    /// USB4 controllers.
    pub controllers: Vec<Controller>,
    /// What is at the controllers' ports.
    pub bus: Bus,
    /// Whether configfs is where it belongs.
    pub configfs: Configfs,
    /// Rails.
    pub rails: Vec<Rail>,
    /// The verbs device.
    pub device: Option<Device>,
    /// All network interfaces.
    pub interfaces: Vec<Interface>,
    /// The library by which programs drive the device.
    pub provider: Provider,
    /// Who governs the processors' clocks.
    pub governors: BTreeSet<String>,
    /// Who asks.
    pub user: User,
}

/// Whether configfs is where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configfs {
    /// It is.
    Mounted,
    /// It is not.
    NotMounted,
}

impl Host {
    /// Reads everything.
    pub fn read(source: &Source) -> Self {
        let root = &source.root;
        let bus = Bus::read(root);
        Self {
            name: root.value("/proc/sys/kernel/hostname").unwrap_or_default(),
            os: Os::read(root),
            kernel: Kernel::read(root),
            modules: Modules::read(root),
            installation: Installation::find(root),
            log: KernelLog::read(root),
            controllers: Controller::all(root),
            configfs: Configfs::read(root),
            rails: Rail::all(root),
            device: Device::find(root),
            interfaces: Interface::all(source),
            provider: Provider::find(root),
            governors: processor::governors(root),
            user: User::read(root),
            bus,
        }
    }

    /// The network interface that belongs to the verbs device.
    pub fn interface(&self) -> Option<&Interface> {
        let name = self.device.as_ref().and_then(Device::interface);
        let name = name.unwrap_or(INTERFACE);
        self.interfaces
            .iter()
            .find(|interface| interface.name == name)
    }

    /// The rails over the stream service `name`.
    pub fn rails_of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Rail> {
        self.rails
            .iter()
            .filter(move |rail| rail.service_name() == service)
    }
}

impl Configfs {
    /// Where it belongs.
    pub const PLACE: &'static str = "/sys/kernel/config";

    fn read(root: &Root) -> Self {
        let mounts = root.value("/proc/mounts").unwrap_or_default();
        let is_it = |line: &str| {
            let mut fields = line.split(' ').skip(1);
            (fields.next(), fields.next()) == (Some(Self::PLACE), Some("configfs"))
        };
        match mounts.lines().any(is_it) {
            true => Self::Mounted,
            false => Self::NotMounted,
        }
    }
}
