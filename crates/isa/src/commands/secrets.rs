//! `isa secrets generate|check`

use std::process::ExitCode;

use comfy_table::Color;
use isa_config::Config;
use isa_deploy::{
    Overlay, render,
    secrets::{self, Outcome, Remote},
};
use serde::Serialize;

use super::{kubectl, overlay};
use crate::{
    cli::{Format, Secrets},
    output::{self, paint, say},
};

pub(super) async fn run(config: &Config, command: &Secrets) -> anyhow::Result<ExitCode> {
    match command {
        Secrets::Generate {
            overlay: name,
            rotate,
            output,
        } => generate(config, &overlay(name)?, rotate.as_deref(), output.output).await,
        Secrets::Check {
            overlay: name,
            output,
        } => check(config, &overlay(name)?, output.output).await,
    }
}

async fn generate(
    config: &Config,
    overlay: &Overlay,
    rotate: Option<&str>,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let made = secrets::generate(overlay, rotate)?;
    if format == Format::Json {
        output::print_json(&made)?;
        return Ok(ExitCode::SUCCESS);
    }
    if made.is_empty() {
        external(config, overlay, &[], format).await?;
        return Ok(ExitCode::SUCCESS);
    }
    for one in &made {
        let (word, color, more) = match &one.outcome {
            Outcome::Created => ("created  ", Color::Green, String::new()),
            Outcome::Completed { keys } => ("completed", Color::Green, format!(": {}", keys.join(", "))),
            Outcome::Kept => ("kept     ", Color::DarkGrey, String::new()),
            Outcome::Rotated { .. } => ("rotated  ", Color::Yellow, String::new()),
        };
        say!(
            "{} {:<10} {}{more}",
            paint(color, word),
            one.secret,
            one.file.display()
        );
    }
    for one in &made {
        if let Outcome::Rotated { then } = one.outcome {
            if let Some(then) = then {
                say!("\n{}: {then}", one.secret);
            }
            say!("`isa deploy {}` restarts the pods that use it", overlay.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was found, for programs.
#[derive(Serialize)]
struct Checked<'a> {
    ok: bool,
    problems: &'a [secrets::Problem],
    /// Values that External Secrets fetches, where the overlay has no files.
    external: &'a [Remote],
}

async fn check(config: &Config, overlay: &Overlay, format: Format) -> anyhow::Result<ExitCode> {
    let problems = secrets::check(overlay)?;
    let ok = problems.is_empty();
    if !secrets::from_files(overlay)? {
        external(config, overlay, &problems, format).await?;
    } else if format == Format::Json {
        output::print_json(&Checked {
            ok,
            problems: &problems,
            external: &[],
        })?;
    }
    if format == Format::Table {
        for problem in &problems {
            say!(
                "{} {}: {}",
                paint(Color::Red, "FAIL"),
                problem.file.display(),
                problem.what
            );
            say!("     {}", problem.how);
        }
        if ok {
            say!(
                "{} the secrets of {} are as they should be",
                paint(Color::Green, "ok"),
                overlay.name
            );
        }
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An overlay without files: says what External Secrets fetches for it, and from where.
async fn external(
    config: &Config,
    overlay: &Overlay,
    problems: &[secrets::Problem],
    format: Format,
) -> anyhow::Result<()> {
    let manifests = render(&kubectl(config)?, overlay).await?;
    let remotes = secrets::remotes(&manifests.objects);
    if format == Format::Json {
        return output::print_json(&Checked {
            ok: problems.is_empty(),
            problems,
            external: &remotes,
        });
    }
    if remotes.is_empty() {
        say!("overlay {} has no secrets", overlay.name);
        return Ok(());
    }
    say!(
        "overlay {} takes its secrets from outside, by External Secrets; these must exist there:\n",
        overlay.name
    );
    let mut table = output::table(&["SECRET", "KEY", "STORE", "REMOTE KEY", "PROPERTY"]);
    for remote in &remotes {
        let or = |text: &Option<String>, other: &str| text.clone().unwrap_or_else(|| other.to_owned());
        table.add_row([
            remote.secret.clone(),
            or(&remote.key, "(all)"),
            remote.store.clone(),
            remote.remote.clone(),
            or(&remote.property, "-"),
        ]);
    }
    output::print(table);
    Ok(())
}
