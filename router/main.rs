//! The `chrysalis` program: parse the command line, run, map to an exit code.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use chrysalis::cli::{Cli, Command, Exit, decode_worker, once, send, serve};
use chrysalis::config::{Loader, Override, Sources};

fn main() -> ExitCode {
    chrysalis::tls::install();
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match run(cli) {
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
    let mut overrides = Override::from_environment(std::env::vars_os());
    overrides.extend(cli.set);
    let sources = Sources { file: cli.config, overrides };
    let load_to_ask = || sources.load_to_ask();
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let loader = Loader::new(sources);
            let runtime = runtime()?;
            let exit = runtime.block_on(serve::run(loader));
            // What still runs on a blocking thread has been waited for, or the grace period is over.
            runtime.shutdown_timeout(Duration::from_secs(1));
            Ok(exit?.into())
        }
        Command::Send(args) => runtime()?.block_on(send::run(args)),
        Command::Testimages(args) => Ok(args.run(&mut std::io::stdout())?.into()),
        Command::Check(args) => {
            let runtime = runtime()?;
            let exit = runtime.block_on(args.run(&sources, &mut std::io::stdout()));
            runtime.shutdown_background();
            Ok(exit?.into())
        }
        Command::Echo(args) => {
            let targets = args.targets(load_to_ask)?;
            let runtime = runtime()?;
            let exit = runtime.block_on(args.run(targets, &mut std::io::stdout()));
            // A share that does not answer keeps its thread; nobody waits for it.
            runtime.shutdown_background();
            Ok(exit?.into())
        }
        Command::Status(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Reload(args) => Ok(args.run(&sources, &mut std::io::stdout())?.into()),
        Command::Pause(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Resume(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Drain(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Route(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Inspect(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Size(args) => Ok(args.run(load_to_ask, &mut std::io::stdout())?.into()),
        Command::Transcode(args) => Ok(args.run(load_to_ask, &mut std::io::stdout())?.into()),
        Command::Ledger(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::Cert(args) => {
            let runtime = runtime()?;
            let exit = runtime.block_on(args.run(&mut std::io::stdout()));
            runtime.shutdown_background();
            Ok(exit?.into())
        }
        Command::Load(args) => {
            let runtime = runtime()?;
            let exit = runtime.block_on(args.run(&mut std::io::stdout()));
            runtime.shutdown_background();
            Ok(exit?.into())
        }
        Command::Site(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
        Command::DecodeWorker => {
            decode_worker::run()?;
            Ok(Exit::Done.into())
        }
        Command::Queue(args) => Ok(args.run(&load_to_ask()?.config, &mut std::io::stdout())?.into()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
