//! `isa images list|build|load`

use std::{collections::BTreeSet, path::Path, process::ExitCode};

use anyhow::bail;
use comfy_table::{Cell, Color};
use isa_config::Config;
use isa_platform::{
    images::{self, Builder, Definition, Error, Loader, Status, definitions, named},
    install::Event,
};
use serde::Serialize;

use super::{INTERRUPTED, bars::Bars};
use crate::{
    cli::{ContainerTool, Format, Images, LoadInto},
    output::{self, megabytes, paint_stderr, tell},
};

pub(super) async fn run(config: &Config, command: &Images) -> anyhow::Result<ExitCode> {
    match command {
        Images::List { output } => {
            let all: Vec<_> = definitions().iter().collect();
            show(config, &all, output.output)?;
            Ok(ExitCode::SUCCESS)
        }
        Images::Build {
            names,
            with,
            sources,
            output,
        } => build(config, names, *with, sources, output.output).await,
        Images::Load {
            names,
            into,
            cluster,
            socket,
        } => {
            let loader = match into {
                LoadInto::Docker => Loader::Docker,
                LoadInto::Podman => Loader::Podman,
                LoadInto::Kind => Loader::Kind {
                    cluster: cluster.clone(),
                },
                LoadInto::Containerd => Loader::Containerd {
                    socket: socket.clone(),
                },
            };
            load(config, names, &loader).await
        }
    }
}

async fn build(
    config: &Config,
    names: &[String],
    with: Option<ContainerTool>,
    sources: &Path,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let mut wanted = named(names)?;
    let bars = Bars::new();
    let report = |event: Event| bars.show(event);
    let work = async {
        let Some(tool) = with else {
            // Asked for by name, it is a failure; as one of all, it is a remark.
            if names.is_empty() {
                wanted.retain(|definition| match &definition.elsewhere {
                    Some(why) => {
                        tell!("{} {why}", paint_stderr(Color::Yellow, "not packed:"));
                        false
                    }
                    None => true,
                });
            }
            return Ok(images::pack(&config.cache_dir, &wanted, &report).await);
        };
        if !sources.is_dir() {
            bail!(
                "there is no folder {}; run this where isA Cloud's source is, or name the folder with --sources",
                sources.display()
            );
        }
        let builder = match tool {
            ContainerTool::Docker => Builder::Docker,
            ContainerTool::Podman => Builder::Podman,
        };
        Ok(images::build_with(builder, sources, &config.cache_dir, &wanted, &report).await)
    };
    let failed = tokio::select! {
        failed = work => failed?,
        _ = tokio::signal::ctrl_c() => return Ok(interrupted()),
    };
    let missing: BTreeSet<&str> = failed
        .iter()
        .filter_map(|(_, error)| match error {
            Error::NotInstalled { missing, .. } => Some(missing.split(' ')),
            _ => None,
        })
        .flatten()
        .collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.into_iter().collect();
        tell!(
            "install all that is missing with `isa engines install {}`",
            names.join(" ")
        );
    }
    show(config, &wanted, format)?;
    Ok(exit(failed.is_empty()))
}

async fn load(config: &Config, names: &[String], loader: &Loader) -> anyhow::Result<ExitCode> {
    let mut wanted = named(names)?;
    if names.is_empty() {
        wanted.retain(|definition| !matches!(images::status(&config.cache_dir, definition), Status::Missing));
        if wanted.is_empty() {
            bail!("no image is made yet; make them with `isa images build`");
        }
    }
    for definition in &wanted {
        if let Status::Outdated(_) = images::status(&config.cache_dir, definition) {
            tell!(
                "{} the image of {} is older than what it was made of; `isa images build` makes it again",
                paint_stderr(Color::Yellow, "note:"),
                definition.service
            );
        }
    }
    let bars = Bars::new();
    let report = |event: Event| bars.show(event);
    tokio::select! {
        failed = images::load(loader, &config.cache_dir, &wanted, &report) => Ok(exit(failed.is_empty())),
        _ = tokio::signal::ctrl_c() => Ok(interrupted()),
    }
}

fn interrupted() -> ExitCode {
    tell!("interrupted; images that were finished stay");
    ExitCode::from(INTERRUPTED)
}

fn exit(ok: bool) -> ExitCode {
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One image, for programs.
#[derive(Serialize)]
struct Row {
    service: &'static str,
    image: String,
    status: &'static str,
    /// The archive's size.
    bytes: Option<u64>,
    id: Option<String>,
    /// `isa`, or the container tool that built it.
    by: Option<String>,
    archive: std::path::PathBuf,
}

fn row(config: &Config, definition: &'static Definition) -> Row {
    let (status, built) = match images::status(&config.cache_dir, definition) {
        Status::Missing => ("missing", None),
        Status::Outdated(built) => ("outdated", Some(built)),
        Status::Current(built) => ("ready", Some(built)),
    };
    let (bytes, id, by) = built.map_or((None, None, None), |b| (Some(b.bytes), Some(b.id), Some(b.by)));
    Row {
        service: &definition.service,
        image: definition.reference(),
        status,
        bytes,
        id,
        by,
        archive: images::archive(&config.cache_dir, definition),
    }
}

fn show(config: &Config, wanted: &[&'static Definition], format: Format) -> anyhow::Result<()> {
    let rows: Vec<_> = wanted.iter().map(|definition| row(config, definition)).collect();
    if format == Format::Json {
        return output::print_json(&rows);
    }
    let mut table = output::table(&["SERVICE", "IMAGE", "STATUS", "SIZE", "ID", "MADE BY"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    for row in rows {
        let color = match row.status {
            "ready" => Color::Green,
            "outdated" => Color::Yellow,
            _ => Color::DarkGrey,
        };
        let short = |id: String| id.trim_start_matches("sha256:").chars().take(12).collect();
        table.add_row([
            Cell::new(row.service),
            Cell::new(row.image),
            Cell::new(row.status).fg(color),
            Cell::new(or_dash(row.bytes.map(megabytes))),
            Cell::new(or_dash(row.id.map(short))),
            Cell::new(or_dash(row.by)),
        ]);
    }
    output::print(table);
    Ok(())
}
