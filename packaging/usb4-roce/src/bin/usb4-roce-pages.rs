// SPDX-License-Identifier: GPL-2.0

//! Writes the manual pages and completions of `usb4-roce` into a directory, for packages: `man/*.1`, and `completions/` for each shell.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use clap::CommandFactory;
use clap::Parser;
use clap_complete::Shell;
use usb4_roce_tool::cli::Cli;

/// Write the manual pages and completions of usb4-roce
#[derive(Parser)]
struct Arguments {
    /// Where to write them; made if it is not there
    directory: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    write_manual(&arguments.directory.join("man"))?;
    write_completions(&arguments.directory.join("completions"))
}

fn write_manual(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let whole = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(whole, directory)
        .with_context(|| format!("write pages to {}", directory.display()))
}

fn write_completions(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, &name, directory)
            .with_context(|| format!("write completions for {shell}"))?;
    }
    Ok(())
}
