//! The `chrysalis` program: parse the command line, run, map to an exit code.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use chrysalis::cli::{Cli, Command, Exit, echo, send, serve};
use chrysalis::config::Config;
use clap::Parser;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "chrysalis: {error:#}");
            Exit::because(&error).into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let load = || Config::load(cli.config.as_deref());
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let loaded = load()?;
            let runtime = runtime()?;
            let exit = runtime.block_on(serve::run(loaded));
            // What still runs on a blocking thread has been waited for, or the grace period is over.
            runtime.shutdown_timeout(Duration::from_secs(1));
            Ok(exit?.into())
        }
        Command::Send(args) => runtime()?.block_on(send::run(args)),
        Command::Echo(args) => {
            let target = args.target(load)?;
            runtime()?.block_on(echo::run_peer(&target.peer, &target.calling, args.timeout))
        }
        Command::Queue(args) => Ok(args.run(&load()?.config, &mut std::io::stdout())?.into()),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
