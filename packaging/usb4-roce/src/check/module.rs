// SPDX-License-Identifier: GPL-2.0

//! Is our module loaded, and if not, why? Is it this program's version? Does another module take our rings?

use super::finding::Finding;
use super::finding::Remedy;
use crate::host::kernel::SecureBoot;
use crate::host::module::Presence;
use crate::host::module::NETWORK;
use crate::host::module::USB4_ROCE;
use crate::host::os::Software;
use crate::host::Host;

const MODULE: &str = "module";
const VERSION: &str = "version";
const NETWORK_DRIVER: &str = "thunderbolt-net";

/// What modprobe says when the kernel does not trust a module's signature.
const REJECTED: &str = "Key was rejected by service";

/// What was found.
pub fn findings(host: &Host) -> Vec<Finding> {
    vec![module(host), version(host), network_driver(host)]
}

fn module(host: &Host) -> Finding {
    match host.modules.presence(USB4_ROCE) {
        Presence::Present => Finding::ok(MODULE, format!("{USB4_ROCE} is loaded")),
        Presence::NotLoaded => not_loaded(host),
        Presence::NotBuilt => not_built(host),
    }
}

/// What the kernel says of modules that it does not load. It does not always name the module.
enum Refusal {
    Signature,
    OtherKernel,
    Symbols,
}

fn refusal(host: &Host) -> Option<Refusal> {
    let line = host.log.last(|text| classify(text).is_some())?;
    classify(&line.text)
}

fn classify(text: &str) -> Option<Refusal> {
    let is_ours = text.starts_with(USB4_ROCE);
    if text.starts_with("Loading of ") && text.ends_with(" is rejected")
        || text.starts_with("Lockdown: ") && text.contains("unsigned module loading")
    {
        Some(Refusal::Signature)
    } else if is_ours
        && (text.contains("version magic") || text.contains("disagrees about version"))
    {
        Some(Refusal::OtherKernel)
    } else if is_ours && text.contains("Unknown symbol") {
        Some(Refusal::Symbols)
    } else {
        None
    }
}

fn not_loaded(host: &Host) -> Finding {
    let load = format!("sudo modprobe {USB4_ROCE}");
    match refusal(host) {
        Some(Refusal::Signature) => Finding::fault(
            MODULE,
            format!(
                "the kernel has refused a module whose signature it does not trust: \"{REJECTED}\""
            ),
            enrol_key(host).run(load),
        ),
        Some(Refusal::OtherKernel) => Finding::fault(
            MODULE,
            format!(
                "{USB4_ROCE} was built for another kernel than {}",
                host.kernel.release
            ),
            Remedy::new("Build it for this one.").run(dkms_install(host)),
        ),
        Some(Refusal::Symbols) => Finding::fault(
            MODULE,
            format!("{USB4_ROCE} needs symbols that this kernel lacks"),
            Remedy::new("See which, and build the module for this kernel.")
                .run(format!("sudo dmesg | grep '{USB4_ROCE}: Unknown symbol'"))
                .run(dkms_install(host)),
        ),
        None => {
            let mut says = format!("{USB4_ROCE} is installed for this kernel, but not loaded");
            let mut text = "Load it.".to_owned();
            if host.kernel.secure_boot == Some(SecureBoot::On) {
                says.push_str("; Secure Boot is on");
                text.push_str(&format!(
                    " If that says \"{REJECTED}\", Secure Boot does not know the key that signed it: import the key, reboot, \
                     choose \"Enroll MOK\" in the blue menu."
                ));
            }
            let mut remedy = Remedy::new(text).run(load);
            if host.kernel.secure_boot == Some(SecureBoot::On) {
                remedy = remedy.run(import_key(host));
            }
            Finding::fault(MODULE, says, remedy)
        }
    }
}

/// Has the firmware trust the key that DKMS signs with.
fn import_key(host: &Host) -> String {
    format!(
        "sudo mokutil --import {}",
        host.installation.signing_certificate
    )
}

fn enrol_key(host: &Host) -> Remedy {
    if host.modules.dkms.is_empty() {
        return Remedy::new(
            "A module that comes ready-made in a package is not signed by a key of this machine. Install the package with the sources, \
             usb4-roce-dkms, which signs what it builds, and import its key, reboot, and choose \"Enroll MOK\" in the blue menu.",
        )
        .run(import_key(host));
    }
    Remedy::new(
        "Secure Boot does not know the key that signed the module. Import DKMS's key with a password of your choice, reboot, \
         choose \"Enroll MOK\" in the blue menu and give that password; or switch Secure Boot off in the firmware's setup.",
    )
    .run(import_key(host))
}

fn dkms_install(host: &Host) -> String {
    let version = host
        .modules
        .dkms
        .last()
        .map_or(env!("CARGO_PKG_VERSION"), String::as_str);
    format!(
        "sudo dkms install --force {USB4_ROCE}/{version} -k {}",
        host.kernel.release
    )
}

fn not_built(host: &Host) -> Finding {
    let release = &host.kernel.release;
    if host.modules.dkms.is_empty() {
        return Finding::fault(
            MODULE,
            format!("there is no {USB4_ROCE} for Linux {release}"),
            Remedy::new(
                "Install the module's package, which has it for this kernel or builds it. From its sources: make && sudo make install.",
            ),
        );
    }
    Finding::fault(
        MODULE,
        format!("{USB4_ROCE} was not built for Linux {release}"),
        Remedy::new("Install the headers of this kernel, and have DKMS build the module; its log says what was missing.")
            .run_if_known(host.os.install(Software::Headers))
            .run(dkms_install(host)),
    )
}

fn version(host: &Host) -> Finding {
    const THIS: &str = env!("CARGO_PKG_VERSION");
    let of_device = host
        .device
        .as_ref()
        .and_then(|device| device.version.as_ref());
    match host.modules.version.as_ref().or(of_device) {
        Some(version) if version == THIS => Finding::ok(VERSION, format!("module and tools are {THIS}")),
        Some(version) => Finding::warning(
            VERSION,
            format!("the loaded module is {version}, this program {THIS}"),
            Remedy::new("Install both from the same package, stop what uses the device, and load the module again, or reboot.")
                .run(format!("sudo rmmod {USB4_ROCE} && sudo modprobe {USB4_ROCE}")),
        ),
        None if host.modules.is_present(USB4_ROCE) => {
            Finding::unknown(VERSION, "the loaded module does not say its version")
        }
        None => Finding::skipped(VERSION, "no module is loaded"),
    }
}

fn network_driver(host: &Host) -> Finding {
    if !host.modules.is_present(NETWORK) {
        return Finding::ok(
            NETWORK_DRIVER,
            format!("{NETWORK} takes no ring: it is not loaded"),
        );
    }
    let mut interfaces = host.interfaces.iter();
    let up = interfaces.find(|interface| {
        // Its driver is called with a hyphen.
        interface.up && interface.driver.as_deref() == Some("thunderbolt-net")
    });
    let says = match up {
        Some(interface) => format!("{NETWORK} takes a ring of a controller for {}", interface.name),
        None => format!("{NETWORK} is loaded, and takes a ring of a controller as soon as its interface is set up"),
    };
    Finding::warning(
        NETWORK_DRIVER,
        says,
        Remedy::new(
            "Some controllers have two rings only. IP goes over usb4r0 as well: unload it, and keep it away. (NetworkManager's \
             own udev rule loads it for each cable.)",
        )
        .run(format!("sudo rmmod {NETWORK}"))
        .run(format!("echo 'blacklist {NETWORK}' | sudo tee /etc/modprobe.d/no-thunderbolt-net.conf")),
    )
}
