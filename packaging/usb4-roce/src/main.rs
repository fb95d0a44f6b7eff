// SPDX-License-Identifier: GPL-2.0

//! The program `usb4-roce`.

use std::io;
use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;
use usb4_roce_tool::cli::Cli;
use usb4_roce_tool::exit::Exit;
use usb4_roce_tool::host::Source;
use usb4_roce_tool::run;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = anstream::stdout().lock();
    match run(&cli, &Source::this(), &mut out) {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("usb4-roce: {error:#}");
            Exit::CannotTell.into()
        }
    }
}

/// Who reads the output may have seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
