// SPDX-License-Identifier: GPL-2.0

//! What DKMS runs: a kernel that something is missing for is passed over, and what the machine has it build by reaches `make`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

/// The status that DKMS takes for "not for this kernel".
const PASSED_OVER: i32 = 77;

/// What built the kernel.
const RUSTC: &str = "rustc 1.85.1 (4eb161250 2025-03-15)";

/// The build directory of a kernel with all that it takes, and programs, in a directory of that `name`.
fn machine(name: &str) -> PathBuf {
    let machine = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dkms-{name}"));
    let _ = fs::remove_dir_all(&machine);
    let options = [
        "RUST",
        "USB4_STREAM",
        "CONFIGFS_FS",
        "INFINIBAND",
        "INFINIBAND_USER_ACCESS",
        "XXHASH",
        "CRC32",
    ];
    let mut config =
        format!("CONFIG_CC_VERSION_TEXT=cc (Debian) 14\nCONFIG_RUSTC_VERSION_TEXT={RUSTC}\n");
    for option in options {
        config.push_str(&format!("CONFIG_{option}=y\n"));
    }
    let write = |path: &str, content: &str| {
        let path = machine.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("1.2.3/build/include/config/auto.conf", &config);
    for crate_name in ["core", "kernel", "pin_init"] {
        write(&format!("1.2.3/build/rust/lib{crate_name}.rmeta"), "");
    }
    write("bin/make", "#!/bin/sh\necho \"make $*\"\n");
    let says_version = format!("#!/bin/sh\necho '{RUSTC}'\n");
    for (program, body) in [
        ("rustc", says_version.as_str()),
        ("rustc-1.85", &says_version),
        ("bindgen", "#!/bin/sh\n"),
        ("cc", "#!/bin/sh\n"),
    ] {
        write(&format!("bin/{program}"), body);
    }
    machine
}

/// Runs `script` for the kernel of `machine`, with further `arguments` and the variable `RUSTC` if it is given.
fn run(machine: &Path, script: &str, arguments: &[&str], rustc: Option<&str>) -> Output {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new(checkout.join("packaging").join(script));
    command
        .arg("1.2.3")
        .arg(machine.join("1.2.3/build"))
        .args(arguments)
        .env("PATH", format!("{}/bin:{path}", machine.display()))
        .env_remove("CC")
        .env_remove("BINDGEN");
    match rustc {
        Some(rustc) => command.env("RUSTC", rustc),
        None => command.env_remove("RUSTC"),
    };
    command.output().unwrap()
}

#[test]
fn a_kernel_that_something_is_missing_for_is_passed_over() {
    let machine = machine("lacking");
    fs::remove_file(machine.join("1.2.3/build/rust/libpin_init.rmeta")).unwrap();
    for script in ["dkms-prepare", "dkms-build"] {
        let output = run(&machine, script, &[], None);
        assert_eq!(output.status.code(), Some(PASSED_OVER), "{output:?}");
        let says = String::from_utf8(output.stderr).unwrap();
        assert!(says.contains("no Rust metadata"), "{says}");
        assert!(says.ends_with("sudo dkms autoinstall -k 1.2.3\n"), "{says}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_kernel_that_has_everything_is_built_in_its_own_directory() {
    let machine = machine("whole");
    let output = run(&machine, "dkms-prepare", &[], None);
    let tree = format!("{}\n", machine.join("1.2.3/build").display());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), tree);
}

#[test]
fn make_gets_the_compilers() {
    let machine = machine("compilers");
    let made = |arguments: &[&str], rustc| {
        let output = run(&machine, "dkms-build", arguments, rustc);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = made(&[], None);
    assert!(
        plain.contains(" CC=cc ") && !plain.contains("RUSTC="),
        "{plain}"
    );
    let chosen = made(&["LLVM=1"], Some("rustc-1.85"));
    assert!(chosen.contains(" LLVM=1 RUSTC=rustc-1.85 "), "{chosen}");
    assert!(!chosen.contains(" CC="), "{chosen}");
}
