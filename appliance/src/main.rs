//! The `synward` program: parses the command line, calls the library, and returns the exit code.

#![forbid(unsafe_code)]

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use synward::capture::CaptureError;
use synward::cli::{
    CaptureArgs, Check, Cli, Command, Doctor, Flows, ListAction, SecretArgs, Top as TopArgs, Tune,
    Unload,
};
use synward::config::{Config, SecretContent};
use synward::doctor;
use synward::events::command_link::RUNNER;
use synward::events::program_warnings;
use synward::lists::List;
use synward::local_checks;
use synward::observe::control_client::{self, Outcome};
use synward::observe::flow_query::FlowQuery;
use synward::observe::{drain_client, list_client};
use synward::run;
use synward::secret::{Keyring, Secret, service_line};
use synward::steering::{
    self, chain_problems, driver_warnings, own_address_warnings, stripped_tag_warnings,
};
use synward::top::{self, LiveError};
use synward::tune;

/// Exit code for wrong use.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    // No command for people: `run` starts it for itself.
    let done = match std::env::args_os().skip(1).eq([RUNNER]) {
        true => run_programs(),
        false => dispatch(&Cli::parse()),
    };
    done.unwrap_or_else(|error| {
        let text = format!("{error:#}").replace('\n', "; ");
        report(&format!("synward: {text}"));
        ExitCode::FAILURE
    })
}

/// Runs the programs of `on_event`.
fn run_programs() -> anyhow::Result<ExitCode> {
    let _guard = synward::observe::log::init_log(None)?;
    synward::events::run_event_commands(std::io::stdin())?;
    Ok(ExitCode::SUCCESS)
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Check(arguments) => check(arguments, cli.control()),
        Command::Secret(arguments) => secret(arguments),
        Command::Completions { shell } => print(&Cli::completions(*shell)),
        Command::Man { folder: None } => print(&Cli::manual().swap_remove(0).1),
        Command::Man {
            folder: Some(folder),
        } => write_manual(folder),
        Command::Run(wanted) => {
            let _guard = synward::observe::log::init_log(wanted.log)?;
            run::run(&wanted.config, cli.control.as_deref(), wanted.keep_steering)
        }
        Command::Status(output) => show(control_client::status(cli.control(), output.json)),
        Command::Top(wanted) => top(cli.control(), *wanted),
        Command::Flows(wanted) => flows(cli.control(), wanted),
        Command::Capture(wanted) => capture(cli.control(), wanted),
        Command::Doctor(arguments) => examine(arguments),
        Command::Tune(arguments) => tune(arguments),
        Command::Mode(wanted) => show(control_client::mode(
            cli.control(),
            &wanted.service,
            wanted.mode,
        )?),
        Command::Allow(wanted) => lists(cli.control(), List::Allow, &wanted.action),
        Command::Deny(wanted) => lists(cli.control(), List::Deny, &wanted.action),
        Command::Drain(wanted) => show(drain_client::drain(
            cli.control(),
            wanted.timeout,
            |began| report(&format!("synward: {began}")),
        )?),
        Command::Undrain => show(drain_client::undrain(cli.control())?),
        Command::Reload => show(control_client::reload(cli.control())?),
        Command::Unload(wanted) => unload(wanted),
    }
}

fn lists(control: &Path, list: List, action: &ListAction) -> anyhow::Result<ExitCode> {
    let json = matches!(action, ListAction::List { output, .. } if output.json);
    show(list_client::lists(control, action.request(list), json)?)
}

fn flows(control: &Path, wanted: &Flows) -> anyhow::Result<ExitCode> {
    let query = FlowQuery {
        limit: wanted.limit,
        service: wanted.service.clone(),
        client: wanted.client,
        state: wanted.state,
        from: None,
    };
    show(control_client::flows(control, query, wanted.output.json)?)
}

fn capture(control: &Path, wanted: &CaptureArgs) -> anyhow::Result<ExitCode> {
    let began = |what: &str| report(&format!("synward: {what}"));
    match wanted.capture().run(control, began) {
        Ok(summary) => {
            report(&format!("synward: {summary}"));
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ CaptureError::Terminal) => {
            report(&format!("synward: {error}"));
            Ok(ExitCode::from(WRONG_USE))
        }
        Err(CaptureError::Client(error)) => show(Outcome::unreachable(&error)),
        Err(error) => Err(error.into()),
    }
}

fn top(control: &Path, wanted: TopArgs) -> anyhow::Result<ExitCode> {
    if wanted.once {
        return show(top::once(control, wanted.interval));
    }
    match top::live(control, wanted.interval) {
        Err(error @ LiveError::NoTerminal) => {
            report(&format!("synward: {error}"));
            Ok(ExitCode::from(WRONG_USE))
        }
        ended => Ok(ended.map(|()| ExitCode::SUCCESS)?),
    }
}

