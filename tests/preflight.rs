// SPDX-License-Identifier: GPL-2.0

//! The check before the module is built: each piece that may be missing is named, with the command that gets it on each distribution.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// What built the kernel.
const RUSTC: &str = "rustc 1.85.1 (4eb161250 2025-03-15) (built from a source tarball)";

/// A kernel that has everything.
const CONFIG: &str = "CONFIG_RUST=y\nCONFIG_USB4_STREAM=m\nCONFIG_CONFIGFS_FS=m\nCONFIG_INFINIBAND=m\n\
    CONFIG_INFINIBAND_USER_ACCESS=m\nCONFIG_XXHASH=m\nCONFIG_CRC32=y\nCONFIG_CC_VERSION_TEXT=x86_64-linux-gnu-gcc-14 (Debian) 14.2.0\n";

/// Programs of which nothing is wrong.
const PROGRAMS: [(&str, &str); 4] = [
    ("rustc", "echo \"$RUSTC_SAYS\""),
    ("bindgen", "exit 0"),
    ("x86_64-linux-gnu-gcc-14", ""),
    ("make", ""),
];

/// Programs of the machine that the check itself uses.
const BORROWED: [&str; 9] = [
    "sh", "sed", "cut", "basename", "dirname", "mktemp", "rm", "uname", "cat",
];

/// A machine that has all that it takes, until something is taken away.
struct Machine {
    directory: PathBuf,
    rustc: String,
}

impl Machine {
    /// A machine in a directory of that `name`, with the distribution `id`.
    fn new(name: &str, id: &str) -> Self {
        let directory =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("preflight-{name}-{id}"));
        let _ = fs::remove_dir_all(&directory);
        let machine = Self {
            directory,
            rustc: RUSTC.to_owned(),
        };
        let config = format!("{CONFIG}CONFIG_RUSTC_VERSION_TEXT=\"{RUSTC}\"\n");
        machine.write("1.2.3/build/include/config/auto.conf", &config);
        for crate_name in ["core", "kernel", "pin_init"] {
            machine.write(&format!("1.2.3/build/rust/lib{crate_name}.rmeta"), "");
        }
        machine.write(
            "os-release",
            &format!("NAME=x\nID={id}\nVERSION_CODENAME=forky\nVERSION_ID=\"26.04\"\n"),
        );
        for (program, body) in PROGRAMS {
            machine.write(&format!("bin/{program}"), &format!("#!/bin/sh\n{body}\n"));
            let path = machine.directory.join("bin").join(program);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for program in BORROWED {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|directory| directory.join(program))
                .find(|path| path.exists())
                .unwrap();
            std::os::unix::fs::symlink(found, machine.directory.join("bin").join(program)).unwrap();
        }
        machine
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.directory.join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// Whether the check is content, and what it says.
    fn check(&self) -> (bool, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/preflight");
        let output = Command::new("/bin/sh")
            .arg(script)
            .arg(self.directory.join("1.2.3/build"))
            .env_clear()
            .env("PATH", self.directory.join("bin"))
            .env("RELEASE_FILE", self.directory.join("os-release"))
            .env("RUSTC_SAYS", &self.rustc)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    }

    /// Has the check name one piece, and the command that gets it on a line of its own, and nothing else.
    fn lacks(&self, piece: &str, command: &str) {
        let (content, text) = self.check();
        assert!(!content, "it is content without {piece}");
        let lines: Vec<&str> = text.lines().collect();
        let [says, remedy] = lines[..] else {
            panic!("{text}");
        };
        assert!(says.contains(piece), "{piece}: {says}");
        assert_eq!(remedy.trim_start(), command);
    }
}

#[test]
fn a_machine_that_has_everything_is_let_pass() {
    assert_eq!(Machine::new("all", "debian").check(), (true, String::new()));
}

#[test]
fn headers() {
    for (id, command) in [
        ("debian", "sudo apt install linux-headers-1.2.3"),
        ("ubuntu", "sudo apt install linux-headers-1.2.3"),
        ("fedora", "sudo dnf install kernel-devel-1.2.3"),
        ("arch", "sudo pacman -S --needed linux-headers"),
        (
            "void",
            "install the packages that are called, on Debian: linux-headers-1.2.3; on Fedora: kernel-devel-1.2.3; on Arch: linux-headers",
        ),
    ] {
        let machine = Machine::new("headers", id);
        machine.remove("1.2.3/build");
        machine.lacks("there are no kernel headers in", command);
    }
}

