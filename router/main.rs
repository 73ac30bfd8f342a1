//! The `chrysalis` program: parse the command line, run, map to an exit code.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use chrysalis::cli::{Cli, Command, Exit, echo, send, serve};
use chrysalis::config::{Config, Loader};
use clap::Parser;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "chrysalis: {}", once(&error));
            Exit::because(&error).into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let load_to_ask = || Config::load_to_ask(cli.config.as_deref());
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let loader = Loader::new(cli.config.as_deref());
            let runtime = runtime()?;
            let exit = runtime.block_on(serve::run(loader));
            // What still runs on a blocking thread has been waited for, or the grace period is over.
            runtime.shutdown_timeout(Duration::from_secs(1));
            Ok(exit?.into())
        }
        Command::Send(args) => runtime()?.block_on(send::run(args)),
        Command::Echo(args) => {
            let target = args.target(load_to_ask)?;
            runtime()?.block_on(echo::run_peer(&target.peer, &target.calling, args.timeout))
        }
        Command::Reload(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Pause(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Resume(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Drain(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Ledger(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Queue(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
    }
}

/// An error with its causes, each said once: many repeat their cause in their own words.
fn once(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !said.contains(&cause) {
            let between = if said.is_empty() { "" } else { ": " };
            said = format!("{said}{between}{cause}");
        }
    }
    said
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
