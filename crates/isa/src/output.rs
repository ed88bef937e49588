//! What people see: tables, colours on a terminal only, and errors with their causes.

use std::{
    fmt::Display,
    io::{IsTerminal, stderr, stdout},
};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use isa_platform::status::{EngineStatus, PlatformStatus, State};
use serde::Serialize;

/// Prints a line to standard output. A reader that has gone away (`| head`) is no reason to fail.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// The same to standard error.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

pub(crate) use {say, tell};

/// Prints an error and what caused it, each once.
pub(crate) fn error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    tell!("{} {text}", paint_stderr(Color::Red, "error:"));
}

/// Whether colours and moving lines are welcome on standard error.
pub(crate) fn fancy_stderr() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn fancy_stdout() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn ansi(color: Color) -> &'static str {
    match color {
        Color::Red => "\x1b[31m",
        Color::Green => "\x1b[32m",
        Color::Yellow => "\x1b[33m",
        _ => "\x1b[2m",
    }
}

pub(crate) fn paint_stderr(color: Color, text: impl Display) -> String {
    if fancy_stderr() {
        format!("{}{text}\x1b[0m", ansi(color))
    } else {
        text.to_string()
    }
}

pub(crate) fn paint(color: Color, text: impl Display) -> String {
    if fancy_stdout() {
        format!("{}{text}\x1b[0m", ansi(color))
    } else {
        text.to_string()
    }
}

/// An empty table with these column names.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(Cell::new));
    if !fancy_stdout() {
        table.force_no_tty();
    }
    table
}

/// Prints a table flush left and without the blanks at the ends of its lines.
pub(crate) fn print(mut table: Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        say!("{}", line.trim_end());
    }
}

pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

pub(crate) fn color_of(state: State) -> Color {
    match state {
        State::Ready => Color::Green,
        State::Failed | State::Unresponsive => Color::Red,
        State::Waiting | State::Starting | State::Restarting | State::Stopping => Color::Yellow,
        State::Missing | State::Stopped => Color::DarkGrey,
    }
}

/// The table of `isa up` and `isa status`, and below it a line for each that has something to say.
pub(crate) fn print_status(status: &PlatformStatus) {
    let mut rows = table(&["NAME", "STATUS", "PORT", "URL", "SOURCE", "VERSION", "MEMORY"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    for engine in &status.engines {
        let running = engine.status != State::Missing;
        rows.add_row([
            Cell::new(name_of(engine)),
            Cell::new(state_of(engine)).fg(color_of(engine.status)),
            Cell::new(or_dash(engine.port.map(|p| p.to_string()))),
            Cell::new(or_dash(engine.url.clone().filter(|_| running).map(shown_url))),
            Cell::new(or_dash(engine.source.clone())),
            Cell::new(or_dash(engine.version.clone())),
            Cell::new(or_dash(engine.rss_bytes.map(megabytes))),
        ]);
    }
    for service in &status.services {
        rows.add_row([
            Cell::new(format!("{}-grpc", service.name)),
            Cell::new(service.status).fg(color_of(service.status)),
            Cell::new(or_dash(service.address.map(|a| a.port().to_string()))),
            Cell::new(or_dash(service.address.map(|a| format!("grpc://{a}")))),
            Cell::new("built in"),
            Cell::new(env!("CARGO_PKG_VERSION")),
            Cell::new("-"),
        ]);
    }
    print(rows);
    let engines = status
        .engines
        .iter()
        .map(|e| (e.name.to_string(), e.status, &e.message));
    let services = status
        .services
        .iter()
        .map(|s| (format!("{}-grpc", s.name), s.status, &s.message));
    for (name, state, message) in engines.chain(services) {
        if let Some(message) = message {
            say!("{} {message}", paint(color_of(state), format!("{name}:")));
        }
    }
}

/// An in-process engine's URL is a folder, which people know better relative to where they are.
fn shown_url(url: String) -> String {
    let here = std::env::current_dir()
        .map(|d| format!("file://{}/", d.display()))
        .unwrap_or_default();
    url.strip_prefix(&here)
        .map_or_else(|| url.clone(), |inside| format!("./{inside}"))
}

fn name_of(engine: &EngineStatus) -> String {
    if engine.implementation == engine.name.implementations()[0] {
        engine.name.to_string()
    } else {
        format!("{} ({})", engine.name, engine.implementation)
    }
}

fn state_of(engine: &EngineStatus) -> String {
    match engine.restarts {
        0 => engine.status.to_string(),
        1 => format!("{} (1 restart)", engine.status),
        n => format!("{} ({n} restarts)", engine.status),
    }
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1 << 20))
}

/// A duration in milliseconds as people read it.
pub(crate) fn seconds(milliseconds: u64) -> String {
    let tenths = (milliseconds + 50) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}