#[test]
fn options_of_the_kernel() {
    for (option, id, command) in [
        (
            "USB4_STREAM",
            "debian",
            "sudo apt install -t forky-backports linux-image-amd64 linux-headers-amd64 linux-source",
        ),
        ("INFINIBAND", "ubuntu", "sudo apt install linux-generic-hwe-26.04"),
        ("CRC32", "arch", "sudo pacman -Syu linux linux-headers"),
    ] {
        let machine = Machine::new(option, id);
        let config = CONFIG.replace(&format!("CONFIG_{option}="), "# CONFIG_X=");
        machine.write("1.2.3/build/include/config/auto.conf", &config);
        machine.lacks(&format!("Linux 1.2.3 has no CONFIG_{option} "), command);
    }
}

#[test]
fn rust_metadata() {
    let checkout = env!("CARGO_MANIFEST_DIR");
    let by_hand = format!("sudo {checkout}/packaging/rust-metadata 1.2.3");
    for (id, command) in [
        ("debian", by_hand.as_str()),
        ("ubuntu", "sudo apt install linux-lib-rust-1.2.3"),
        ("fedora", "sudo dnf reinstall kernel-devel-1.2.3"),
        ("arch", "sudo pacman -S linux-headers"),
    ] {
        let machine = Machine::new("metadata", id);
        machine.remove("1.2.3/build/rust");
        machine.lacks("no Rust metadata", command);
    }
}

#[test]
fn the_kernel_in_question_is_another_than_the_one_that_runs() {
    let machine = Machine::new("release", "ubuntu");
    machine.remove("1.2.3/build/rust");
    machine.write(
        "1.2.3/build/include/config/kernel.release",
        "4.5.6-generic\n",
    );
    machine.lacks(
        "no Rust metadata",
        "sudo apt install linux-lib-rust-4.5.6-generic",
    );
}

#[test]
fn the_compiler_is_exactly_the_one_of_the_kernel() {
    for (id, command) in [
        ("debian", "sudo apt install rustc"),
        ("ubuntu", "sudo apt install rustc-1.85"),
        ("fedora", "sudo dnf install rust"),
        ("arch", "sudo pacman -S --needed rust"),
    ] {
        let mut machine = Machine::new("rustc", id);
        machine.rustc = RUSTC.replace("(built from a source tarball)", "");
        machine.lacks("they have to be the same (the distribution's", command);
        machine.remove("bin/rustc");
        machine.lacks("there is no rustc (the distribution's", command);
    }
}

#[test]
fn tools() {
    for (program, command) in [
        ("bindgen", "sudo dnf install bindgen-cli"),
        ("make", "sudo dnf install make"),
        ("x86_64-linux-gnu-gcc-14", "sudo dnf install gcc-14"),
    ] {
        let machine = Machine::new(program, "fedora");
        machine.remove(&format!("bin/{program}"));
        machine.lacks(&format!("there is no {program}"), command);
    }
}

#[test]
fn clang_is_called_by_its_own_name() {
    let machine = Machine::new("distributions-clang", "ubuntu");
    let config = CONFIG.replace(
        "CONFIG_CC_VERSION_TEXT=x86_64-linux-gnu-gcc-14 (Debian) 14.2.0",
        "CONFIG_CC_IS_CLANG=y\nCONFIG_CC_VERSION_TEXT=Ubuntu clang version 20.1.2",
    );
    machine.write("1.2.3/build/include/config/auto.conf", &config);
    machine.lacks("there is no clang", "sudo apt install clang");
}

#[test]
fn bindgen_without_clang() {
    let machine = Machine::new("clang", "arch");
    machine.write("bin/bindgen", "#!/bin/sh\nexit 1\n");
    machine.lacks("finds no clang", "sudo pacman -S --needed clang");
}

#[test]
fn relatives_of_a_distribution_are_known() {
    let machine = Machine::new("relative", "pop");
    machine.write("os-release", "ID=pop\nID_LIKE=\"ubuntu debian\"\n");
    machine.remove("1.2.3/build/rust");
    machine.lacks("no Rust metadata", "sudo apt install linux-lib-rust-1.2.3");
}