fn unload(wanted: &Unload) -> anyhow::Result<ExitCode> {
    let pin = &wanted.pin;
    let removed = if wanted.incompatible {
        steering::unload_incompatible(pin)?
    } else {
        steering::unload(pin, wanted.interface.as_deref())?
    };
    let mut removed = removed.join("\n");
    if removed.is_empty() && wanted.incompatible {
        return Ok(ExitCode::SUCCESS);
    }
    if removed.is_empty() {
        removed = steering::nothing_is_pinned(pin, wanted.interface.as_deref());
    }
    print(format!("{removed}\n").as_bytes())
}

fn check(arguments: &Check, control: &Path) -> anyhow::Result<ExitCode> {
    if arguments.example {
        return print(Config::example().as_bytes());
    }
    let file = &match &arguments.config {
        Some(file) => file.clone(),
        None => control_client::query_status(control)?.config_file,
    };
    match Config::load(file) {
        Err(problems) => {
            print(format!("{problems}\n").as_bytes())?;
            Ok(ExitCode::FAILURE)
        }
        Ok(config) if arguments.against_running => show(control_client::compare(control, &config)?),
        Ok(config) => {
            let problems = chain_problems(&config);
            if !problems.is_empty() {
                let file = file.display();
                for (line, what) in problems {
                    print(format!("{file}:{line}: {what}\n").as_bytes())?;
                }
                return Ok(ExitCode::FAILURE);
            }
            config
                .warnings
                .iter()
                .for_each(|warning| report(&warning.to_string()));
            let on_this_machine = [
                local_checks::warnings(&config),
                own_address_warnings(&config),
                stripped_tag_warnings(&config),
                driver_warnings(&config),
                program_warnings(&config),
            ];
            for (line, what) in on_this_machine.into_iter().flatten() {
                report(&format!(
                    "{}:{line}: warning: on this machine: {what}",
                    file.display()
                ));
            }
            print(format!("{config}\n").as_bytes())
        }
    }
}

/// `synward doctor`.
fn examine(arguments: &Doctor) -> anyhow::Result<ExitCode> {
    let config = match arguments
        .config
        .as_deref()
        .map(Config::load_without_secret)
        .transpose()
    {
        Ok(config) => config,
        Err(problems) => {
            report(&problems.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    let findings = doctor::examine(config.as_ref());
    let text = match arguments.output.json {
        true => doctor::json(&findings)?,
        false => doctor::text(&findings),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::from(doctor::exit_code(&findings)))
}

fn tune(arguments: &Tune) -> anyhow::Result<ExitCode> {
    let exit_code = |succeeded| match succeeded {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    let (state, mut stdout) = (&arguments.state, std::io::stdout().lock());
    // An undo needs no configuration, which may be broken by now.
    let file = match &arguments.config {
        Some(file) if !arguments.undo => file,
        _ => return Ok(exit_code(tune::undo_all(state, &mut stdout)?)),
    };
    match Config::load_without_secret(file) {
        Ok(config) => match tune::tune(&config, arguments.dry_run, state, &mut stdout) {
            // Nothing is left undone.
            Err(error) if arguments.dry_run && is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
            done => Ok(exit_code(done?)),
        },
        Err(problems) => {
            report(&problems.to_string());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn secret(arguments: &SecretArgs) -> anyhow::Result<ExitCode> {
    if let Some(file) = &arguments.config {
        return create_secret(file);
    }
    let Some(service) = &arguments.service else {
        return print(format!("{}\n", Secret::generate()?.to_hex()).as_bytes());
    };
    let keys = Keyring::read(&arguments.secret)?.service_keys(service);
    anyhow::ensure!(
        !keys.is_empty(),
        "{} holds neither a secret nor a key of service \"{service}\"; use the file that has the secret",
        arguments.secret.display()
    );
    let lines: String = keys
        .iter()
        .map(|key| service_line(service, key) + "\n")
        .collect();
    print(lines.as_bytes())
}

/// `synward secret --config FILE`: what the first start does with the secret file, and nothing else.
fn create_secret(file: &Path) -> anyhow::Result<ExitCode> {
    let done = Config::load(file).and_then(|config| {
        let path = config.cookie.secret.display();
        match config.cookie.content {
            SecretContent::Absent => {
                config.cookie.keyring()?;
                Ok(format!("{path} created\n"))
            }
            SecretContent::Keys(_) | SecretContent::Wiped(_) => Ok(format!("{path} exists\n")),
        }
    });
    match done {
        Ok(text) => print(text.as_bytes()),
        Err(problems) => {
            report(&problems.to_string());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn write_manual(folder: &Path) -> anyhow::Result<ExitCode> {
    for (name, page) in Cli::manual() {
        let path = folder.join(name);
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the outcome of a command.
fn show(outcome: Outcome) -> anyhow::Result<ExitCode> {
    print(outcome.text.as_bytes())?;
    if !outcome.note.is_empty() {
        report(outcome.note.trim_end());
    }
    Ok(ExitCode::from(outcome.code))
}

/// Prints a line to stderr. If that is closed or full, the line is lost.
fn report(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Prints to stdout. A closed pipe is no error.
fn print(bytes: &[u8]) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
